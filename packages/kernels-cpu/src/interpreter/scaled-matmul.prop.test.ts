// Quantisation and FP8 products against plain loops that round as the recipe says: codes and scales to the bit, products
// within f32 rounding, gradients as products of the operands that the recipe quantises.
import type { GraphBuilder, HostTensor, NarrowFloatDType, Tensor } from "@millrace/graph";
import {
  bf16Linear,
  bf16RaggedDot,
  blockDequantize,
  blockQuantize,
  declare,
  elementCount,
  encodeFloat,
  fp8Linear,
  fp8RaggedDot,
  gradients,
  hostTensor,
  mul,
  quantizeBlocks,
  roundFloat,
  roundUpToPowerOfTwo,
  scaledLinear,
  sum,
  toNumbers,
} from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interpret } from "./interpret.ts";

const edges = fc.constantFrom(1, 2, 127, 128, 129, 257);
const seeds = fc.integer({ min: 0, max: 1e6 });
const few = { numRuns: 15 };
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

/** Normal-looking f32 values with a few outliers and small ones. */
function floats(seed: number, ...shape: number[]): HostTensor {
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  const next = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const value = (): number =>
    (next() + next() + next() - 1.5) * (next() < 0.01 ? 100 : next() < 0.1 ? 1e-6 : 1);
  return hostTensor("f32", shape, Float64Array.from({ length: elementCount(shape) }, value));
}

interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float64Array;
}

const matrix = (rows: number, columns: number, data: ArrayLike<number>): Matrix => ({
  rows,
  columns,
  data: Float64Array.from(data),
});

const transposed = ({ rows, columns, data }: Matrix): Matrix =>
  matrix(
    columns,
    rows,
    range(rows * columns).map((i) => data[(i % rows) * columns + Math.floor(i / rows)]!),
  );

/** a · bᵀ in doubles. */
const product = (a: Matrix, b: Matrix): Matrix =>
  matrix(
    a.rows,
    b.rows,
    range(a.rows * b.rows).map((i) => {
      let acc = 0;
      const [m, n] = [Math.floor(i / b.rows) * a.columns, (i % b.rows) * a.columns];
      for (let k = 0; k < a.columns; k++) acc += a.data[m + k]! * b.data[n + k]!;
      return acc;
    }),
  );

interface Codes {
  readonly codes: number[];
  readonly scales: number[];
  readonly values: Matrix;
}

/** Smallest magnitude that a scale is made for: of gradients, which may be far smaller than activations. */
const gradientFloor = 1e-30;

/** The recipe's quantisation, with f32 divisions. */
function quantized(
  x: Matrix,
  tile: readonly [number, number],
  powerOfTwo = false,
  floor = 1e-4,
): Codes {
  const across = Math.ceil(x.columns / tile[1]);
  const tileOf = (i: number): number =>
    Math.floor(Math.floor(i / x.columns) / tile[0]) * across +
    Math.floor((i % x.columns) / tile[1]);
  const largest = new Float64Array(Math.ceil(x.rows / tile[0]) * across);
  x.data.forEach((v, i) => {
    largest[tileOf(i)] = Math.max(largest[tileOf(i)]!, Math.abs(v));
  });
  const scales = Array.from(largest, (amax) => {
    const scale = Math.fround(Math.max(amax, Math.fround(floor)) / 448);
    return powerOfTwo ? roundUpToPowerOfTwo(scale) : scale;
  });
  const scaled = Array.from(x.data, (v, i) => Math.fround(v / scales[tileOf(i)]!));
  return {
    codes: scaled.map((v) => encodeFloat("e4m3fn", v)),
    scales,
    values: matrix(
      x.rows,
      x.columns,
      scaled.map((v, i) => Math.fround(roundFloat("e4m3fn", v) * scales[tileOf(i)]!)),
    ),
  };
}

const rows = [1, 128] as const;
const columns = [128, 1] as const;
const blocks = [128, 128] as const;

function expectClose(got: HostTensor, want: ArrayLike<number>, tolerance = 3e-6): void {
  const values = toNumbers(got);
  expect(values.length).toBe(want.length);
  let size = 0;
  for (let i = 0; i < want.length; i++) size = Math.max(size, Math.abs(want[i]!));
  for (let i = 0; i < want.length; i++)
    if (!(Math.abs(values[i]! - want[i]!) <= tolerance * size))
      expect.fail(`element ${i} is ${values[i]}, expected ${want[i]}, largest ${size}`);
}

const inputOf = (b: GraphBuilder, name: string, value: HostTensor): Tensor =>
  b.input(name, value.dtype, value.shape);

/** y and the gradients of sum(y · dy) by x and w. */
function throughLinear(
  values: Readonly<Record<"x" | "w" | "dy" | "offsets", HostTensor>>,
  apply: (x: Tensor, w: Tensor, offsets: Tensor) => Tensor,
): Record<string, HostTensor> {
  const graph = declare("linear", (b) => {
    const [x, w] = [inputOf(b, "x", values.x), inputOf(b, "w", values.w)];
    const y = apply(x, w, inputOf(b, "offsets", values.offsets));
    const [dx, dw] = gradients(sum(mul(y, inputOf(b, "dy", values.dy))), [x, w]);
    return { y, dx: dx!, dw: dw! };
  });
  return interpret(graph, values).outputs;
}

