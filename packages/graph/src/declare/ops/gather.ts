/**
 * Reads and sums at computed positions, and the values that only depend on a position. In: tensors and i32 indices. Out: the
 * elements there (0 outside), or sums of elements by index. Reading and summing are each other's derivatives.
 */
import type { DType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import { apply, convertTo, integer, literal, scalarType, sizeOf } from "../../expression.ts";
import type { Expr } from "../../expression.ts";
import { select as selectExpr } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, Shape } from "../../shape.ts";
import {
  formatShape,
  formatType,
  minDim,
  multiplyDims,
  shapeSize,
  shapesEqual,
} from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import type { GraphBuilder } from "../builder.ts";
import { applyOne, defineOp, expectAxis, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo, sum } from "./broadcast.ts";
import { add, bitAnd, convert, eq, ge, lt, mul, select } from "./elementwise.ts";
import { reshape, transpose } from "./movement.ts";

type PositionDType = "i32" | "u32" | "f32";

function expectPositionDType(dtype: DType): void {
  if (dtype !== "i32" && dtype !== "u32" && dtype !== "f32")
    throw new DTypeError({
      what: `does not give ${dtype}`,
      hint: "Ask for i32, u32 or f32, and convert.",
    });
}

/** Every element is its index along `axis`. */
export const iotaOp: OpDefinition<{ dtype: PositionDType; shape: Shape; axis: number }> = defineOp({
  name: "iota",
  infer: (inputs, { dtype, shape, axis }) => {
    expectInputs(inputs, 0);
    expectPositionDType(dtype);
    expectAxis(shape, axis);
    return [{ dtype, shape }];
  },
  vjp: "none",
  body: {
    class: "movement",
    at: (index, _read, { attrs }) => convertTo(index[attrs.axis]!, attrs.dtype),
  },
});

/** 0, 1, 2, … along `axis`. */
export function iota(b: GraphBuilder, dtype: PositionDType, shape: Shape, axis: number): Tensor {
  return b.apply(iotaOp, [], { dtype, shape, axis })[0]!;
}

/** A size as a value: a number that is known only at run time. */
export const dimensionOp: OpDefinition<{ dim: Dim; dtype: PositionDType }> = defineOp({
  name: "dimension",
  infer: (inputs, { dtype }) => {
    expectInputs(inputs, 0);
    expectPositionDType(dtype);
    return [{ dtype, shape: [] }];
  },
  vjp: "none",
  body: {
    class: "movement",
    at: (_index, _read, { attrs }) => convertTo(sizeOf(attrs.dim), attrs.dtype),
  },
});

/** The value of a size, as a tensor without axes. */
export function dimension(b: GraphBuilder, dim: Dim, dtype: PositionDType): Tensor {
  return b.apply(dimensionOp, [], { dim, dtype })[0]!;
}

/** `read` at `position` of an axis of this size, 0 if there is no such element. */
function guarded(position: Expr, size: Dim, dtype: DType, element: Expr): Expr {
  const inside = apply(
    "and",
    apply("ge", position, integer(0)),
    apply("lt", position, sizeOf(size)),
  );
  return selectExpr(inside, element, literal(0, scalarType(dtype)));
}

/** `axis` of x is replaced by the axes of the indices. */
export const takeOp: OpDefinition<{ axis: number }> = defineOp({
  name: "take",
  infer: (inputs, { axis }) => {
    expectInputs(inputs, 2);
    const [x, indices] = inputs;
    expectAxis(x!.shape, axis);
    expectDType(indices!, ["i32"], "the index tensor");
    return [{ dtype: x!.dtype, shape: x!.shape.toSpliced(axis, 1, ...indices!.shape) }];
  },
  vjp: ({ attrs: { axis }, inputs: [x, indices], cotangents: [ct] }) => {
    if (!ct) return [];
    const picked = indices!.shape.map((_, i) => axis + i);
    const others = ct.shape.map((_, i) => i).filter((i) => !picked.includes(i));
    const count = shapeSize(indices!.shape);
    const rows = reshape(transpose(ct, [...picked, ...others]), [
      count,
      ...others.map((i) => ct.shape[i]!),
    ]);
    const summed = scatterAdd(reshape(indices!, [count]), rows, x!.shape[axis]!);
    return [transpose(summed, moveAxis(x!.shape.length, 0, axis)), undefined];
  },
  body: {
    class: "movement",
    at: (index, read, { attrs: { axis }, inputs: [x, indices] }) => {
      const rank = indices!.shape.length;
      const position = read(1, index.slice(axis, axis + rank));
      const element = read(0, index.toSpliced(axis, rank, position));
      return guarded(position, x!.shape[axis]!, x!.dtype, element);
    },
  },
});

/** The permutation that takes axis `from` to place `to` and keeps the order of the others. */
function moveAxis(rank: number, from: number, to: number): readonly number[] {
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  axes.splice(from, 1);
  return axes.toSpliced(to, 0, from);
}

/** Elements of `x` along `axis` at `indices` (i32, any shape), whose axes take its place; 0 outside. */
export function take(x: Tensor, indices: Tensor, axis: number): Tensor {
  return applyOne(takeOp, [x, indices], { axis });
}

