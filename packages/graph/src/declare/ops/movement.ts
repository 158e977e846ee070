/**
 * Movement ops: every output element is one input element, or none. In: tensors and an index map. Out: the same values
 * elsewhere. Fused into a reader they cost nothing but their index map. Broadcast is in `broadcast.ts`, reads at
 * computed positions in `gather.ts`.
 */
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, integer, literal, scalarType, select, sizeOf } from "../../expression.ts";
import { roundFloat } from "../../float-formats.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, Shape } from "../../shape.ts";
import {
  addDims,
  dimsEqual,
  formatShape,
  formatType,
  minDim,
  multiplyDims,
  shapeSize,
  shapesEqual,
  subtractDims,
} from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectInputs } from "../define-op.ts";

/** The same elements in row-major order under another shape. */
export const reshapeOp: OpDefinition<{ shape: Shape }> = defineOp({
  name: "reshape",
  infer: (inputs, { shape }) => {
    expectInputs(inputs, 1);
    if (!dimsEqual(shapeSize(inputs[0]!.shape), shapeSize(shape)))
      throw new ShapeError({
        what: `${formatType(inputs[0]!)} does not have as many elements as ${formatShape(shape)}`,
        hint: "The products of the sizes must be equal.",
      });
    return [{ dtype: inputs[0]!.dtype, shape }];
  },
  vjp: ({ inputs: [x], cotangents: [ct] }) => [ct && reshape(ct, x!.shape)],
  body: {
    class: "movement",
    alias: true,
    at: (index, read, { inputs: [input], output }) =>
      read(0, reshapeIndex(index, output.shape, input!.shape)),
  },
});

export function reshape(x: Tensor, shape: Shape): Tensor {
  return shapesEqual(x.shape, shape) ? x : applyOne(reshapeOp, [x], { shape });
}

/**
 * Index into `to` of the element at `index` of `from`. Axes whose products agree are mapped among themselves, so that
 * [B, T, D] to [B*T, D] divides only by T.
 */
function reshapeIndex(index: readonly Expr[], from: Shape, to: Shape): Expr[] {
  const result: Expr[] = to.map(() => integer(0));
  let f = from.length;
  let t = to.length;
  while (f > 0 || t > 0) {
    const fEnd = f;
    const tEnd = t;
    let fSize: Dim = 1;
    let tSize: Dim = 1;
    if (f > 0) fSize = from[--f]!;
    if (t > 0) tSize = to[--t]!;
    while (!dimsEqual(fSize, tSize) && (f > 0 || t > 0)) {
      const growFrom = f > 0 && (t === 0 || minDim(subtractDims(tSize, fSize)) >= 0);
      if (growFrom || t === 0) fSize = multiplyDims(from[--f]!, fSize);
      else tSize = multiplyDims(to[--t]!, tSize);
    }
    let linear: Expr = integer(0);
    for (let i = f; i < fEnd; i++)
      linear = apply("add", apply("mul", linear, sizeOf(from[i]!)), index[i]!);
    for (let i = tEnd - 1; i > t; i--) {
      result[i] = apply("rem", linear, sizeOf(to[i]!));
      linear = apply("div", linear, sizeOf(to[i]!));
    }
    if (t < tEnd) result[t] = linear;
  }
  return result;
}

/** Output axis i is input axis `permutation[i]`. */
export const transposeOp: OpDefinition<{ permutation: readonly number[] }> = defineOp({
  name: "transpose",
  infer: (inputs, { permutation }) => {
    expectInputs(inputs, 1);
    const { dtype, shape } = inputs[0]!;
    permutation.forEach((axis) => expectAxis(shape, axis));
    if (permutation.length !== shape.length || new Set(permutation).size !== shape.length)
      throw new AttributeError({
        what: `[${permutation.join(", ")}] does not permute ${shape.length} axes`,
        hint: "Name every axis once.",
      });
    return [{ dtype, shape: permutation.map((axis) => shape[axis]!) }];
  },
  vjp: ({ attrs: { permutation }, cotangents: [ct] }) => [
    ct &&
      transpose(
        ct,
        permutation.map((_, axis) => permutation.indexOf(axis)),
      ),
  ],
  body: {
    class: "movement",
    at: (index, read, { attrs: { permutation } }) =>
      read(
        0,
        permutation.map((_, axis) => index[permutation.indexOf(axis)]!),
      ),
  },
});

