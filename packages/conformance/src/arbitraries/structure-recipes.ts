/**
 * Movements, reductions, products, gathers, orders and composites in random graphs. In: a draw. Out: values with their accuracy.
 * Every recipe looks first whether the op can take what it drew, so an error of an op is a finding.
 */
import type { Dim, Shape, Tensor } from "@millrace/graph";
import {
  addDims,
  argmax,
  bitAnd,
  broadcastTo,
  concatenate,
  countingSort,
  cumulativeSum,
  dimsEqual,
  dotGeneral,
  hostTensor,
  iota,
  isFloat,
  linear,
  logSoftmax,
  max,
  maxDim,
  mean,
  min,
  minDim,
  multiplyDims,
  oneHot,
  pad,
  raggedDot,
  raggedOuter,
  randomBits,
  randomNormal,
  randomUniform,
  reshape,
  rmsNorm,
  scatterAdd,
  shapeSize,
  slice,
  softmax,
  sort,
  subtractDims,
  sum,
  swiglu,
  take,
  takeAlongAxis,
  topK,
  transpose,
  updateSlice,
} from "@millrace/graph";
import { seededTensor } from "./tensor.ts";
import type { Draw, Recipe, Tracked } from "./tracked.ts";
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
} from "./tracked.ts";

const hasRank =
  (least: number, most = 8) =>
  ({ tensor }: Tracked): boolean =>
    tensor.shape.length >= least && tensor.shape.length <= most;

const isSmall = (elements: Dim): boolean => maxDim(elements) <= largestValue;

/** The same elements elsewhere. */
function moved(x: Tracked, tensor: Tensor, filler = 0): Tracked | undefined {
  return tracked(tensor, Math.max(x.magnitude, filler), x.error);
}

const reshaping: Recipe = (draw) => {
  const x = draw.value(hasRank(0, 5));
  if (!x) return undefined;
  const { shape } = x.tensor;
  const axis = draw.below(shape.length + 1);
  const dim = shape[axis];
  switch (draw.below(3)) {
    case 0:
      return moved(x, reshape(x.tensor, [shapeSize(shape)]));
    case 1:
      return moved(x, reshape(x.tensor, shape.toSpliced(axis, 0, 1)));
    default: {
      if (dim === undefined) return undefined;
      if (typeof dim === "number" && dim % 2 === 0 && dim > 0)
        return moved(x, reshape(x.tensor, shape.toSpliced(axis, 1, dim / 2, 2)));
      const next = shape[axis + 1];
      if (next === undefined) return undefined;
      return moved(x, reshape(x.tensor, shape.toSpliced(axis, 2, multiplyDims(dim, next))));
    }
  }
};

const transposition: Recipe = (draw) => {
  const x = draw.value(hasRank(2));
  if (!x) return undefined;
  const axes = x.tensor.shape.map((_, axis) => axis);
  const permutation: number[] = [];
  while (axes.length > 0) permutation.push(axes.splice(draw.below(axes.length), 1)[0]!);
  return moved(x, transpose(x.tensor, permutation));
};

const slicing: Recipe = (draw) => {
  const x = draw.value(hasRank(1));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const dim = x.tensor.shape[axis]!;
  const least = minDim(dim);
  if (least < 1) return undefined;
  const start = draw.below(least);
  const step = draw.of([1, 1, 1, 2, 3]);
  const most = Math.ceil((least - start) / step);
  const toEnd = step === 1 && draw.below(2) === 0;
  const size = toEnd ? subtractDims(dim, start) : draw.below(most + 1);
  return moved(x, slice(x.tensor, axis, start, size, step));
};

const padding: Recipe = (draw) => {
  const x = draw.value(hasRank(1));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const [low, high] = [draw.below(4), draw.below(4)];
  const value = x.tensor.dtype === "bool" ? 1 : draw.of([0, 1, 3]);
  const shape = x.tensor.shape.with(axis, addDims(x.tensor.shape[axis]!, low + high));
  if (!isSmall(shapeSize(shape))) return undefined;
  return moved(x, pad(x.tensor, axis, low, high, value), value);
};

