/**
 * Movements in random graphs: the same elements elsewhere, known places and computed ones. In: a draw. Out: values as accurate as
 * before. Every recipe looks first whether the op can take what it drew, so an error of an op is a finding.
 */
import type { Shape, Tensor } from "@millrace/graph";
import {
  addDims,
  bitAnd,
  broadcastTo,
  concatenate,
  hostTensor,
  iota,
  maxDim,
  minDim,
  multiplyDims,
  pad,
  reshape,
  shapeSize,
  slice,
  subtractDims,
  take,
  takeAlongAxis,
  transpose,
  updateSlice,
} from "@millrace/graph";
import type { Draw, Recipe } from "./tracked.ts";
import {
  elementsOf,
  hasDType,
  hasRank,
  isExact,
  isFloatValue,
  isSmall,
  largestValue,
  moved,
  tracked,
} from "./tracked.ts";

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
  const value =
    x.tensor.dtype === "bool"
      ? 1
      : draw.of(isFloatValue(x) && isExact(x) ? [0, 1, -0, Infinity, -Infinity] : [0, 1, 3]);
  const shape = x.tensor.shape.with(axis, addDims(x.tensor.shape[axis]!, low + high));
  if (!isSmall(shapeSize(shape))) return undefined;
  return moved(x, pad(x.tensor, axis, low, high, value), Math.abs(value));
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

export const movementRecipes: Readonly<Record<string, Recipe>> = {
  reshape: reshaping,
  transpose: transposition,
  slice: slicing,
  pad: padding,
  broadcast: broadcasting,
  concatenate: joining,
  take: gathering,
  takeAlongAxis: gatheringAlong,
  updateSlice: writing,
};
