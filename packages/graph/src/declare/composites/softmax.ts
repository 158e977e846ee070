/**
 * Softmax and its logarithm along one axis. In: floats of any width. Out: the input's dtype; everything between is f32.
 * The maximum is subtracted first, so no exponential overflows. Each has its own derivative, which needs the result
 * only and not the exponentials. A slice of minus infinities gives NaN, as in every library.
 */
import { isFloat } from "../../dtype.ts";
import { DTypeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectInputs } from "../define-op.ts";
import { broadcastTo, sum } from "../ops/broadcast.ts";
import { convert, div, exp, log, mul, sub } from "../ops/elementwise.ts";
import { max } from "../ops/reduce.ts";

function inferSoftmax(inputs: readonly TensorType[], axis: number): readonly TensorType[] {
  expectInputs(inputs, 1);
  const x = inputs[0]!;
  if (!isFloat(x.dtype))
    throw new DTypeError({
      what: `does not take ${formatType(x)}`,
      hint: "Convert it to a float dtype.",
    });
  expectAxis(x.shape, axis);
  return [x];
}

/** Repeats a tensor that lost `axis` along it again. */
function along(total: Tensor, like: Tensor, axis: number): Tensor {
  const kept = like.shape.map((_, i) => i).filter((i) => i !== axis);
  return broadcastTo(total, like.shape, kept);
}

/** `x` less its maximum along the axis, in f32. */
function shifted(x: Tensor, axis: number): Tensor {
  const wide = convert(x, "f32");
  return sub(wide, along(max(wide, [axis]), wide, axis));
}

export const softmaxOp: OpDefinition<{ axis: number }> = defineOp({
  name: "softmax",
  infer: (inputs, { axis }) => inferSoftmax(inputs, axis),
  vjp: ({ attrs: { axis }, outputs: [result], cotangents: [ct] }) => {
    if (!ct) return [undefined];
    const y = convert(result!, "f32");
    const dy = convert(ct, "f32");
    const dx = mul(y, sub(dy, along(sum(mul(dy, y), [axis]), y, axis)));
    return [convert(dx, result!.dtype)];
  },
  body: {
    class: "composite",
    decompose: ([x], { axis }) => {
      const exponentials = exp(shifted(x!, axis));
      const total = along(sum(exponentials, [axis]), x!, axis);
      return [convert(div(exponentials, total), x!.dtype)];
    },
  },
});

/** Exponentials divided by their sum along `axis`, by default the last. */
export function softmax(x: Tensor, axis: number = x.shape.length - 1): Tensor {
  return applyOne(softmaxOp, [x], { axis });
}

export const logSoftmaxOp: OpDefinition<{ axis: number }> = defineOp({
  name: "log_softmax",
  infer: (inputs, { axis }) => inferSoftmax(inputs, axis),
  vjp: ({ attrs: { axis }, outputs: [result], cotangents: [ct] }) => {
    if (!ct) return [undefined];
    const y = convert(result!, "f32");
    const dy = convert(ct, "f32");
    const dx = sub(dy, mul(exp(y), along(sum(dy, [axis]), y, axis)));
    return [convert(dx, result!.dtype)];
  },
  body: {
    class: "composite",
    decompose: ([x], { axis }) => {
      const z = shifted(x!, axis);
      const total = along(log(sum(exp(z), [axis])), x!, axis);
      return [convert(sub(z, total), x!.dtype)];
    },
  },
});

/** Logarithm of the softmax along `axis`, by default the last; exact where the softmax rounds to 0. */
export function logSoftmax(x: Tensor, axis: number = x.shape.length - 1): Tensor {
  return applyOne(logSoftmaxOp, [x], { axis });
}
