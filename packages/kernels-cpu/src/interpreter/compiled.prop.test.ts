// Compiled programs on the kernel interpreter against the graph interpreter. The random graphs hold small whole numbers, for
// which f32 is exact, so every grouping, loop order and memory plan must give the very same values.
import type { DType, Graph, GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import {
  InternalError,
  MillraceError,
  ShapeError,
  abs,
  add,
  argmax,
  broadcastTo,
  broadcastTogether,
  compile,
  concatenate,
  convert,
  countingSort,
  cumulativeSum,
  declare,
  dotGeneral,
  elementCount,
  ge,
  hostTensor,
  linear,
  lt,
  max,
  maxDim,
  maximum,
  min,
  minimum,
  mul,
  multiplyDims,
  neg,
  pad,
  raggedDot,
  raggedOuter,
  reshape,
  scatterAdd,
  select,
  shapeSize,
  slice,
  sort,
  sub,
  sum,
  take,
  takeAlongAxis,
  toNumbers,
  topK,
  transpose,
  updateSlice,
  verifyGraph,
  verifyProgram,
} from "@millrace/graph";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createInterpreterBackend } from "./backend.ts";
import { interpret } from "./interpret.ts";

/** What one step does: which op, and three numbers it takes its operands and attributes from. */
interface Step {
  readonly op: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

type Pool = readonly Tensor[];
type Make = (x: Tensor, step: Step, pool: Pool, b: GraphBuilder) => readonly Tensor[];

/** Keeps numbers small enough to be exact. */
const clamp = (x: Tensor): Tensor => minimum(maximum(x, -9), 9);
const pick = <T>(from: readonly T[], n: number): T => from[n % from.length]!;

/** Some axis of a tensor that has one. */
function axisOf(x: Tensor, n: number): number {
  if (x.shape.length === 0) throw new ShapeError({ what: "no axes" });
  return n % x.shape.length;
}

/** The size of an axis that exists, is known and is not 0. */
function fixed(x: Tensor, axis: number): number {
  const dim = x.shape.at(axis);
  if (typeof dim !== "number" || dim < 1) throw new ShapeError({ what: "no such fixed axis" });
  return dim;
}

function expectRank(x: Tensor, rank: number): void {
  if (x.shape.length < rank) throw new ShapeError({ what: "too few axes" });
}

/** A value of the pool of the same dtype, and of the same rank if asked for. */
function other(x: Tensor, n: number, pool: Pool, sameRank = false): Tensor {
  const rank = x.shape.length;
  return pick(
    pool.filter((y) => y.dtype === x.dtype && (!sameRank || y.shape.length === rank)),
    n,
  );
}

const index = (x: Tensor): Tensor => convert(x, "i32");
const float = (x: Tensor): Tensor => (x.dtype === "bf16" ? x : convert(x, "f32"));
const flat = (x: Tensor): Tensor => reshape(x, [shapeSize(x.shape)]);
const constant = (b: GraphBuilder, dtype: DType, shape: number[], seed: number): Tensor =>
  b.constant(values(dtype, shape, seed));

/** Ops by name. One that does not fit its operands throws, and is left out of the graph. */
const makers: Readonly<Record<string, Make>> = {
  neg: (x) => [neg(x)],
  abs: (x) => [abs(x)],
  add: (x, { b }, pool) => [clamp(add(x, other(x, b, pool)))],
  sub: (x, { b }, pool) => [clamp(sub(x, other(x, b, pool)))],
  mul: (x, { b }, pool) => [clamp(mul(x, other(x, b, pool)))],
  mulByNumber: (x, { c }) => [clamp(mul(x, (c % 5) - 2))],
  maximum: (x, { b }, pool) => [maximum(x, other(x, b, pool))],
  select: (x, { b, c }, pool) => {
    const [p, q] = broadcastTogether([x, other(x, b, pool)]) as [Tensor, Tensor];
    return [select(c % 2 ? ge(p, q) : lt(p, q), p, q)];
  },
  convert: (x, { c }) => [convert(x, pick(["f32", "bf16", "i32", "f16"] as const, c))],
  transpose: (x, { b }) => {
    const rank = x.shape.length;
    return [
      transpose(
        x,
        x.shape.map((_, axis) => (axis + b) % rank),
      ),
    ];
  },
  slice: (x, { b, c }) => {
    const axis = axisOf(x, b);
    const start = c % fixed(x, axis);
    const step = 1 + (b % 2);
    return [slice(x, axis, start, Math.ceil((fixed(x, axis) - start) / step), step)];
  },
  pad: (x, { b, c }) => [pad(x, axisOf(x, b), c % 3, b % 2, (c % 4) - 1)],
  concatenate: (x, { b, c }, pool) => [concatenate([x, other(x, b, pool, true), x], axisOf(x, c))],
  merge: (x, { b }) => {
    expectRank(x, 2);
    const axis = b % (x.shape.length - 1);
    const merged = multiplyDims(x.shape[axis]!, x.shape[axis + 1]!);
    return [reshape(x, x.shape.toSpliced(axis, 2, merged))];
  },
  split: (x, { b }) => {
    const axis = axisOf(x, b);
    const size = fixed(x, axis);
    if (size % 2 === 1) throw new ShapeError({ what: "odd" });
    return [reshape(x, x.shape.toSpliced(axis, 1, 2, size / 2))];
  },
  broadcast: (x, { c }) => [broadcastTo(x, [1 + (c % 3), ...x.shape])],
  sum: (x, { b }) => [clamp(sum(x, [axisOf(x, b)]))],
  sumAll: (x) => [clamp(sum(x))],
  max: (x, { b }) => [clamp(max(x, [axisOf(x, b)]))],
  min: (x, { b }) => [clamp(min(x, [axisOf(x, b)]))],
  argmax: (x, { b }) => [argmax(x, axisOf(x, b))],
  cumulativeSum: (x, { b, c }) => [
    clamp(cumulativeSum(x, axisOf(x, b), { exclusive: c % 2 === 1, reverse: c % 4 > 1 })),
  ],
  linear: (x, { c }, _pool, b) => [
    clamp(linear(float(x), constant(b, float(x).dtype, [1 + (c % 5), fixed(x, -1)], c))),
  ],
  selfProduct: (x, { b }) => {
    const axes = { lhsContract: [axisOf(x, b)], rhsContract: [axisOf(x, b)] };
    return [clamp(dotGeneral(float(x), float(x), axes))];
  },
  batchProduct: (x) => {
    expectRank(x, 2);
    const last = x.shape.length - 1;
    const axes = { lhsContract: [last], rhsContract: [last], lhsBatch: [0], rhsBatch: [0] };
    return [clamp(dotGeneral(float(x), float(x), axes))];
  },
  topK: (x, { c }) => topK(x, Math.min(1 + (c % 3), fixed(x, -1))),
  sort: (x, { c }) => sort(x, { descending: c % 2 === 1 }),
  take: (x, { b, c }, pool) => [take(x, index(pick(pool, b)), axisOf(x, c))],
  takeAlongAxis: (x, { b }) => [takeAlongAxis(x, index(abs(x)), axisOf(x, b))],
  scatterAdd: (x, { c }) => [clamp(scatterAdd(flat(index(abs(x))), flat(x), 1 + (c % 6)))],
  updateSlice: (x, { b, c }, pool, builder) => {
    const start = builder.scalar((c % 4) - 1, "i32");
    return [updateSlice(x, other(x, c, pool, true), start, axisOf(x, b))];
  },
  grouped: (x, { c }, _pool, b) => {
    if (x.shape.length !== 2) throw new ShapeError({ what: "not rows" });
    const groups = 1 + (c % 4);
    const rows = float(x);
    const keys = minimum(index(abs(max(pad(x, 1, 0, 1), [1]))), groups - 1);
    const { permutation, inverse, offsets } = countingSort(keys, groups);
    const sorted = take(rows, permutation, 0);
    const w = constant(b, rows.dtype, [groups, 3, fixed(x, 1)], c);
    const y = clamp(raggedDot(sorted, w, offsets));
    return [take(y, inverse, 0), clamp(raggedOuter(y, sorted, offsets))];
  },
};
const makerList = Object.values(makers);

const mostElements = 2000;

/** Grows a graph by each step that fits; the last values become outputs, and a state is updated if one fits it. */
function grow(steps: readonly Step[]): Graph {
  return declare("random", (b) => {
    const T = b.size("T", 0, 5);
    const state = b.state("s", "f32", [3, 4]);
    const pool: Tensor[] = [
      b.input("x", "f32", [T, 4]),
      b.input("y", "bf16", [3, 4]),
      b.input("n", "i32", [T]),
      state,
    ];
    for (const step of steps) {
      const x = pool[pool.length - 1 - (step.a % pool.length)]!;
      try {
        const made = pick(makerList, step.op)(x, step, pool, b);
        if (made.every(({ shape }) => maxDim(shapeSize(shape)) <= mostElements)) pool.push(...made);
      } catch (error) {
        // Left out, as the op refuses these operands; anything else is a fault.
        if (!(error instanceof MillraceError) || error instanceof InternalError) throw error;
      }
    }
    const next = pool.findLast((t) => t.dtype === "f32" && t.shape.join() === "3,4");
    if (next && next !== state) b.update(state, next);
    return Object.fromEntries(pool.slice(-4).map((tensor, i) => [`out${i}`, tensor]));
  });
}

/** Whole numbers from -4 to 4. */
function values(dtype: DType, shape: readonly number[], seed: number): HostTensor {
  const count = elementCount(shape);
  const data = Array.from({ length: count }, (_, i) => ((i * 31 + seed * 17 + (i >> 2)) % 9) - 4);
  return hostTensor(dtype, shape, data);
}

/** Elements as numbers; a sum may or may not keep the sign of a zero. */
const plain = (tensors: Readonly<Record<string, HostTensor>>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, tensor]) => [
      name,
      { ...tensor, data: Array.from(toNumbers(tensor), (value) => value + 0) },
    ]),
  );

