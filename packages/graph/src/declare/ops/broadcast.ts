/**
 * Broadcast and sum: each is the other's derivative, so they share a file. In: a tensor and a shape, or axes. Out: repeated
 * elements, or their f32-accumulated total.
 */
import type { DType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import { apply, integer, literal, scalarType } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, Shape, TensorType } from "../../shape.ts";
import { dimsEqual, formatShape, formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectInputs } from "../define-op.ts";

/** `axes[i]` is the output axis of input axis i; an input axis of size 1 is repeated. */
export const broadcastOp: OpDefinition<{ shape: Shape; axes: readonly number[] }> = defineOp({
  name: "broadcast",
  infer: (inputs, { shape, axes }) => {
    expectInputs(inputs, 1);
    const input = inputs[0]!;
    axes.forEach((axis, i) => {
      expectAxis(shape, axis);
      if (i > 0 && axis <= axes[i - 1]!)
        throw new ShapeError({ what: `axes [${axes.join(", ")}] do not ascend` });
      const from = input.shape[i];
      if (from === undefined || (from !== 1 && !dimsEqual(from, shape[axis]!)))
        throw new ShapeError({
          what: `${formatType(input)} does not broadcast to ${formatShape(shape)} along axes [${axes.join(", ")}]`,
          hint: "Sizes must be equal or 1.",
        });
    });
    if (axes.length !== input.shape.length)
      throw new ShapeError({
        what: `${axes.length} axes for a tensor of ${input.shape.length}`,
        hint: "Name one output axis for each input axis.",
      });
    return [{ dtype: input.dtype, shape }];
  },
  vjp: ({ attrs: { shape, axes }, inputs: [x], cotangents: [ct] }) => {
    if (!ct) return [undefined];
    const repeated = (axis: number): boolean => {
      const from = axes.indexOf(axis);
      return from < 0 || (x!.shape[from] === 1 && shape[axis] !== 1);
    };
    const over = shape.map((_, axis) => axis).filter(repeated);
    const total = over.length > 0 ? sum(ct, over) : ct;
    const restored = axes.flatMap((axis, i) => (over.includes(axis) ? [] : [i]));
    return [broadcastTo(total, x!.shape, restored)];
  },
  body: {
    class: "movement",
    at: (index, read, { attrs: { axes }, inputs: [input] }) =>
      read(
        0,
        axes.map((axis, i) => (input!.shape[i] === 1 ? integer(0) : index[axis]!)),
      ),
  },
});

/** Repeats `x` to `shape`; `axes[i]` (by default the last ones) is the output axis of input axis i. */
export function broadcastTo(x: Tensor, shape: Shape, axes?: readonly number[]): Tensor {
  if (shapesEqual(x.shape, shape)) return x;
  const skipped = shape.length - x.shape.length;
  return applyOne(broadcastOp, [x], { shape, axes: axes ?? x.shape.map((_, i) => skipped + i) });
}

/** Broadcasts tensors against each other, aligned at their last axes, as NumPy does. */
export function broadcastTogether(tensors: readonly Tensor[]): readonly Tensor[] {
  const rank = Math.max(...tensors.map((t) => t.shape.length));
  const shape = Array.from({ length: rank }, (_, axis): Dim => {
    const sizes = tensors.flatMap((t) => t.shape[axis - rank + t.shape.length] ?? []);
    const wide = sizes.find((dim) => dim !== 1) ?? 1;
    const misfit = sizes.find((dim) => dim !== 1 && !dimsEqual(dim, wide));
    if (misfit !== undefined)
      throw new ShapeError({
        what: `${tensors.map((t) => formatType(t.type)).join(" and ")} do not broadcast together`,
        where: tensors[0]!.builder.path,
        hint: "Sizes must be equal or 1, counted from the last axis.",
      });
    return wide;
  });
  return tensors.map((t) => broadcastTo(t, shape));
}

/** Shape without `axes`. */
export function withoutAxes(type: TensorType, axes: readonly number[]): Shape {
  axes.forEach((axis, i) => {
    expectAxis(type.shape, axis);
    if (i > 0 && axis <= axes[i - 1]!)
      throw new ShapeError({ what: `axes [${axes.join(", ")}] do not ascend` });
  });
  return type.shape.filter((_, axis) => !axes.includes(axis));
}

const summable = (dtype: DType): boolean => isFloat(dtype) || dtype === "i32" || dtype === "u32";

/** Sums over ascending axes, which vanish. Floats accumulate in f32; an empty sum is 0. */
export const sumOp: OpDefinition<{ axes: readonly number[] }> = defineOp({
  name: "sum",
  infer: (inputs, { axes }) => {
    expectInputs(inputs, 1);
    if (!summable(inputs[0]!.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(inputs[0]!)}`,
        hint: "Convert it to f32 or i32.",
      });
    return [{ dtype: inputs[0]!.dtype, shape: withoutAxes(inputs[0]!, axes) }];
  },
  vjp: ({ attrs: { axes }, inputs: [x], cotangents: [ct] }) => {
    const kept = x!.shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
    return [ct && broadcastTo(ct, x!.shape, kept)];
  },
  body: {
    class: "reduction",
    axes: ({ attrs }) => attrs.axes,
    identity: ({ inputs }) => [literal(0, scalarType(inputs[0]!.dtype))],
    lift: (value) => [value],
    combine: ([a], [b]) => [apply("add", a!, b!)],
    finish: ([total]) => total!,
  },
});

/** Sum over `axes`, by default all. */
export function sum(x: Tensor, axes: readonly number[] = x.shape.map((_, axis) => axis)): Tensor {
  return axes.length === 0 ? x : applyOne(sumOp, [x], { axes });
}