const broadcasting: Recipe = (draw) => {
  const x = draw.value(hasRank(0, 4));
  if (!x) return undefined;
  const { shape } = x.tensor;
  const at = draw.below(shape.length + 1);
  const wide = shape.toSpliced(at, 0, draw.of([1, 2, 3, 5]));
  const axes = shape.map((_, axis) => (axis < at ? axis : axis + 1));
  return isSmall(shapeSize(wide)) ? moved(x, broadcastTo(x.tensor, wide, axes)) : undefined;
};

const joining: Recipe = (draw) => {
  const x = draw.value(hasRank(1));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const others = (shape: Shape): string => JSON.stringify(shape.with(axis, 1));
  const y = draw.value(
    hasDType(x.tensor.dtype),
    ({ tensor }) =>
      tensor.shape.length === x.tensor.shape.length &&
      others(tensor.shape) === others(x.tensor.shape) &&
      elementsOf(tensor) + elementsOf(x.tensor) <= largestValue / 2,
  );
  if (!y) return undefined;
  const parts = draw.below(2) === 0 ? [x, y] : [x, y, x];
  return tracked(
    concatenate(
      parts.map(({ tensor }) => tensor),
      axis,
    ),
    Math.max(x.magnitude, y.magnitude),
    Math.max(x.error, y.error),
  );
};

/** A nonempty choice of axes, ascending. */
function someAxes(draw: Draw, shape: Shape): number[] {
  const axes = shape.map((_, axis) => axis).filter(() => draw.below(2) === 0);
  return axes.length > 0 ? axes : [draw.below(shape.length)];
}

const countAlong = (shape: Shape, axes: readonly number[]): Dim =>
  shapeSize(axes.map((axis) => shape[axis]!));

const summation =
  (op: typeof sum): Recipe =>
  (draw) => {
    const x = draw.value(hasRank(1), hasDType("f32", "f16", "bf16", "i32", "u32"), (value) =>
      isFloat(value.tensor.dtype) ? isBounded(1000)(value) : op === sum,
    );
    if (!x) return undefined;
    const axes = someAxes(draw, x.tensor.shape);
    const count = countAlong(x.tensor.shape, axes);
    // The mean of nothing is NaN, which is right but teaches nothing.
    if (op !== sum && minDim(count) < 1) return undefined;
    const total = trackedSum(op(x.tensor, axes), maxDim(count), x.magnitude, x.error);
    if (op === sum || !total) return total;
    return tracked(total.tensor, x.magnitude, x.error + maxDim(count) * roundoff * x.magnitude);
  };

const reduction =
  (op: typeof max): Recipe =>
  (draw) => {
    const x = draw.value(hasRank(1), ({ tensor }) => tensor.dtype !== "bool");
    if (!x) return undefined;
    const axes = someAxes(draw, x.tensor.shape);
    // Of no elements the result is an infinity.
    const empty = minDim(countAlong(x.tensor.shape, axes)) < 1;
    if (empty && !isExact(x)) return undefined;
    return tracked(op(x.tensor, axes), empty ? Infinity : x.magnitude, x.error);
  };

const position: Recipe = (draw) => {
  const x = draw.value(hasRank(1), isExact, ({ tensor }) => tensor.dtype !== "bool");
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  return minDim(x.tensor.shape[axis]!) < 1 ? undefined : tracked(argmax(x.tensor, axis), 4096);
};

const runningSum: Recipe = (draw) => {
  const x = draw.value(hasRank(1), hasDType("f32", "bf16", "i32", "u32"), (value) =>
    isFloat(value.tensor.dtype) ? isBounded(100)(value) : true,
  );
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const options = { exclusive: draw.below(2) === 0, reverse: draw.below(2) === 0 };
  const count = maxDim(x.tensor.shape[axis]!);
  return trackedSum(cumulativeSum(x.tensor, axis, options), count, x.magnitude, x.error);
};

/** A product of `x` and `y` summed over `depth` elements. */
function contracted(tensor: Tensor, depth: number, x: Tracked, y: Tracked): Tracked | undefined {
  const error = x.error * (y.magnitude + y.error) + y.error * x.magnitude;
  return trackedSum(tensor, depth, x.magnitude * y.magnitude, error);
}

/** A constant of small values. */
function constant(draw: Draw, like: Tensor, shape: readonly number[], seed: number): Tracked {
  const dtype = isFloat(like.dtype) ? like.dtype : "f32";
  return {
    tensor: like.builder.constant(seededTensor(dtype, shape, seed + draw.below(8))),
    magnitude: 2,
    error: 0,
  };
}