/** Reorders axes; without a permutation the last two are exchanged. */
export function transpose(x: Tensor, permutation?: readonly number[]): Tensor {
  const rank = x.shape.length;
  const exchanged = x.shape.map((_, i) =>
    i < rank - 2 ? i : i === rank - 2 ? rank - 1 : rank - 2,
  );
  const order = permutation ?? exchanged;
  return order.every((axis, i) => axis === i) && order.length === rank
    ? x
    : applyOne(transposeOp, [x], { permutation: order });
}

/** Elements `start`, `start + step`, … of one axis, `size` of them. */
export const sliceOp: OpDefinition<{ axis: number; start: Dim; size: Dim; step: number }> =
  defineOp({
    name: "slice",
    infer: (inputs, { axis, start, size, step }) => {
      expectInputs(inputs, 1);
      const { dtype, shape } = inputs[0]!;
      expectAxis(shape, axis);
      const last = addDims(start, multiplyDims(subtractDims(size, 1), step));
      const room = subtractDims(subtractDims(shape[axis]!, last), 1);
      if (
        !Number.isInteger(step) ||
        step < 1 ||
        minDim(start) < 0 ||
        minDim(size) < 0 ||
        (size !== 0 && minDim(room) < 0)
      )
        throw new ShapeError({
          what: `elements ${formatShape([start])} + ${step} * i for i < ${formatShape([size])} are not all within axis ${axis} of ${formatType(inputs[0]!)}`,
          hint: "Keep start, size and step inside the axis for all values of its size.",
        });
      return [{ dtype, shape: shape.with(axis, size) }];
    },
    vjp: ({ attrs: { axis, start, step }, inputs: [x], cotangents: [ct] }) => {
      if (!ct) return [undefined];
      const spread = step === 1 ? ct : spreadOut(ct, axis, step);
      const covered = spread.shape[axis]!;
      const high = subtractDims(subtractDims(x!.shape[axis]!, start), covered);
      return [
        minDim(high) >= 0
          ? pad(spread, axis, start, high)
          : pad(slice(spread, axis, 0, subtractDims(x!.shape[axis]!, start)), axis, start, 0),
      ];
    },
    body: {
      class: "movement",
      at: (index, read, { attrs: { axis, start, step } }) => {
        const stepped = step === 1 ? index[axis]! : apply("mul", index[axis]!, integer(step));
        return read(0, index.with(axis, apply("add", stepped, sizeOf(start))));
      },
    },
  });

/** `size` elements of one axis from `start` on, every `step`-th. */
export function slice(x: Tensor, axis: number, start: Dim, size: Dim, step = 1): Tensor {
  if (step === 1 && start === 0 && x.shape[axis] && dimsEqual(size, x.shape[axis])) return x;
  return applyOne(sliceOp, [x], { axis, start, size, step });
}

/** Puts `step - 1` zeros after every element of an axis: the derivative of a slice with a step. */
function spreadOut(x: Tensor, axis: number, step: number): Tensor {
  const size = x.shape[axis]!;
  const split = x.shape.toSpliced(axis, 1, size, 1);
  const padded = pad(reshape(x, split), axis + 1, 0, step - 1);
  return reshape(padded, x.shape.with(axis, multiplyDims(size, step)));
}