const noOffsets = hostTensor("i32", [1], [0]);
const matrixOf = (x: HostTensor): Matrix => matrix(x.shape[0]!, x.shape[1]!, toNumbers(x));

describe("block quantisation", () => {
  const tiles = fc.constantFrom(rows, columns, blocks);

  test("gives the recipe's codes and scales, and values back from them", () => {
    fc.assert(
      fc.property(edges, edges, tiles, fc.boolean(), seeds, (m, k, tile, ue8m0, seed) => {
        const x = floats(seed, m, k);
        const want = quantized(matrixOf(x), tile, ue8m0);
        const graph = declare("quantize", (b) => {
          const both = blockQuantize(inputOf(b, "x", x), tile, { ue8m0 });
          return { ...both, values: blockDequantize(both, tile) };
        });
        const { codes, scales, values } = interpret(graph, { x }).outputs;
        expect([...codes!.data]).toEqual(want.codes);
        expect([...scales!.data]).toEqual(want.scales);
        expect([...values!.data]).toEqual([...want.values.data]);
      }),
      few,
    );
  });

  test("gives a tile of zeros, and one below the clamp, the smallest scale", () => {
    const x = hostTensor("f32", [2, 2], [0, 0, 1e-5, -1e-5]);
    const graph = declare("quantize", (b) => ({ ...blockQuantize(inputOf(b, "x", x), rows) }));
    const { codes, scales } = interpret(graph, { x }).outputs;
    const smallest = Math.fround(Math.fround(1e-4) / 448);
    expect([...scales!.data]).toEqual([smallest, smallest]);
    expect([...codes!.data.subarray(0, 2)]).toEqual([0, 0]);
  });

  test("rounds a scale up to a power of two, and keeps one that is one", () => {
    const next = 1 + 2 ** -23;
    const x = hostTensor("f32", [3, 1], [448, -448 * next, 448 * 2 ** -9]);
    const graph = declare("quantize", (b) => ({
      ...blockQuantize(inputOf(b, "x", x), rows, { ue8m0: true }),
    }));
    expect([...interpret(graph, { x }).outputs["scales"]!.data]).toEqual([1, 2, 2 ** -9]);
  });

  test("shows a NaN in its whole tile, with power-of-two scales too", () => {
    const x = hostTensor("f32", [1, 2], [1, Number.NaN]);
    for (const ue8m0 of [false, true]) {
      const graph = declare("quantize", (b) => ({
        ...blockQuantize(inputOf(b, "x", x), rows, { ue8m0 }),
      }));
      expect(toNumbers(interpret(graph, { x }).outputs["scales"]!)[0]).toBeNaN();
    }
  });

  test("of no rows gives none", () => {
    const x = hostTensor("f32", [0, 130], []);
    const graph = declare("quantize", (b) => ({ ...blockQuantize(inputOf(b, "x", x), rows) }));
    expect(interpret(graph, { x }).outputs["scales"]!.shape).toEqual([0, 2]);
  });

  test("treats each expert's weight as a matrix of its own", () => {
    const w = floats(5, 3, 130, 129);
    const graph = declare("quantize", (b) => ({ ...quantizeBlocks(inputOf(b, "w", w)) }));
    const { codes, scales } = interpret(graph, { w }).outputs;
    const size = 130 * 129;
    for (const e of range(3)) {
      const want = quantized(
        matrix(130, 129, toNumbers(w).slice(e * size, (e + 1) * size)),
        blocks,
      );
      expect([...codes!.data.subarray(e * size, (e + 1) * size)]).toEqual(want.codes);
      expect([...scales!.data.subarray(e * 4, (e + 1) * 4)]).toEqual(want.scales);
    }
  });
});

const sizes = fc.tuple(
  fc.constantFrom(1, 3, 129),
  fc.constantFrom(1, 5, 130),
  fc.constantFrom(1, 127, 129),
  seeds,
);