/** The indices have the shape of the output; all axes but one are those of x. */
export const takeAlongAxisOp: OpDefinition<{ axis: number }> = defineOp({
  name: "take_along_axis",
  infer: (inputs, { axis }) => {
    expectInputs(inputs, 2);
    const [x, indices] = inputs;
    expectAxis(x!.shape, axis);
    expectDType(indices!, ["i32"], "the index tensor");
    if (!fitsAlongAxis(indices!.shape, x!.shape, axis))
      throw new ShapeError({
        what: `indices ${formatType(indices!)} and ${formatType(x!)} differ in other axes than ${axis}`,
        hint: "Broadcast the indices first.",
      });
    return [{ dtype: x!.dtype, shape: indices!.shape }];
  },
  vjp: ({ attrs: { axis }, inputs: [x, indices], cotangents: [ct] }) => [
    ct && putAlongAxis(ct, indices!, axis, x!.shape[axis]!),
    undefined,
  ],
  body: {
    class: "movement",
    at: (index, read, { attrs: { axis }, inputs: [x] }) => {
      const position = read(1, index);
      const element = read(0, index.with(axis, position));
      return guarded(position, x!.shape[axis]!, x!.dtype, element);
    },
  },
});

const fitsAlongAxis = (a: Shape, b: Shape, axis: number): boolean =>
  a.length === b.length && shapesEqual(a.with(axis, 1), b.with(axis, 1));

/** Element [.., i, ..] is that of `x` at [.., indices[.., i, ..], ..]; 0 outside. */
export function takeAlongAxis(x: Tensor, indices: Tensor, axis: number): Tensor {
  return applyOne(takeAlongAxisOp, [x, indices], { axis });
}

/** Few picks are found by comparing, which parallelizes; many by one pass of `scatterAdd`. */
const mostCompared = 16;

/**
 * The other way round: [.., j, ..] of the result is the sum of the elements i of `x` with indices[.., i, ..] = j, for
 * `size` values of j.
 */
export function putAlongAxis(x: Tensor, indices: Tensor, axis: number, size: Dim): Tensor {
  const b = x.builder;
  expectAxis(x.shape, axis);
  const picks = x.shape[axis]!;
  if (typeof picks === "number" && picks <= mostCompared) {
    // Axes as in x, with the new one after the picks, which are then summed away.
    const shape = x.shape.toSpliced(axis + 1, 0, size);
    const kept = x.shape.map((_, i) => (i > axis ? i + 1 : i));
    const hit = eq(broadcastTo(indices, shape, kept), iota(b, "i32", shape, axis + 1));
    return sum(select(hit, broadcastTo(x, shape, kept), 0), [axis]);
  }
  const rank = x.shape.length;
  const toLast = moveAxis(rank, axis, rank - 1);
  const last = transpose(indices, toLast);
  const rows = shapeSize(last.shape.slice(0, -1));
  const flat = reshape(last, [rows, picks]);
  const row = mul(iota(b, "i32", flat.shape, 0), dimension(b, size, "i32"));
  const inside = bitAnd(ge(flat, 0), lt(flat, dimension(b, size, "i32")));
  const target = select(inside, add(row, flat), -1);
  const count = multiplyDims(rows, picks);
  const summed = scatterAdd(
    reshape(target, [count]),
    reshape(transpose(x, toLast), [count]),
    multiplyDims(rows, size),
  );
  const shaped = reshape(summed, [...last.shape.slice(0, -1), size]);
  return transpose(shaped, moveAxis(rank, rank - 1, axis));
}

/** 1 at the index and 0 elsewhere along a new last axis. */
export function oneHot(indices: Tensor, size: Dim, dtype: DType): Tensor {
  const shape = [...indices.shape, size];
  const axes = indices.shape.map((_, i) => i);
  const position = iota(indices.builder, "i32", shape, indices.shape.length);
  return convert(eq(broadcastTo(indices, shape, axes), position), dtype);
}

/** Row j is the sum of the updates whose index is j, added in their order. */
export const scatterAddOp: OpDefinition<{ size: Dim }> = defineOp({
  name: "scatter_add",
  infer: (inputs, { size }) => {
    expectInputs(inputs, 2);
    const [indices, updates] = inputs;
    expectDType(indices!, ["i32"], "the index tensor");
    if (!isFloat(updates!.dtype) && updates!.dtype !== "i32" && updates!.dtype !== "u32")
      throw new DTypeError({
        what: `does not add ${formatType(updates!)}`,
        hint: "Convert the updates to f32 or i32.",
      });
    if (indices!.shape.length !== 1 || !shapesEqual(indices!.shape, updates!.shape.slice(0, 1)))
      throw new ShapeError({
        what: `indices ${formatType(indices!)} do not number the rows of ${formatType(updates!)}`,
        hint: "Give one index for each row of the updates.",
      });
    if (minDim(size) < 0)
      throw new ShapeError({
        what: `size ${formatShape([size])} may be negative`,
        hint: "Raise the lower bounds of its sizes.",
      });
    return [{ dtype: updates!.dtype, shape: updates!.shape.with(0, size) }];
  },
  vjp: ({ inputs: [indices], cotangents: [ct] }) => [undefined, ct && take(ct, indices!, 0)],
  body: { class: "primitive", primitive: "scatter_add" },
});

/** Rows of `updates` [N, …] summed by index (i32 [N]) into [size, …], in f32; indices outside are dropped. */
export function scatterAdd(indices: Tensor, updates: Tensor, size: Dim): Tensor {
  return applyOne(scatterAddOp, [indices, updates], { size });
}

/** `size` elements of an axis from a computed `start` (i32, no axes) on; 0 outside. */
export function dynamicSlice(x: Tensor, start: Tensor, size: Dim, axis: number): Tensor {
  return take(x, add(iota(x.builder, "i32", [size], 0), start), axis);
}
