/**
 * The gated unit of the feed-forward layers: silu(gate) · up with silu(x) = x · sigmoid(x). In: floats. Out: the same
 * type; computed in f32. The derivatives read the inputs only, so the result need not be kept for the backward pass.
 * Source: arXiv 2002.05202.
 */
import { isFloat } from "../../dtype.ts";
import { DTypeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectInputs, expectSameShape } from "../define-op.ts";
import { add, convert, mul, sigmoid, sub } from "../ops/elementwise.ts";

function inferGated(inputs: readonly TensorType[], count: number): readonly TensorType[] {
  expectInputs(inputs, count);
  const first = inputs[0]!;
  for (const type of inputs) {
    expectSameShape(first, type);
    if (!isFloat(type.dtype) || type.dtype !== first.dtype)
      throw new DTypeError({
        what: `does not take ${inputs.map(formatType).join(" and ")}`,
        hint: "Convert them to one float dtype.",
      });
  }
  return [first];
}

/** Derivative of silu: s · (1 + x · (1 − s)) with s = sigmoid(x). */
const siluSlope = (x: Tensor, s: Tensor): Tensor => mul(s, add(mul(x, sub(1, s)), 1));

export const siluOp: OpDefinition<Record<string, never>> = defineOp({
  name: "silu",
  infer: (inputs) => inferGated(inputs, 1),
  vjp: ({ inputs: [input], cotangents: [ct] }) => {
    if (!ct) return [undefined];
    const x = convert(input!, "f32");
    return [convert(mul(convert(ct, "f32"), siluSlope(x, sigmoid(x))), input!.dtype)];
  },
  body: {
    class: "composite",
    decompose: ([input]) => {
      const x = convert(input!, "f32");
      return [convert(mul(x, sigmoid(x)), input!.dtype)];
    },
  },
});

/** `x · sigmoid(x)`. */
export function silu(x: Tensor): Tensor {
  return applyOne(siluOp, [x], {});
}

export const swigluOp: OpDefinition<Record<string, never>> = defineOp({
  name: "swiglu",
  infer: (inputs) => inferGated(inputs, 2),
  vjp: ({ inputs: [gateIn, upIn], cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined];
    const [gate, up, dy] = [convert(gateIn!, "f32"), convert(upIn!, "f32"), convert(ct, "f32")];
    const s = sigmoid(gate);
    const dGate = mul(mul(dy, up), siluSlope(gate, s));
    const dUp = mul(dy, mul(gate, s));
    return [convert(dGate, gateIn!.dtype), convert(dUp, upIn!.dtype)];
  },
  body: {
    class: "composite",
    decompose: ([gateIn, upIn]) => {
      const gate = convert(gateIn!, "f32");
      const y = mul(mul(gate, sigmoid(gate)), convert(upIn!, "f32"));
      return [convert(y, gateIn!.dtype)];
    },
  },
});

/** `silu(gate) · up`. */
export function swiglu(gate: Tensor, up: Tensor): Tensor {
  return applyOne(swigluOp, [gate, up], {});
}
