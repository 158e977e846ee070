/**
 * Causal attention. In: queries [B, T, H, Dk], keys [B, S, Hkv, Dk], values [B, S, Hkv, Dv]; Hkv divides H (H: multi-head,
 * 1: multi-query). Out: [B, T, H, Dv] in the queries' dtype; scores and softmax are f32. Query t stands at position
 * start + t and sees the keys up to there. Heads that share keys share one product, no key is repeated in memory.
 * The second output is the logarithm of each softmax's sum, which the backward pass needs.
 * Sources: arXiv 1706.03762, 2305.13245.
 */
import { attentionForward } from "../../lower/attention.ts";
import { forwardBlocks, isWorthwhile } from "../../lower/attention-blocks.ts";
import type { OpDefinition, WholeKernel } from "../../op.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral } from "../ops/contract.ts";
import { sum } from "../ops/broadcast.ts";
import { convert, mul, sub } from "../ops/elementwise.ts";
import { transpose } from "../ops/movement.ts";
import { attentionGradientOp } from "./attention-gradient.ts";
import {
  attentionForm,
  attentionTypes,
  attentionWidths,
  layout,
  scoresOf,
} from "./attention-layout.ts";
import type { AttentionAttributes, AttentionOptions } from "./attention-weights.ts";
import { cotangentOf, exponentials, extraCount, extras, normalised } from "./attention-weights.ts";

export const attentionOp: OpDefinition<AttentionAttributes> = defineOp<AttentionAttributes>({
  name: "attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 3 + extraCount(attrs));
    return attentionTypes(inputs.slice(0, 3), inputs.slice(3), attrs);
  },
  vjp: ({ attrs, inputs, outputs: [out, logSum], cotangents: [ct, ctLogSum] }) => {
    const [q, k, v, ...extra] = inputs as [Tensor, Tensor, Tensor, ...Tensor[]];
    const { split, order, last } = layout(q, k);
    const dy = cotangentOf(ct, out!);
    const products = mul(convert(split(dy), "f32"), convert(split(out!), "f32"));
    const along = transpose(sum(products, [last]), order.slice(0, last));
    const less = ctLogSum ? sub(along, ctLogSum) : along;
    return applyOp(attentionGradientOp, [q, k, v, dy, logSum!, less, ...extra], attrs);
  },
  body: {
    class: "composite",
    decompose: ([q, k, v, ...extra], attrs) => {
      const { split, merge, order, last } = layout(q!, k!);
      const { weights, total, logSum } = exponentials(scoresOf(split(q!), k!, extra, attrs, last));
      const out = dotGeneral(weights, v!, {
        lhsBatch: [0, 1],
        rhsBatch: [0, 2],
        lhsContract: [last],
        rhsContract: [1],
        dtype: "f32",
      });
      return [merge(transpose(normalised(out, total, q!.dtype), order)), logSum];
    },
    whole: ({ attrs, inputs, arrayBytes }) => {
      const widths = attentionWidths(inputs);
      if (!widths || !isWorthwhile(inputs[0]!.shape[1]!)) return undefined;
      const blocks = forwardBlocks(arrayBytes, widths.values);
      if (!blocks) return undefined;
      const body: WholeKernel["body"] = ({ read, store }) => {
        const extra = { input: 3, type: inputs[3] };
        const { form, rowAt, numberAt } = attentionForm(inputs, extra, attrs, read);
        return attentionForward(form, blocks, {
          result: (row, d, value) => store(0, rowAt(row, d), value),
          logSum: (row, value) => store(1, numberAt(row), value),
        });
      };
      return [{ name: "attention", outputs: [0, 1], body }];
    },
  },
});

/** Causal attention of `q` [B, T, H, Dk] over `k` [B, S, Hkv, Dk] and `v` [B, S, Hkv, Dv]; gives [B, T, H, Dv]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { inputs, attrs } = extras(options);
  return applyOp(attentionOp, [q, k, v, ...inputs], attrs)[0]!;
}
