/**
 * Reductions, running sums and products in random graphs. In: a draw. Out: values with the error that a sum in f32 can have in any
 * order, or none where it is exact.
 */
import type { Dim, Shape, Tensor } from "@millrace/graph";
import {
  argmax,
  cumulativeSum,
  dimsEqual,
  dotGeneral,
  isFloat,
  linear,
  max,
  maxDim,
  mean,
  min,
  minDim,
  multiplyDims,
  shapeSize,
  sum,
} from "@millrace/graph";
import type { Draw, Recipe } from "./tracked.ts";
import {
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
  constant,
  contracted,
} from "./tracked.ts";

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

/** What has an order of its own in registers: i8 and i16 are there to be stored. */
const isOrdered = hasDType("f32", "f16", "bf16", "e4m3fn", "e5m2", "i32", "u32", "u8");

const reduction =
  (op: typeof max): Recipe =>
  (draw) => {
    const x = draw.value(hasRank(1), isOrdered);
    if (!x) return undefined;
    const axes = someAxes(draw, x.tensor.shape);
    // Of no elements the result is an infinity.
    const empty = minDim(countAlong(x.tensor.shape, axes)) < 1;
    if (empty && !isExact(x)) return undefined;
    return tracked(op(x.tensor, axes), empty ? Infinity : x.magnitude, x.error);
  };

const position: Recipe = (draw) => {
  const x = draw.value(hasRank(1), isExact, isOrdered);
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
  const y = draw.value(isFloatValue, hasRank(1, 3), isBounded(100), ({ tensor }) =>
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

export const reductionRecipes: Readonly<Record<string, Recipe>> = {
  sum: summation(sum),
  mean: summation(mean),
  max: reduction(max),
  min: reduction(min),
  argmax: position,
  cumulativeSum: runningSum,
  product: matrixProduct,
};