const stepsArbitrary = fc.array(
  fc.record({ op: fc.nat(200), a: fc.nat(6), b: fc.nat(20), c: fc.nat(20) }),
  { minLength: 1, maxLength: 14 },
);

async function checkCompiled(graph: Graph, T: number, seed: number): Promise<void> {
  verifyGraph(graph);
  const inputs = {
    x: values("f32", [T, 4], seed),
    y: values("bf16", [3, 4], seed + 1),
    n: values("i32", [T], seed + 2),
  };
  const s = values("f32", [3, 4], seed + 3);
  const first = interpret(graph, inputs, { states: { s } });
  const second = interpret(graph, inputs, { states: first.states });
  for (const fuse of [true, false])
    for (const parallelOrder of ["ascending", "descending"] as const) {
      const backend = createInterpreterBackend({ parallelOrder });
      const compiled = await compile(graph, backend, { fuse });
      verifyProgram(compiled.program);
      // A state that nothing reads or writes is not part of the program.
      compiled.store.ensure([{ name: "s", type: { dtype: "f32", shape: [3, 4] } }]);
      await compiled.store.write("s", s);
      for (const expected of [first, second]) {
        const outputs = await compiled.run(inputs);
        expect(plain(outputs)).toEqual(plain(expected.outputs));
        expect(plain({ s: await compiled.store.read("s") })).toEqual(plain(expected.states));
      }
      compiled.dispose();
    }
}

test("random graphs give the same values fused, unfused, and in either order of parallel loops", async () => {
  await fc.assert(
    fc.asyncProperty(
      stepsArbitrary,
      fc.constantFrom(0, 1, 2, 3, 5),
      fc.nat(100),
      async (steps, T, seed) => checkCompiled(grow(steps), T, seed),
    ),
    { numRuns: 150 },
  );
});

test.each(Object.keys(makers))("%s is reached by the random graphs", (name) => {
  const op = Object.keys(makers).indexOf(name);
  const alone = Array.from({ length: 60 }, (_, i) =>
    grow([{ op, a: i, b: (i * 7) % 21, c: (i * 5) % 21 }]),
  );
  expect(alone.some((graph) => graph.outputs.some(({ value }) => value.node > 3))).toBe(true);
});
