/**
 * Products with operands rounded to bf16: the baseline that FP8 training is compared with. In: x and master weights, f32
 * as a rule. Out: x's dtype, accumulated in f32. Their own derivatives round the operands of the backward products too
 * and nothing else: the derived ones would round the weights' gradient to bf16.
 */
import type { FloatDType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import { dimsEqual, formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral, expectOffsets, linear, raggedDot, raggedOuter } from "../ops/contract.ts";
import { convert } from "../ops/elementwise.ts";
import { transpose } from "../ops/movement.ts";

const narrow = (x: Tensor): Tensor => convert(x, "bf16");
const floatOf = (x: Tensor): FloatDType => x.dtype as FloatDType;

export const bf16LinearOp: OpDefinition<Record<string, never>> = defineOp({
  name: "bf16_linear",
  infer: (inputs) => {
    expectInputs(inputs, 2);
    const [x, w] = inputs;
    if (!isFloat(x!.dtype) || !isFloat(w!.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(x!)} and ${formatType(w!)}`,
        hint: "Convert them to float dtypes.",
      });
    if (x!.shape.length < 1 || w!.shape.length !== 2 || !dimsEqual(x!.shape.at(-1)!, w!.shape[1]!))
      throw new ShapeError({
        what: `x ${formatType(x!)} does not fit weights ${formatType(w!)}`,
        hint: "Give x [..., K] and w [N, K].",
      });
    return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), w!.shape[0]!] }];
  },
  vjp: ({ inputs: [x, w], cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined];
    const dy = narrow(ct);
    const last = x!.shape.length - 1;
    const rows = Array.from({ length: last }, (_, axis) => axis);
    return [
      dotGeneral(dy, narrow(w!), { lhsContract: [last], rhsContract: [0], dtype: floatOf(x!) }),
      dotGeneral(dy, narrow(x!), { lhsContract: rows, rhsContract: rows, dtype: floatOf(w!) }),
    ];
  },
  body: {
    class: "composite",
    decompose: ([x, w]) => [linear(narrow(x!), narrow(w!), floatOf(x!))],
  },
});

/** x [..., K] times the rows of w [N, K], both rounded to bf16. */
export function bf16Linear(x: Tensor, w: Tensor): Tensor {
  return applyOne(bf16LinearOp, [x, w], {});
}

export const bf16RaggedDotOp: OpDefinition<Record<string, never>> = defineOp({
  name: "bf16_ragged_dot",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const [x, w, offsets] = inputs;
    if (!isFloat(x!.dtype) || !isFloat(w!.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(x!)} and ${formatType(w!)}`,
        hint: "Convert them to float dtypes.",
      });
    if (x!.shape.length !== 2 || w!.shape.length !== 3 || !dimsEqual(x!.shape[1]!, w!.shape[2]!))
      throw new ShapeError({
        what: `x ${formatType(x!)} does not fit weights ${formatType(w!)}`,
        hint: "Give x [R, K] and w [E, N, K].",
      });
    expectOffsets(offsets!, w!.shape[0]!);
    return [{ dtype: x!.dtype, shape: [x!.shape[0]!, w!.shape[1]!] }];
  },
  vjp: ({ inputs: [x, w, offsets], cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined, undefined];
    const dy = narrow(ct);
    return [
      raggedDot(dy, transpose(narrow(w!)), offsets!, floatOf(x!)),
      raggedOuter(dy, narrow(x!), offsets!, floatOf(w!)),
      undefined,
    ];
  },
  body: {
    class: "composite",
    decompose: ([x, w, offsets]) => [raggedDot(narrow(x!), narrow(w!), offsets!, floatOf(x!))],
  },
});

/** Rows offsets[e] to offsets[e+1] of x [R, K] times the rows of w[e], w [E, N, K]; operands rounded to bf16. */
export function bf16RaggedDot(x: Tensor, w: Tensor, offsets: Tensor): Tensor {
  return applyOne(bf16RaggedDotOp, [x, w, offsets], {});
}
