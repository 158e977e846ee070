// Every op's derivative, and the derivative of that, against central differences in doubles.
import type { Dim, GraphBuilder, Shape, Tensor } from "@millrace/graph";
import {
  abs,
  add,
  applyOne,
  broadcastTo,
  concatenate,
  convert,
  cos,
  countingSort,
  cumulativeSum,
  declare,
  defineOp,
  div,
  dot,
  dotGeneral,
  dynamicSlice,
  elementCount,
  exp,
  gradients,
  hostTensor,
  iota,
  linear,
  log,
  lt,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  multiplyDims,
  neg,
  pad,
  putAlongAxis,
  raggedDot,
  raggedOuter,
  reshape,
  scatterAdd,
  select,
  sigmoid,
  sin,
  slice,
  sort,
  sqrt,
  sub,
  sum,
  take,
  takeAlongAxis,
  tanh,
  topK,
  transpose,
  updateSlice,
} from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interpret } from "./interpret.ts";
import type { InterpreterValue } from "./value.ts";

interface Case {
  /** Shapes of the float inputs; T is a size that differs from run to run. */
  readonly shapes: (T: Dim) => readonly Shape[];
  readonly body: (inputs: readonly Tensor[], b: GraphBuilder, T: Dim) => Tensor;
  /** The inputs are positive. */
  readonly positive?: true;
  /** Smallest T, 0 by default. */
  readonly least?: number;
}

const ints = (b: GraphBuilder, shape: readonly number[], values: readonly number[]): Tensor =>
  b.constant(hostTensor("i32", shape, values));

const square: Case["shapes"] = (T) => [[T, 3]];
const pair: Case["shapes"] = (T) => [
  [T, 3],
  [T, 3],
];
const unary = (op: (x: Tensor) => Tensor, positive?: true): Case => ({
  shapes: square,
  body: ([x]) => op(x!),
  ...(positive && { positive }),
});
const binary = (op: (x: Tensor, y: Tensor) => Tensor): Case => ({
  shapes: pair,
  body: ([x, y]) => op(x!, y!),
});

/** x³ as an op of two parts without a vjp of its own. */
const cubeOp = defineOp({
  name: "test.cube",
  infer: (inputs) => [inputs[0]!],
  body: { class: "composite", decompose: ([x]) => [mul(x!, mul(x!, x!))] },
});

const elementwise: Record<string, Case> = {
  add: binary(add),
  sub: binary(sub),
  mul: binary(mul),
  div: binary(div),
  maximum: binary(maximum),
  minimum: binary(minimum),
  neg: unary(neg),
  abs: unary(abs),
  exp: unary(exp),
  log: unary(log, true),
  sin: unary(sin),
  cos: unary(cos),
  tanh: unary(tanh),
  sqrt: unary(sqrt, true),
  sigmoid: unary(sigmoid),
  select: binary((x, y) => select(lt(x, 0.3), x, mul(y, 3))),
  convert: unary((x) => convert(convert(x, "bf16"), "f32")),
  "one value in several places": unary((x) => mul(exp(x), add(x, mul(x, x)))),
  "a composite without a vjp": unary((x) => applyOne(cubeOp, [x], {})),
};

const moves: Record<string, Case> = {
  "broadcast of missing axes": {
    shapes: (T) => [[3], [T, 3]],
    body: ([x, y]) => mul(x!, y!),
  },
  "broadcast of sizes of 1": {
    shapes: (T) => [
      [T, 1],
      [1, 3],
    ],
    body: ([x, y]) => mul(x!, y!),
  },
  "broadcast along chosen axes": {
    shapes: square,
    body: ([x], _, T) => broadcastTo(x!, [2, T, 4, 3], [1, 3]),
  },
  "sum of some axes": {
    shapes: (T) => [[2, T, 3]],
    body: ([x]) => sum(x!, [0, 2]),
  },
  "sum of all": unary((x) => sum(x)),
  reshape: {
    shapes: (T) => [[T, 2, 6]],
    body: ([x], _, T) => reshape(x!, [multiplyDims(T, 4), 3]),
  },
  transpose: {
    shapes: (T) => [[2, T, 3]],
    body: ([x]) => transpose(x!, [2, 0, 1]),
  },
  slice: { shapes: (T) => [[T, 7]], body: ([x]) => slice(x!, 1, 2, 3) },
  "slice with a step": { shapes: (T) => [[T, 7]], body: ([x]) => slice(x!, 1, 1, 2, 3) },
  "slice with a step to the end": { shapes: (T) => [[T, 7]], body: ([x]) => slice(x!, 1, 0, 3, 3) },
  pad: { shapes: square, body: ([x]) => pad(x!, 1, 2, 1, 5) },
  concatenate: {
    shapes: (T) => [
      [T, 2],
      [1, 2],
      [T, 2],
    ],
    body: (inputs) => concatenate(inputs, 0),
  },
};