/** Adds `low` and `high` elements of `value` around one axis. */
export const padOp: OpDefinition<{ axis: number; low: Dim; high: Dim; value: number }> = defineOp({
  name: "pad",
  infer: (inputs, { axis, low, high }) => {
    expectInputs(inputs, 1);
    const { dtype, shape } = inputs[0]!;
    expectAxis(shape, axis);
    if (minDim(low) < 0 || minDim(high) < 0)
      throw new ShapeError({
        what: `padding ${formatShape([low, high])} may be negative`,
        hint: "Use slice to remove elements.",
      });
    return [{ dtype, shape: shape.with(axis, addDims(addDims(shape[axis]!, low), high)) }];
  },
  vjp: ({ attrs: { axis, low }, inputs: [x], cotangents: [ct] }) => [
    ct && slice(ct, axis, low, x!.shape[axis]!),
  ],
  body: {
    class: "movement",
    at: (index, read, { attrs: { axis, low, high, value }, inputs: [input] }) => {
      const at = apply("sub", index[axis]!, sizeOf(low));
      const { dtype } = input!;
      // A reader that this is fused into computes with what a buffer would have held.
      const fill = literal(isFloat(dtype) ? roundFloat(dtype, value) : value, scalarType(dtype));
      let inside = read(0, index.with(axis, at));
      if (high !== 0) inside = select(apply("lt", at, sizeOf(input!.shape[axis]!)), inside, fill);
      if (low !== 0) inside = select(apply("ge", index[axis]!, sizeOf(low)), inside, fill);
      return inside;
    },
  },
});

/** Pads one axis with a value, by default zeros. */
export function pad(x: Tensor, axis: number, low: Dim, high: Dim, value = 0): Tensor {
  return low === 0 && high === 0 ? x : applyOne(padOp, [x], { axis, low, high, value });
}

/** Inputs one after the other along one axis. */
export const concatenateOp: OpDefinition<{ axis: number }> = defineOp({
  name: "concatenate",
  infer: (inputs, { axis }) => {
    const first = inputs[0];
    if (!first) throw new ShapeError({ what: "takes at least one input" });
    expectAxis(first.shape, axis);
    let total: Dim = 0;
    for (const { dtype, shape } of inputs) {
      if (dtype !== first.dtype)
        throw new DTypeError({
          what: `inputs are ${first.dtype} and ${dtype}`,
          hint: "Convert them to one dtype.",
        });
      const size = shape[axis];
      if (size === undefined || !shapesEqual(shape.with(axis, 1), first.shape.with(axis, 1)))
        throw new ShapeError({
          what: `${inputs.map(formatType).join(" and ")} differ in other axes than ${axis}`,
          hint: "Only the concatenated axis may differ.",
        });
      total = addDims(total, size);
    }
    return [{ dtype: first.dtype, shape: first.shape.with(axis, total) }];
  },
  vjp: ({ attrs: { axis }, inputs, cotangents: [ct] }) => {
    let start: Dim = 0;
    return inputs.map((x) => {
      const from = start;
      start = addDims(start, x.shape[axis]!);
      return ct && slice(ct, axis, from, x.shape[axis]!);
    });
  },
  body: {
    class: "movement",
    at: (index, read, { attrs: { axis }, inputs }) => {
      const starts: Dim[] = [];
      let start: Dim = 0;
      for (const { shape } of inputs) {
        starts.push(start);
        start = addDims(start, shape[axis]!);
      }
      const part = (i: number): Expr =>
        read(i, index.with(axis, apply("sub", index[axis]!, sizeOf(starts[i]!))));
      let result = part(inputs.length - 1);
      for (let i = inputs.length - 2; i >= 0; i--)
        result = select(apply("lt", index[axis]!, sizeOf(starts[i + 1]!)), part(i), result);
      return result;
    },
  },
});

export function concatenate(tensors: readonly Tensor[], axis: number): Tensor {
  return tensors.length === 1 ? tensors[0]! : applyOne(concatenateOp, tensors, { axis });
}