describe("linear", () => {
  test("fp8Linear multiplies quantised operands forward and backward, re-tiled for the weight gradient", () => {
    fc.assert(
      fc.property(sizes, fc.boolean(), fc.boolean(), ([m, n, k, seed], input, gradient) => {
        const values = {
          x: floats(seed, m, k),
          w: floats(seed + 1, n, k),
          dy: floats(seed + 2, m, n),
          offsets: noOffsets,
        };
        const got = throughLinear(values, (x, w) =>
          fp8Linear(x, w, { powerOfTwoInput: input, powerOfTwoGradient: gradient }),
        );
        const x = quantized(matrixOf(values.x), rows, input).values;
        const w = quantized(matrixOf(values.w), blocks).values;
        const dy = matrixOf(values.dy);
        expectClose(got["y"]!, product(x, w).data);
        expectClose(
          got["dx"]!,
          product(quantized(dy, rows, gradient, gradientFloor).values, transposed(w)).data,
        );
        expectClose(
          got["dw"]!,
          product(
            transposed(quantized(dy, columns, gradient, gradientFloor).values),
            transposed(quantized(x, columns, input).values),
          ).data,
        );
      }),
      few,
    );
  });

  test("fp8Linear takes any number of leading axes, and scaledLinear stored codes", () => {
    const [x, w] = [floats(1, 2, 3, 130), floats(2, 5, 130)];
    const flat = matrix(6, 130, toNumbers(x));
    const stored = quantized(matrixOf(w), blocks);
    const codes: HostTensor = {
      dtype: "e4m3fn",
      shape: [5, 130],
      data: Uint8Array.from(stored.codes),
    };
    const scales = hostTensor("f32", [1, 2], stored.scales);
    const graph = declare("linear", (b) => {
      const input = inputOf(b, "x", x);
      return {
        trained: fp8Linear(input, inputOf(b, "w", w)),
        stored: scaledLinear(input, inputOf(b, "codes", codes), inputOf(b, "scales", scales)),
      };
    });
    const { outputs } = interpret(graph, { x, w, codes, scales });
    const want = product(quantized(flat, rows).values, stored.values).data;
    for (const y of [outputs["trained"]!, outputs["stored"]!]) {
      expect(y.shape).toEqual([2, 3, 5]);
      expectClose(y, want);
    }
  });

  test("bf16Linear rounds operands, and no result", () => {
    fc.assert(
      fc.property(sizes, ([m, n, k, seed]) => {
        const values = {
          x: floats(seed, m, k),
          w: floats(seed + 1, n, k),
          dy: floats(seed + 2, m, n),
          offsets: noOffsets,
        };
        const got = throughLinear(values, (x, w) => bf16Linear(x, w));
        const [x, w, dy] = [values.x, values.w, values.dy].map((t) => rounded(matrixOf(t)));
        expectClose(got["y"]!, product(x!, w!).data);
        expectClose(got["dx"]!, product(dy!, transposed(w!)).data);
        expectClose(got["dw"]!, product(transposed(dy!), transposed(x!)).data);
      }),
      few,
    );
  });
});

const rounded = (x: Matrix, dtype: NarrowFloatDType = "bf16"): Matrix =>
  matrix(
    x.rows,
    x.columns,
    x.data.map((v) => roundFloat(dtype, v)),
  );

const slices = (x: Matrix, offsets: readonly number[]): Matrix[] =>
  range(offsets.length - 1).map((e) =>
    matrix(
      offsets[e + 1]! - offsets[e]!,
      x.columns,
      x.data.slice(offsets[e]! * x.columns, offsets[e + 1]! * x.columns),
    ),
  );

const joined = (parts: readonly Matrix[]): number[] => parts.flatMap(({ data }) => [...data]);

describe("ragged products", () => {
  // The second expert gets no rows, the third more than a tile.
  const offsets = [0, 3, 3, 133];
  const [r, n, k] = [133, 130, 129];
  const values = {
    x: floats(1, r, k),
    w: floats(2, 3, n, k),
    dy: floats(3, r, n),
    offsets: hostTensor("i32", [4], offsets),
  };
  const experts = slices(matrix(3 * n, k, toNumbers(values.w)), [0, n, 2 * n, 3 * n]);

  const checkRagged = (
    got: Record<string, HostTensor>,
    [x, dy, w]: readonly [Matrix, Matrix, readonly Matrix[]],
  ): void => {
    const [rowsOfX, rowsOfDy] = [slices(x, offsets), slices(dy, offsets)];
    expectClose(got["y"]!, joined(rowsOfX.map((part, e) => product(part, w[e]!))));
    expectClose(got["dx"]!, joined(rowsOfDy.map((part, e) => product(part, transposed(w[e]!)))));
    expectClose(
      got["dw"]!,
      joined(rowsOfDy.map((part, e) => product(transposed(part), transposed(rowsOfX[e]!)))),
    );
  };

  test("fp8RaggedDot quantises along features only, so that experts do not touch each other", () => {
    const got = throughLinear(values, (x, w, o) =>
      fp8RaggedDot(x, w, o, { powerOfTwoGradient: true }),
    );
    checkRagged(got, [
      quantized(matrixOf(values.x), rows).values,
      quantized(matrixOf(values.dy), rows, true, gradientFloor).values,
      experts.map((w) => quantized(w, blocks).values),
    ]);
  });

  test("bf16RaggedDot rounds operands, and no result", () => {
    const got = throughLinear(values, (x, w, o) => bf16RaggedDot(x, w, o));
    checkRagged(got, [
      rounded(matrixOf(values.x)),
      rounded(matrixOf(values.dy)),
      experts.map((w) => rounded(w)),
    ]);
  });
});