const reductions: Record<string, Case> = {
  max: { shapes: (T) => [[2, T, 3]], body: ([x]) => max(x!, [0, 2]) },
  min: { shapes: (T) => [[T, 2, 3]], body: ([x]) => min(x!, [1, 2]) },
  "max of all": { shapes: square, body: ([x]) => max(x!), least: 1 },
  mean: { shapes: square, body: ([x]) => mean(x!, [0]), least: 1 },
  "mean of a fixed size": { shapes: square, body: ([x]) => mean(x!, [1]) },
  "running sum": { shapes: square, body: ([x]) => cumulativeSum(x!, 1) },
  "running sum, exclusive": {
    shapes: square,
    body: ([x]) => cumulativeSum(x!, 0, { exclusive: true }),
  },
  "running sum from the end": {
    shapes: square,
    body: ([x]) => cumulativeSum(x!, 1, { reverse: true }),
  },
  "running sum from the end, exclusive": {
    shapes: square,
    body: ([x]) => cumulativeSum(x!, 1, { reverse: true, exclusive: true }),
  },
};

const products: Record<string, Case> = {
  linear: {
    shapes: (T) => [
      [2, T, 3],
      [4, 3],
    ],
    body: ([x, w]) => linear(x!, w!),
  },
  dot: {
    shapes: (T) => [
      [T, 3],
      [3, 4],
    ],
    body: ([x, w]) => dot(x!, w!),
  },
  "dot of vectors": { shapes: () => [[3], [3]], body: ([x, w]) => dot(x!, w!) },
  "product over the size that differs": {
    shapes: (T) => [
      [T, 3],
      [T, 2],
    ],
    body: ([x, w]) => dotGeneral(x!, w!, { lhsContract: [0], rhsContract: [0] }),
  },
  "batched product in mixed order": {
    shapes: (T) => [
      [3, T, 2, 4, 2],
      [2, 2, 5, 4, 3],
    ],
    body: ([x, y]) =>
      dotGeneral(x!, y!, {
        lhsBatch: [2, 0],
        rhsBatch: [1, 4],
        lhsContract: [3, 4],
        rhsContract: [3, 0],
      }),
  },
  "product without contraction": {
    shapes: (T) => [[T, 2], [3]],
    body: ([x, y]) => dotGeneral(x!, y!, { lhsContract: [], rhsContract: [] }),
  },
  "ragged product": {
    shapes: () => [
      [6, 3],
      [4, 2, 3],
    ],
    body: ([x, w], b) => raggedDot(x!, w!, ints(b, [5], [0, 2, 2, 5, 6])),
  },
  "ragged product of no rows": {
    shapes: () => [
      [0, 3],
      [2, 2, 3],
    ],
    body: ([x, w], b) => raggedDot(x!, w!, ints(b, [3], [0, 0, 0])),
  },
  "ragged outer product": {
    shapes: () => [
      [6, 3],
      [6, 2],
    ],
    body: ([x, y], b) => raggedOuter(x!, y!, ints(b, [5], [0, 2, 2, 5, 6])),
  },
};

const reads: Record<string, Case> = {
  "take, twice the same and outside": {
    shapes: (T) => [[T, 4, 2]],
    body: ([x], b) => take(x!, ints(b, [2, 3], [0, 3, 1, 1, -1, 4]), 1),
  },
  "take along the size that differs": {
    shapes: square,
    body: ([x], b) => take(x!, ints(b, [3], [2, 0, 2]), 0),
  },
  "take one": { shapes: square, body: ([x], b) => take(x!, ints(b, [], [2]), 1) },
  "take along an axis, few": {
    shapes: () => [[2, 5, 2]],
    body: ([x], b) =>
      takeAlongAxis(x!, ints(b, [2, 3, 2], [0, 4, 4, 4, 1, 9, 2, 0, -1, 3, 2, 0]), 1),
  },
  "take along an axis, many": {
    shapes: () => [[2, 3]],
    body: ([x], b) =>
      takeAlongAxis(
        x!,
        ints(
          b,
          [2, 20],
          Array.from({ length: 40 }, (_, i) => (i % 5) - 1),
        ),
        1,
      ),
  },
  "put along an axis": {
    shapes: () => [[2, 3]],
    body: ([x], b) => putAlongAxis(x!, ints(b, [2, 3], [3, 1, 3, 0, 9, 2]), 1, 4),
  },
  "put along the first axis, many": {
    shapes: () => [[18, 2]],
    body: ([x], b) =>
      putAlongAxis(
        x!,
        ints(
          b,
          [18, 2],
          Array.from({ length: 36 }, (_, i) => (i % 7) - 1),
        ),
        0,
        5,
      ),
  },
  "sum by index": {
    shapes: () => [[5, 2]],
    body: ([x], b) => scatterAdd(ints(b, [5], [3, 0, 3, -1, 9]), x!, 4),
  },
  "computed slice, beyond the end": {
    shapes: () => [[2, 5]],
    body: ([x], b) => dynamicSlice(x!, b.scalar(3, "i32"), 4, 1),
  },
  "update of a slice": {
    shapes: (T) => [
      [2, 4, 2],
      [2, T, 2],
    ],
    body: ([x, y], b) => updateSlice(x!, y!, b.scalar(1, "i32"), 1),
  },
  "update of a slice beyond the end": {
    shapes: () => [[5], [3]],
    body: ([x, y], b) => updateSlice(x!, y!, b.scalar(3, "i32"), 0),
  },
  "top k": { shapes: (T) => [[T, 6]], body: ([x]) => topK(x!, 4)[0] },
  sort: { shapes: (T) => [[T, 6]], body: ([x]) => sort(x!)[0] },
  "sort of many, descending": {
    shapes: () => [[2, 18]],
    body: ([x]) => sort(x!, { descending: true })[0],
  },
  "rows in the order of their groups": {
    shapes: () => [
      [6, 2],
      [3, 2, 2],
    ],
    body: ([x, w], b) => {
      const { permutation, inverse, offsets } = countingSort(ints(b, [6], [2, 0, 2, 1, 0, 2]), 3);
      return take(raggedDot(take(x!, permutation, 0), w!, offsets), inverse, 0);
    },
  },
};

