/**
 * Reductions beside `sum`, and running sums. In: a tensor and axes. Out: the tensor without those axes, or, for running
 * sums, of the same shape. Floats accumulate in f32. Sum itself is in `broadcast.ts`, beside its derivative.
 */
import type { DType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, integer, literal, select as selectExpr } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType, minDim, multiplyDims } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectInputs } from "../define-op.ts";
import { broadcastTo, sum, withoutAxes } from "./broadcast.ts";
import { convert, div, eq, select } from "./elementwise.ts";
import { dimension } from "./gather.ts";

const ordered = (dtype: DType): boolean =>
  isFloat(dtype) || dtype === "i32" || dtype === "u32" || dtype === "u8";

function expectOrdered(type: TensorType): void {
  if (!ordered(type.dtype))
    throw new DTypeError({
      what: `does not take ${formatType(type)}`,
      hint: "Convert it to a float, i32, u32 or u8.",
    });
}

/** The value below (or above) which a dtype has none, as an expression. */
function extreme(dtype: DType, sign: -1 | 1): Expr {
  if (isFloat(dtype)) return literal(sign * Infinity);
  if (dtype === "u32") return literal(sign < 0 ? 0 : 0xffffffff, "u32");
  return integer(sign < 0 ? -0x80000000 : 0x7fffffff);
}

const allAxes = (x: Tensor): readonly number[] => x.shape.map((_, axis) => axis);

/** NaN if there is one. Equal extremes share the cotangent evenly. */
function extremeOp(
  name: "reduce_max" | "reduce_min",
  combine: "max" | "min",
): OpDefinition<{ axes: readonly number[] }> {
  return defineOp({
    name,
    infer: (inputs, { axes }) => {
      expectInputs(inputs, 1);
      expectOrdered(inputs[0]!);
      return [{ dtype: inputs[0]!.dtype, shape: withoutAxes(inputs[0]!, axes) }];
    },
    vjp: ({ attrs: { axes }, inputs: [x], outputs: [y], cotangents: [ct] }) => {
      if (!ct) return [undefined];
      const kept = allAxes(x!).filter((axis) => !axes.includes(axis));
      const reached = eq(x!, broadcastTo(y!, x!.shape, kept));
      const count = convert(sum(convert(reached, "f32"), axes), ct.dtype);
      return [select(reached, broadcastTo(div(ct, count), x!.shape, kept), 0)];
    },
    body: {
      class: "reduction",
      axes: ({ attrs }) => attrs.axes,
      identity: ({ inputs }) => [extreme(inputs[0]!.dtype, combine === "max" ? -1 : 1)],
      lift: (value) => [value],
      combine: ([a], [b]) => [apply(combine, a!, b!)],
      finish: ([result]) => result!,
    },
  });
}

export const reduceMaxOp: OpDefinition<{ axes: readonly number[] }> = extremeOp(
  "reduce_max",
  "max",
);
export const reduceMinOp: OpDefinition<{ axes: readonly number[] }> = extremeOp(
  "reduce_min",
  "min",
);

/** Largest element over ascending `axes`, by default all; of no elements, the smallest value there is. */
export function max(x: Tensor, axes: readonly number[] = allAxes(x)): Tensor {
  return axes.length === 0 ? x : applyOne(reduceMaxOp, [x], { axes });
}

/** Smallest element over ascending `axes`, by default all; of no elements, the largest value there is. */
export function min(x: Tensor, axes: readonly number[] = allAxes(x)): Tensor {
  return axes.length === 0 ? x : applyOne(reduceMinOp, [x], { axes });
}

/** Position of the largest element of an axis; of equal ones the lowest. NaN counts as minus infinity. */
export const argmaxOp: OpDefinition<{ axis: number }> = defineOp({
  name: "argmax",
  infer: (inputs, { axis }) => {
    expectInputs(inputs, 1);
    expectOrdered(inputs[0]!);
    expectAxis(inputs[0]!.shape, axis);
    if (minDim(inputs[0]!.shape[axis]!) < 1)
      throw new ShapeError({
        what: `axis ${axis} of ${formatType(inputs[0]!)} may be empty`,
        hint: "Raise the lower bound of its size to 1.",
      });
    return [{ dtype: "i32", shape: withoutAxes(inputs[0]!, [axis]) }];
  },
  vjp: "none",
  body: {
    class: "reduction",
    axes: ({ attrs }) => [attrs.axis],
    identity: ({ inputs }) => [extreme(inputs[0]!.dtype, -1), integer(0x7fffffff)],
    lift: (value, position, { inputs }) => {
      const { dtype } = inputs[0]!;
      if (!isFloat(dtype)) return [value, position];
      return [selectExpr(apply("ne", value, value), extreme(dtype, -1), value), position];
    },
    // Spelled out for either order of the two, so that it holds for a grouping that interleaves lanes too.
    combine: ([a, i], [b, j]) => {
      const second = apply(
        "or",
        apply("gt", b!, a!),
        apply("and", apply("eq", b!, a!), apply("lt", j!, i!)),
      );
      return [selectExpr(second, b!, a!), selectExpr(second, j!, i!)];
    },
    finish: ([, position]) => position!,
  },
});

/** Position of the largest element along `axis`, as i32. */
export function argmax(x: Tensor, axis: number): Tensor {
  return applyOne(argmaxOp, [x], { axis });
}

/** Mean over ascending `axes`, by default all; computed in f32, in the dtype of `x`. */
export function mean(x: Tensor, axes: readonly number[] = allAxes(x)): Tensor {
  if (axes.length === 0) return x;
  const total = sum(convert(x, "f32"), axes);
  const count = axes.map((axis) => x.shape[axis]!).reduce(multiplyDims, 1);
  const result =
    typeof count === "number" ? div(total, count) : div(total, dimension(x.builder, count, "f32"));
  return convert(result, x.dtype);
}

type CumulativeSumAttrs = { axis: number; exclusive: boolean; reverse: boolean };

/** Element i is the sum of elements 0 to i of the axis. Attributes as in `cumulativeSum`. */
export const cumulativeSumOp: OpDefinition<CumulativeSumAttrs> = defineOp({
  name: "cumulative_sum",
  infer: (inputs, { axis }) => {
    expectInputs(inputs, 1);
    const { dtype, shape } = inputs[0]!;
    if (!isFloat(dtype) && dtype !== "i32" && dtype !== "u32")
      throw new DTypeError({
        what: `does not take ${formatType(inputs[0]!)}`,
        hint: "Convert it to f32 or i32.",
      });
    expectAxis(shape, axis);
    return [{ dtype, shape }];
  },
  vjp: ({ attrs: { axis, exclusive, reverse }, cotangents: [ct] }) => [
    ct && cumulativeSum(ct, axis, { exclusive, reverse: !reverse }),
  ],
  body: { class: "primitive", primitive: "cumulative_sum" },
});

/** Running sums along `axis`; `exclusive` leaves out the element itself, `reverse` starts at the end. */
export function cumulativeSum(
  x: Tensor,
  axis: number,
  options: { readonly exclusive?: boolean; readonly reverse?: boolean } = {},
): Tensor {
  const { exclusive = false, reverse = false } = options;
  return applyOne(cumulativeSumOp, [x], { axis, exclusive, reverse });
}
