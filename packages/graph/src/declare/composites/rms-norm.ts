/**
 * Root mean square normalisation of the last axis: x / sqrt(mean(x²) + eps) · w. In: x [..., D] and w [D], floats of any
 * width. Out: x's type; computed in f32. Its own derivative keeps x and w only: the root is one number per row and
 * cheap to compute again. Source: arXiv 1910.07467.
 */
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import { dimsEqual, formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectInputs } from "../define-op.ts";
import { broadcastTo, sum } from "../ops/broadcast.ts";
import { add, convert, div, mul, sqrt, sub } from "../ops/elementwise.ts";
import { mean } from "../ops/reduce.ts";

const leading = (x: Tensor): number[] => x.shape.slice(0, -1).map((_, axis) => axis);

/** One number per row, repeated along the row. */
const perRow = (value: Tensor, x: Tensor): Tensor => broadcastTo(value, x.shape, leading(x));

/** 1 / sqrt(mean(x²) + eps), repeated to x's shape. */
function inverseRoot(x: Tensor, eps: number): Tensor {
  const meanSquare = mean(mul(x, x), [x.shape.length - 1]);
  return perRow(div(1, sqrt(add(meanSquare, eps))), x);
}

export const rmsNormOp: OpDefinition<{ eps: number }> = defineOp({
  name: "rms_norm",
  infer: (inputs) => {
    expectInputs(inputs, 2);
    const [x, w] = inputs;
    if (!isFloat(x!.dtype) || !isFloat(w!.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(x!)} and ${formatType(w!)}`,
        hint: "Convert them to float dtypes.",
      });
    if (x!.shape.length < 1 || w!.shape.length !== 1 || !dimsEqual(w!.shape[0]!, x!.shape.at(-1)!))
      throw new ShapeError({
        what: `x is ${formatType(x!)} and the weight ${formatType(w!)}`,
        hint: "Give one weight for each element of x's last axis.",
      });
    return [x!];
  },
  vjp: ({ attrs: { eps }, inputs: [xIn, wIn], cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined];
    const [x, w, dy] = [convert(xIn!, "f32"), convert(wIn!, "f32"), convert(ct, "f32")];
    const inverse = inverseRoot(x, eps);
    const normal = mul(x, inverse);
    const scaled = mul(dy, w);
    const along = perRow(mean(mul(scaled, normal), [x.shape.length - 1]), x);
    const dx = mul(inverse, sub(scaled, mul(normal, along)));
    const dw = sum(mul(dy, normal), leading(x));
    return [convert(dx, xIn!.dtype), convert(dw, wIn!.dtype)];
  },
  body: {
    class: "composite",
    decompose: ([xIn, w], { eps }) => {
      const x = convert(xIn!, "f32");
      const y = mul(mul(x, inverseRoot(x, eps)), convert(w!, "f32"));
      return [convert(y, xIn!.dtype)];
    },
  },
});

/** Normalises the last axis of `x` [..., D] by its root mean square and scales it by `w` [D]. */
export function rmsNorm(x: Tensor, w: Tensor, eps = 1e-6): Tensor {
  return applyOne(rmsNormOp, [x, w], { eps });
}
