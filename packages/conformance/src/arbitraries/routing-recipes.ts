/**
 * What models are made of beside arithmetic, in random graphs: orders, scatters, rows grouped by expert, random numbers,
 * normalisation and gates. In: a draw. Out: values with their accuracy.
 */
import {
  bitAnd,
  countingSort,
  dimsEqual,
  hostTensor,
  iota,
  logSoftmax,
  maxDim,
  minDim,
  oneHot,
  raggedDot,
  raggedOuter,
  randomBits,
  randomNormal,
  randomUniform,
  rmsNorm,
  scatterAdd,
  shapeSize,
  softmax,
  sort,
  swiglu,
  take,
  topK,
} from "@millrace/graph";
import type { Recipe, Tracked } from "./tracked.ts";
import {
  elementsOf,
  functionError,
  hasDType,
  isBounded,
  isExact,
  isFloatValue,
  largestValue,
  roundoff,
  tracked,
  trackedSum,
  hasRank,
  isSmall,
  moved,
  constant,
  contracted,
} from "./tracked.ts";

const oneHots: Recipe = (draw) => {
  const x = draw.value(hasDType("i32"), hasRank(0, 2), ({ tensor }) => elementsOf(tensor) <= 512);
  return x && tracked(oneHot(x.tensor, draw.of([1, 3, 8]), draw.of(draw.dtypes)), 1);
};

const scattering: Recipe = (draw) => {
  const x = draw.value(
    hasRank(1, 3),
    hasDType("f32", "bf16", "i32", "u32"),
    (value) => !isFloatValue(value) || isBounded(100)(value),
  );
  if (!x) return undefined;
  const rows = x.tensor.shape[0]!;
  const positions = bitAnd(iota(x.tensor.builder, "i32", [rows], 0), draw.of([0, 1, 6, 15]));
  const size = draw.of([1, 2, 5, 9]);
  const shape = x.tensor.shape.with(0, size);
  if (!isSmall(shapeSize(shape))) return undefined;
  const summed = scatterAdd(positions, x.tensor, size);
  return trackedSum(summed, maxDim(rows), x.magnitude, x.error);
};

const ordering: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 3), isExact, hasDType("f32", "bf16", "f16", "i32"));
  const last = x?.tensor.shape.at(-1);
  if (!x || last === undefined || maxDim(last) > 256) return undefined;
  const [values, order] =
    draw.below(2) === 0
      ? sort(x.tensor, { descending: draw.below(2) === 0 })
      : topK(x.tensor, draw.below(minDim(last) + 1));
  return [tracked(values, x.magnitude), tracked(order, 4096)];
};

/** Rows grouped by key, and the products of each group: what a mixture of experts does. */
const grouping: Recipe = (draw) => {
  const x = draw.value(hasRank(2, 2), isFloatValue, isBounded(100));
  const width = x?.tensor.shape[1];
  if (!x || typeof width !== "number" || width > 64) return undefined;
  const groups = 4;
  const rows = x.tensor.shape[0]!;
  const keys = draw.value(hasDType("i32"), hasRank(1, 1), ({ tensor }) =>
    dimsEqual(tensor.shape[0]!, rows),
  );
  const any = keys?.tensor ?? iota(x.tensor.builder, "i32", [rows], 0);
  const { permutation, inverse, offsets } = countingSort(bitAnd(any, groups - 1), groups);
  const grouped = moved(x, take(x.tensor, permutation, 0));
  if (!grouped) return undefined;
  const results = [tracked(permutation, 4096), tracked(inverse, 4096), tracked(offsets, 4096)];
  if (draw.below(2) === 0) {
    const w = constant(draw, x.tensor, [groups, 5, width], 200);
    const product = raggedDot(grouped.tensor, w.tensor, offsets, "f32");
    return [...results, contracted(product, width, grouped, w)];
  }
  if (groups * width * width > largestValue) return results;
  const outer = raggedOuter(grouped.tensor, grouped.tensor, offsets, "f32");
  return [...results, contracted(outer, maxDim(rows), grouped, grouped)];
};

const randomness: Recipe = (draw) => {
  const x = draw.value(hasRank(0, 3));
  if (!x) return undefined;
  const key = x.tensor.builder.constant(hostTensor("u32", [2], [draw.below(2 ** 31), 7]));
  const { shape } = x.tensor;
  switch (draw.below(3)) {
    case 0:
      return tracked(randomBits(key, shape), Infinity);
    case 1:
      return tracked(randomUniform(key, shape, -1, 1), 1);
    default:
      // Near 1 the logarithm is tiny and its root large beside its error.
      return tracked(randomNormal(key, shape), 6, Math.sqrt(2 * functionError) + 6 * functionError);
  }
};

const normalised: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 4), isFloatValue, isBounded(50));
  const width = x?.tensor.shape.at(-1);
  if (!x || width === undefined || minDim(width) < 1) return undefined;
  const lengthError = functionError * (1 + x.magnitude) + maxDim(width) * roundoff;
  switch (draw.below(3)) {
    case 0:
      return tracked(softmax(x.tensor), 1, 2 * x.error + lengthError);
    case 1: {
      const magnitude = 2 * x.magnitude + Math.log(maxDim(width));
      return tracked(logSoftmax(x.tensor), magnitude, 2 * x.error + lengthError);
    }
    default: {
      if (typeof width !== "number") return undefined;
      const w = constant(draw, x.tensor, [width], 300);
      // With this epsilon no element grows more than twofold.
      const magnitude = 4 * x.magnitude;
      return tracked(rmsNorm(x.tensor, w.tensor, 0.25), magnitude, 12 * x.error + 4 * lengthError);
    }
  }
};

const gated: Recipe = (draw) => {
  const x = draw.value(isFloatValue, isBounded(30));
  const same = ({ tensor }: Tracked): boolean =>
    tensor.dtype === x!.tensor.dtype &&
    JSON.stringify(tensor.shape) === JSON.stringify(x!.tensor.shape);
  const up = x && draw.value(same, isBounded(30));
  if (!x || !up) return undefined;
  const magnitude = x.magnitude * up.magnitude;
  const error = 2 * x.error * up.magnitude + x.magnitude * up.error + functionError * magnitude;
  return tracked(swiglu(x.tensor, up.tensor), magnitude, error + 2 ** -149);
};

export const routingRecipes: Readonly<Record<string, Recipe>> = {
  oneHot: oneHots,
  scatterAdd: scattering,
  sort: ordering,
  ragged: grouping,
  random: randomness,
  normalise: normalised,
  swiglu: gated,
};