/** The sum of `y` with irregular weights, so that no sum of cotangents vanishes by chance. */
function weighted(y: Tensor, seed: number): Tensor {
  const phase = y.shape.reduce<Tensor>(
    (total, _, axis) => add(total, mul(iota(y.builder, "f32", y.shape, axis), 12.9898 - 3 * axis)),
    y.builder.scalar(seed),
  );
  return sum(mul(y, add(sin(phase), 0.25)));
}

const step = 1e-5;

/** Compares the derivatives by every element of every input with differences of the loss. */
function check(definition: Case, T: number, values: readonly number[], order: 1 | 2): void {
  const graph = declare("case", (b) => {
    const size = b.size("T", definition.least ?? 0, 8);
    const inputs = definition.shapes(size).map((shape, i) => b.input(`x${i}`, "f32", shape));
    const first = weighted(definition.body(inputs, b, size), 1);
    const loss =
      order === 1
        ? first
        : gradients(first, inputs)
            .map((dx, i) => weighted(dx, i + 2))
            .reduce((x, y) => add(x, y));
    const derivatives = gradients(loss, inputs).map((dx, i) => [String(i), dx] as const);
    return { loss, ...Object.fromEntries(derivatives) };
  });
  let used = 0;
  const data = definition.shapes(T).map((dims) => {
    const shape = dims as readonly number[];
    const elements = Float64Array.from({ length: elementCount(shape) }, () => {
      const value = values[used++ % values.length]!;
      return definition.positive ? Math.abs(value) : value;
    });
    return { dtype: "f32", shape, data: elements } as const;
  });
  const inputs = Object.fromEntries(data.map((x, i) => [`x${i}`, x]));
  const run = (): Readonly<Record<string, InterpreterValue>> =>
    interpret(graph, inputs, { precision: "f64", sizes: { T } }).outputs;
  const derivatives = run();
  data.forEach(({ data: x }, i) => {
    x.forEach((value, e) => {
      const lossAt = (shift: number): number => {
        x[e] = value + shift;
        const loss = run()["loss"]!.data[0]!;
        x[e] = value;
        return loss;
      };
      const difference = (lossAt(step) - lossAt(-step)) / (2 * step);
      const found = derivatives[i]!.data[e]!;
      if (!(Math.abs(found - difference) <= 2e-6 * Math.max(1, Math.abs(difference))))
        expect.fail(`input ${i}, element ${e}: derivative ${found}, difference ${difference}`);
    });
  });
}

/** Numbers that lie well apart from each other, from 0 and from 0.3, where some functions have corners. */
const apart: readonly number[] = Array.from({ length: 80 }, (_, i) => (i - 40) / 20 + 0.0123);

describe.each(Object.entries({ ...elementwise, ...moves, ...reductions, ...products, ...reads }))(
  "%s",
  (_, definition) => {
    test.each([1, 2] as const)("derivative %i", (order) => {
      fc.assert(
        fc.property(
          fc.constantFrom(0, 1, 2, 3).filter((T) => T >= (definition.least ?? 0)),
          fc.shuffledSubarray([...apart], { minLength: apart.length }),
          (T, values) => check(definition, T, values, order),
        ),
        { numRuns: 4 },
      );
    });
  },
);
