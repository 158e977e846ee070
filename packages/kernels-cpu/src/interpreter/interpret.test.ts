// The graph interpreter against values worked out by hand or by plain loops.
import type { Graph, GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import {
  add,
  argmax,
  concatenate,
  convert,
  countingSort,
  cumulativeSum,
  declare,
  defineOp,
  applyOne,
  dot,
  dotGeneral,
  exp,
  hostTensor,
  max,
  mul,
  pad,
  raggedDot,
  raggedOuter,
  randomBits,
  reshape,
  scatterAdd,
  slice,
  sort,
  sub,
  sum,
  take,
  threefry2x32,
  toNumbers,
  topK,
  transpose,
  updateSlice,
} from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { interpret } from "./interpret.ts";

const numbers = (tensor: HostTensor | undefined): number[] => [...toNumbers(tensor!)];

/** Runs a graph of one output `y` on named inputs. */
function run(graph: Graph, inputs: Record<string, HostTensor>): number[] {
  return numbers(interpret(graph, inputs).outputs["y"]);
}

const f32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("f32", shape, values);
const i32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("i32", shape, values);

const unary = (x: HostTensor, body: (x: Tensor, b: GraphBuilder) => Tensor): HostTensor => {
  const graph = declare("unary", (b) => ({ y: body(b.input("x", x.dtype, x.shape), b) }));
  return interpret(graph, { x }).outputs["y"]!;
};

describe("classes", () => {
  test("elementwise bodies round each result to its dtype", () => {
    const x = hostTensor("bf16", [3], [1, 2, 1.0078125]);
    expect(numbers(unary(x, (t) => mul(t, t)))).toEqual([1, 4, 1.015625]);
    const bytes = hostTensor("u8", [2], [255, 3]);
    expect(numbers(unary(bytes, (t) => add(t, t)))).toEqual([254, 6]);
    expect(unary(bytes, (t) => convert(t, "bool")).data).toEqual(Uint8Array.of(1, 1));
  });

  test("movement follows its index map", () => {
    const x = f32([2, 3], [1, 2, 3, 4, 5, 6]);
    expect(numbers(unary(x, (t) => transpose(t)))).toEqual([1, 4, 2, 5, 3, 6]);
    expect(numbers(unary(x, (t) => pad(t, 1, 1, 2, 9)))).toEqual([
      9, 1, 2, 3, 9, 9, 9, 4, 5, 6, 9, 9,
    ]);
    expect(numbers(unary(x, (t) => concatenate([slice(t, 0, 1, 1), t], 0)))).toEqual([
      4, 5, 6, 1, 2, 3, 4, 5, 6,
    ]);
    expect(numbers(unary(x, (t) => reshape(t, [3, 2])))).toEqual([1, 2, 3, 4, 5, 6]);
  });

  test("reductions fold tuples and round once", () => {
    const x = f32([2, 3], [1, 5, 5, -1, NaN, -2]);
    expect(numbers(unary(x, (t) => argmax(t, 1)))).toEqual([1, 0]);
    expect(numbers(unary(x, (t) => max(t, [0])))).toEqual([1, NaN, 5]);
    // In f32 the ones would vanish beside 2^24 one after the other.
    const large = f32([9], [2 ** 24, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(numbers(unary(large, (t) => sum(t)))).toEqual([2 ** 24 + 8]);
    expect(numbers(unary(f32([0], []), (t) => sum(t)))).toEqual([0]);
  });

  test("composites are decomposed, one inside the other", () => {
    const square = defineOp<Record<string, never>>({
      name: "test.square",
      infer: ([x]) => [x!],
      body: { class: "composite", decompose: ([x]) => [mul(x!, x!)] },
    });
    const quartic = defineOp<{ offset: number }>({
      name: "test.quartic",
      infer: ([x]) => [x!],
      body: {
        class: "composite",
        decompose: ([x], { offset }) => {
          const squared = applyOne(square, [x!], {});
          return [add(applyOne(square, [squared], {}), offset)];
        },
      },
    });
    const x = f32([2], [2, 3]);
    expect(numbers(unary(x, (t) => applyOne(quartic, [t], { offset: 1 })))).toEqual([17, 82]);
  });

  test("a decomposition of another type than declared is an error with the scope path", () => {
    const wrong = defineOp<Record<string, never>>({
      name: "test.wrong",
      infer: ([x]) => [x!],
      body: { class: "composite", decompose: ([x]) => [sum(x!)] },
    });
    const graph = declare("g", (b) => ({
      y: b.scope("layers", () => applyOne(wrong, [b.input("x", "f32", [2])], {})),
    }));
    expect(() => run(graph, { x: f32([2], [1, 2]) })).toThrow(/layers \(test.wrong\)/);
  });
});

describe("primitives", () => {
  test("dot_general over batch, free and contracted axes", () => {
    const graph = declare("g", (b) => ({
      y: dotGeneral(b.input("p", "f32", [2, 2, 3]), b.input("q", "f32", [3, 2, 2]), {
        lhsContract: [2],
        rhsContract: [0],
        lhsBatch: [0],
        rhsBatch: [2],
      }),
    }));
    const p = Array.from({ length: 12 }, (_, i) => i - 4);
    const q = Array.from({ length: 12 }, (_, i) => 7 - 2 * i);
    const expected: number[] = [];
    for (let batch = 0; batch < 2; batch++)
      for (let row = 0; row < 2; row++)
        for (let column = 0; column < 2; column++) {
          let total = 0;
          for (let d = 0; d < 3; d++)
            total += p[(batch * 2 + row) * 3 + d]! * q[(d * 2 + column) * 2 + batch]!;
          expected.push(total);
        }
    expect(run(graph, { p: f32([2, 2, 3], p), q: f32([3, 2, 2], q) })).toEqual(expected);
  });

  test("ragged products take each group's rows, empty groups too", () => {
    const graph = declare("g", (b) => {
      const x = b.input("x", "f32", [3, 2]);
      const offsets = b.input("offsets", "i32", [4]);
      const z = raggedDot(x, b.input("w", "f32", [3, 1, 2]), offsets);
      return { z, outer: raggedOuter(z, x, offsets) };
    });
    const { z, outer } = interpret(graph, {
      x: f32([3, 2], [1, 2, 3, 4, 5, 6]),
      w: f32([3, 1, 2], [1, 0, 9, 9, 0, 1]),
      offsets: i32([4], [0, 1, 1, 3]),
    }).outputs;
    expect(numbers(z)).toEqual([1, 4, 6]);
    expect(numbers(outer)).toEqual([1, 2, 0, 0, 4 * 3 + 6 * 5, 4 * 4 + 6 * 6]);
    const bad = { x: f32([3, 2], [1, 2, 3, 4, 5, 6]), w: f32([3, 1, 2], [1, 0, 9, 9, 0, 1]) };
    expect(() => interpret(graph, { ...bad, offsets: i32([4], [0, 2, 1, 3]) })).toThrow(/offsets/);
  });

  test("orders are stable and put NaN last", () => {
    const x = f32([1, 5], [2, NaN, 7, 2, -1]);
    const graph = declare("g", (b) => {
      const t = b.input("x", "f32", [1, 5]);
      const [values, indices] = topK(t, 4);
      const [ascending, where] = sort(t);
      const [, down] = sort(t, { descending: true });
      return { values, indices, ascending, where, down };
    });
    const { outputs } = interpret(graph, { x });
    expect(numbers(outputs["values"])).toEqual([7, 2, 2, -1]);
    expect(numbers(outputs["indices"])).toEqual([2, 0, 3, 4]);
    expect(numbers(outputs["ascending"])).toEqual([-1, 2, 2, 7, NaN]);
    expect(numbers(outputs["where"])).toEqual([4, 0, 3, 2, 1]);
    expect(numbers(outputs["down"])).toEqual([2, 0, 3, 4, 1]);
  });

  test("a counting sort gives order, inverse and offsets", () => {
    const graph = declare("g", (b) => countingSort(b.input("keys", "i32", [5]), 4));
    const { outputs } = interpret(graph, { keys: i32([5], [3, 0, 3, 1, 0]) });
    expect(numbers(outputs["permutation"])).toEqual([1, 4, 3, 0, 2]);
    expect(numbers(outputs["inverse"])).toEqual([3, 0, 4, 2, 1]);
    expect(numbers(outputs["offsets"])).toEqual([0, 2, 3, 3, 5]);
    expect(() => interpret(graph, { keys: i32([5], [4, 0, 0, 0, 0]) })).toThrow(/key 4/);
  });

  test("running sums, in both directions, with and without the element itself", () => {
    const x = i32([2, 3], [1, 2, 3, 4, 5, 6]);
    const along = (options: object): number[] =>
      numbers(unary(x, (t) => cumulativeSum(t, 1, options)));
    expect(along({})).toEqual([1, 3, 6, 4, 9, 15]);
    expect(along({ exclusive: true })).toEqual([0, 1, 3, 0, 4, 9]);
    expect(along({ reverse: true })).toEqual([6, 5, 3, 15, 11, 6]);
    expect(along({ reverse: true, exclusive: true })).toEqual([5, 3, 0, 11, 6, 0]);
    expect(numbers(unary(x, (t) => cumulativeSum(t, 0)))).toEqual([1, 2, 3, 5, 7, 9]);
  });

  test("gather reads 0 outside, scatter_add drops", () => {
    const graph = declare("g", (b) => {
      const at = b.input("at", "i32", [4]);
      const rows = take(b.input("x", "f32", [2, 2]), at, 0);
      return { rows, back: scatterAdd(at, rows, 2) };
    });
    const { outputs } = interpret(graph, {
      at: i32([4], [1, 0, 1, 5]),
      x: f32([2, 2], [1, 2, 3, 4]),
    });
    expect(numbers(outputs["rows"])).toEqual([3, 4, 1, 2, 3, 4, 0, 0]);
    expect(numbers(outputs["back"])).toEqual([1, 2, 6, 8]);
  });

  test("random bits hash the position", () => {
    const graph = declare("g", (b) => ({ y: randomBits(b.input("key", "u32", [2]), [2, 2]) }));
    const expected = [0, 1, 2, 3].map((i) => {
      const [x0, x1] = threefry2x32(5, 6, 0, i);
      return (x0 ^ x1) >>> 0;
    });
    expect(run(graph, { key: hostTensor("u32", [2], [5, 6]) })).toEqual(expected);
  });
});

describe("sizes, states and precision", () => {
  const step = declare("step", (b) => {
    const T = b.size("T", 0, 8);
    const cache = b.state("cache", "f32", [4, 2]);
    const other = b.state("other", "f32", [4, 2]);
    const x = b.input("x", "f32", [T, 2]);
    const start = b.input("start", "i32", []);
    const next = updateSlice(cache, x, start, 0);
    b.update(cache, next);
    b.update(other, cache);
    return { total: sum(cache, [0]), next };
  });

  test("updates take effect together, after every read", () => {
    const cache = f32([4, 2], [1, 1, 1, 1, 1, 1, 1, 1]);
    const x = f32([2, 2], [5, 6, 7, 8]);
    const { outputs, states } = interpret(step, { x, start: i32([], [3]) }, { states: { cache } });
    expect(numbers(outputs["total"])).toEqual([4, 4]);
    // The second row would fall outside.
    expect(numbers(states["cache"])).toEqual([1, 1, 1, 1, 1, 1, 5, 6]);
    expect(numbers(states["other"])).toEqual(numbers(cache));
    expect(numbers(outputs["next"])).toEqual(numbers(states["cache"]));
  });

  test("a size is bound by its input, zero included, and checked", () => {
    const none = interpret(step, { x: f32([0, 2], []), start: i32([], [0]) });
    expect(numbers(none.states["cache"])).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    const rows = f32(
      [9, 2],
      Array.from({ length: 18 }, () => 0),
    );
    expect(() => interpret(step, { x: rows, start: i32([], [0]) })).toThrow(/size "T" is 9/);
    expect(() => interpret(step, { start: i32([], [0]) })).toThrow(/input "x".* is missing/);
    const cache = f32([2], [0, 0]);
    const x = f32([0, 2], []);
    expect(() => interpret(step, { x, start: i32([], [0]) }, { states: { cache } })).toThrow(
      /state "cache" is f32\[2\]/,
    );
  });

  test("f64 rounds nothing, so finite differences work", () => {
    const graph = declare("g", (b) => {
      const x = b.input("x", "bf16", [3]);
      return { y: sum(exp(mul(x, x))) };
    });
    const at = (h: number): number =>
      interpret(
        graph,
        { x: { dtype: "bf16", shape: [3], data: Float64Array.of(0.3 + h, 0.1, -0.7) } },
        { precision: "f64" },
      ).outputs["y"]!.data[0]!;
    expect((at(1e-6) - at(-1e-6)) / 2e-6).toBeCloseTo(2 * 0.3 * Math.exp(0.09), 8);
  });

  test("wide integers keep their low word", () => {
    const x: HostTensor = { dtype: "i64", shape: [2], data: BigInt64Array.of(-5n, 7n) };
    const y = unary(x, (t) => convert(sub(convert(t, "i32"), 1), "i64"));
    expect(y.data).toEqual(BigInt64Array.of(-6n, 6n));
  });

  test("a product of many terms rounds once", () => {
    const graph = declare("g", (b) => ({
      y: dot(b.input("p", "f32", [1, 4]), b.input("q", "f32", [4, 1])),
    }));
    const p = f32([1, 4], [2 ** 24, 1, 1, -(2 ** 24)]);
    expect(run(graph, { p, q: f32([4, 1], [1, 1, 1, 1]) })).toEqual([2]);
  });
});
