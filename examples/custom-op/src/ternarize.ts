/**
 * A composite op of one's own with its own derivative: rounds weights to -1, 0 or 1 times their mean magnitude, and lets the
 * gradient straight through, since rounding has none. In: f32 [N, K]. Out: the same shape, three values.
 */
import type { OpDefinition, Tensor } from "@millrace/graph";
import {
  abs,
  add,
  applyOne,
  defineOp,
  div,
  expectDType,
  expectInputs,
  maximum,
  mean,
  minimum,
  mul,
  round,
} from "@millrace/graph";

export const ternarizeOp: OpDefinition<Record<string, never>> = defineOp({
  name: "example.ternarize",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    expectDType(inputs[0]!, ["f32"], "the weight");
    return [inputs[0]!];
  },
  vjp: ({ cotangents: [ct] }) => [ct],
  body: {
    class: "composite",
    decompose: ([w]) => {
      const scale = add(mean(abs(w!)), 1e-6);
      const steps = minimum(maximum(round(div(w!, scale)), -1), 1);
      return [mul(steps, scale)];
    },
  },
});

export function ternarize(w: Tensor): Tensor {
  return applyOne(ternarizeOp, [w], {});
}
