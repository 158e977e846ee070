/**
 * Reductions and products at the lengths that leave tails: nothing, one, and around vectors and tiles.
 */
import type { DType } from "@millrace/graph";
import {
  add,
  argmax,
  cumulativeSum,
  dequantizeGroups,
  dotGeneral,
  encodeGroups,
  groupLinear,
  groupRaggedDot,
  hostTensor,
  linear,
  max,
  mean,
  min,
  mul,
  raggedDot,
  raggedOuter,
  sum,
  transpose,
} from "@millrace/graph";
import { seededTensor } from "../arbitraries/tensor.ts";
import type { SuiteContext } from "../describe-backend.ts";
import { checkSample } from "./case.ts";

const sizes: readonly (readonly [m: number, n: number, k: number])[] = [
  [0, 3, 4],
  [3, 4, 0],
  [1, 1, 1],
  [1, 129, 64],
  [5, 7, 3],
  [8, 16, 127],
  [17, 9, 128],
  [33, 15, 129],
  [64, 64, 65],
  [127, 31, 16],
];

const lengths = [0, 1, 7, 8, 9, 127, 128, 129];

export function describeProducts(context: SuiteContext): void {
  const { describe, test, timeout, hasDTypes } = context;
  describe("products and reductions", () => {
    const floats = (["f32", "bf16", "f16", "e4m3fn"] as const).filter((dtype) => hasDTypes(dtype));
    for (const dtype of floats)
      test(
        `linear of ${dtype}`,
        async () => {
          for (const [m, n, k] of sizes) await checkLinear(dtype, m, n, k, context);
        },
        timeout,
      );
    if (hasDTypes("i8", "i16", "u8", "bf16"))
      test("products with weights in 8 and 4 bits", () => checkGroups(context), timeout);
    test("batched, transposed and mixed products", () => checkBatched(context), timeout);
    test("ragged products, with empty groups", () => checkRagged(context), timeout);
    test(
      "reductions",
      async () => {
        for (const length of lengths) await checkReductions(length, context);
      },
      timeout,
    );
  });
}

function checkLinear(
  dtype: DType,
  m: number,
  n: number,
  k: number,
  context: SuiteContext,
): Promise<void> {
  const inputs = {
    x: seededTensor(dtype, [m, k], 1),
    w: seededTensor(dtype, [n, k], 2),
    residual: seededTensor("f32", [m, n], 3),
  };
  return checkSample(
    {
      name: `linear ${m} ${n} ${k}`,
      inputs,
      declare: (_, { x, w, residual }) => {
        const rows = { lhsContract: [1], rhsContract: [1], lhsBatch: [], rhsBatch: [] };
        const wide = dotGeneral(x!, w!, { ...rows, dtype: "f32" });
        return { y: linear(x!, w!), fused: add(wide, residual!) };
      },
      relative: 1e-5,
    },
    context,
  );
}

async function checkGroups(context: SuiteContext): Promise<void> {
  for (const bits of [8, 4] as const)
    for (const [m, n, k, group] of [
      [1, 5, 64, 32],
      [7, 33, 128, 64],
    ] as const) {
      const matrix = encodeGroups(seededTensor("f32", [n, k], 2), bits, group);
      const experts = encodeGroups(seededTensor("f32", [2, n, k], 3), bits, group);
      const inputs = {
        x: seededTensor("f32", [m, k], 1),
        codes: matrix.codes,
        scales: matrix.scales,
        expertCodes: experts.codes,
        expertScales: experts.scales,
        offsets: hostTensor("i32", [3], [0, m - 1, m]),
      };
      await checkSample(
        {
          name: `groups of ${bits} bits, ${m} ${n} ${k}`,
          inputs,
          declare: (_, { x, codes, scales, expertCodes, expertScales, offsets }) => ({
            y: groupLinear(x!, codes!, scales!),
            ragged: groupRaggedDot(x!, expertCodes!, expertScales!, offsets!),
            values: dequantizeGroups(codes!, scales!),
          }),
          relative: 1e-5,
        },
        context,
      );
    }
}

function checkBatched(context: SuiteContext): Promise<void> {
  const narrow: DType = context.hasDTypes("bf16") ? "bf16" : "f32";
  const inputs = {
    q: seededTensor("f32", [2, 9, 3, 16], 1),
    k: seededTensor(narrow, [2, 17, 3, 16], 2),
    s: seededTensor("f32", [2, 1, 3, 1], 3),
  };
  return checkSample(
    {
      name: "batched",
      inputs,
      declare: (_, { q, k, s }) => {
        const scores = dotGeneral(mul(q!, s!), k!, {
          lhsContract: [3],
          rhsContract: [3],
          lhsBatch: [0, 2],
          rhsBatch: [0, 2],
          dtype: "f32",
        });
        const outer = { lhsContract: [], rhsContract: [], lhsBatch: [], rhsBatch: [] };
        const column = sum(scores, [0, 1, 2]);
        return {
          scores,
          transposed: dotGeneral(transpose(scores), transpose(k!, [0, 2, 1, 3]), {
            lhsContract: [2],
            rhsContract: [2],
            lhsBatch: [0, 1],
            rhsBatch: [0, 1],
            dtype: narrow,
          }),
          outer: dotGeneral(column, column, { ...outer, dtype: "f32" }),
          inner: dotGeneral(column, column, {
            ...outer,
            lhsContract: [0],
            rhsContract: [0],
            dtype: "f32",
          }),
        };
      },
      relative: 2e-5,
    },
    context,
  );
}

function checkRagged(context: SuiteContext): Promise<void> {
  const dtype: DType = context.hasDTypes("bf16") ? "bf16" : "f32";
  const inputs = {
    x: seededTensor(dtype, [37, 24], 1),
    y: seededTensor(dtype, [37, 9], 2),
    w: seededTensor(dtype, [5, 9, 24], 3),
    // Groups of 0, 1, 30, 0 and 6 rows.
    offsets: hostTensor("i32", [6], [0, 0, 1, 31, 31, 37]),
    one: hostTensor("i32", [6], [0, 37, 37, 37, 37, 37]),
  };
  return checkSample(
    {
      name: "ragged",
      inputs,
      declare: (_, { x, y, w, offsets, one }) => ({
        dot: raggedDot(x!, w!, offsets!),
        wide: raggedDot(x!, w!, one!, "f32"),
        outer: raggedOuter(x!, y!, offsets!, "f32"),
        narrow: raggedOuter(x!, y!, one!),
      }),
      relative: 2e-5,
    },
    context,
  );
}

function checkReductions(length: number, context: SuiteContext): Promise<void> {
  const inputs = {
    x: seededTensor("f32", [3, length, 5], 1),
    i: seededTensor("i32", [3, length], 2, "wide"),
    edges: seededTensor("f32", [length, 4], 3, "edges"),
  };
  return checkSample(
    {
      name: `reductions of ${length}`,
      inputs,
      declare: (_, { x, i, edges }) => ({
        first: sum(x!, [0]),
        middle: sum(x!, [1]),
        last: sum(x!, [2]),
        outer: sum(x!, [0, 2]),
        all: sum(x!),
        mean: mean(x!, [1]),
        integers: sum(i!, [1]),
        running: cumulativeSum(x!, 1),
        reversed: cumulativeSum(i!, 1, { reverse: true, exclusive: true }),
        max: max(edges!, [0]),
        min: min(edges!, [1]),
        ...(length > 0 && { at: argmax(edges!, 0) }),
      }),
      relative: 1e-5,
    },
    context,
  );
}