const fewest = 1;

const matrixProduct: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 4), isFloatValue, isBounded(100));
  const depth = x?.tensor.shape.at(-1);
  if (!x || depth === undefined) return undefined;
  if (draw.below(2) === 0 && typeof depth === "number") {
    const columns = draw.of([1, 2, 7, 8, 9, 17]);
    const rows = maxDim(shapeSize(x.tensor.shape.slice(0, -1)));
    if (rows * columns > largestValue || depth * columns > largestValue) return undefined;
    const w = constant(draw, x.tensor, [columns, depth], 100);
    return contracted(linear(x.tensor, w.tensor), depth, x, w);
  }
  const y = draw.value(isFloatValue, hasRank(fewest, 3), isBounded(100), ({ tensor }) =>
    dimsEqual(tensor.shape.at(-1)!, depth),
  );
  if (!y) return undefined;
  const last = (tensor: Tensor): number => tensor.shape.length - 1;
  const batched =
    last(x.tensor) > 0 &&
    last(y.tensor) > 0 &&
    dimsEqual(x.tensor.shape[0]!, y.tensor.shape[0]!) &&
    draw.below(2) === 0;
  const size = multiplyDims(
    shapeSize(x.tensor.shape.slice(0, -1)),
    shapeSize(y.tensor.shape.slice(batched ? 1 : 0, -1)),
  );
  if (!isSmall(size)) return undefined;
  const product = dotGeneral(x.tensor, y.tensor, {
    lhsContract: [last(x.tensor)],
    rhsContract: [last(y.tensor)],
    lhsBatch: batched ? [0] : [],
    rhsBatch: batched ? [0] : [],
    dtype: draw.below(2) === 0 ? "f32" : x.tensor.dtype,
  });
  return contracted(product, maxDim(depth), x, y);
};

/** Indices of which some lie outside, or small integers computed before. */
function indices(draw: Draw, like: Tensor, size: number): Tensor {
  const known = draw.value(
    hasDType("i32"),
    hasRank(1, 2),
    ({ tensor }) => elementsOf(tensor) <= 64,
  );
  if (known && draw.below(2) === 0) return known.tensor;
  const count = draw.of([0, 1, 3, 8, 17]);
  const values = Array.from({ length: count }, () => draw.below(size + 3) - 1);
  return like.builder.constant(hostTensor("i32", [count], values));
}

const gathering: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 4));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const picks = indices(draw, x.tensor, maxDim(x.tensor.shape[axis]!));
  const shape = x.tensor.shape.toSpliced(axis, 1, ...picks.shape);
  return isSmall(shapeSize(shape)) ? moved(x, take(x.tensor, picks, axis)) : undefined;
};

const gatheringAlong: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 4));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const positions = iota(
    x.tensor.builder,
    "i32",
    x.tensor.shape,
    draw.below(x.tensor.shape.length),
  );
  return moved(x, takeAlongAxis(x.tensor, bitAnd(positions, draw.of([0, 1, 3, 15])), axis));
};

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

const writing: Recipe = (draw) => {
  const x = draw.value(hasRank(1, 3));
  if (!x) return undefined;
  const axis = draw.below(x.tensor.shape.length);
  const rows = draw.of([0, 1, 2, 3]);
  const shape = x.tensor.shape.with(axis, rows);
  const update = broadcastTo(x.tensor.builder.scalar(1, x.tensor.dtype), shape);
  const start = x.tensor.builder.scalar(draw.below(12) - 2, "i32");
  return moved(x, updateSlice(x.tensor, update, start, axis), 1);
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

export const structureRecipes: Readonly<Record<string, Recipe>> = {
  reshape: reshaping,
  transpose: transposition,
  slice: slicing,
  pad: padding,
  broadcast: broadcasting,
  concatenate: joining,
  sum: summation(sum),
  mean: summation(mean),
  max: reduction(max),
  min: reduction(min),
  argmax: position,
  cumulativeSum: runningSum,
  product: matrixProduct,
  take: gathering,
  takeAlongAxis: gatheringAlong,
  oneHot: oneHots,
  scatterAdd: scattering,
  sort: ordering,
  ragged: grouping,
  updateSlice: writing,
  random: randomness,
  normalise: normalised,
  swiglu: gated,
};
