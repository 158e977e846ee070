/**
 * The absorbed form of multi-head latent attention, for a latent cache that is keys and values at once. In: queries
 * already multiplied into the latent space [B, T, H, R], their rotary part [B, T, H, Dr], the cache [B, S, R] and its one
 * rotary key per token [B, S, Dr]. Out: weighted sums of the cache [B, T, H, R]. The same function as expanding keys and
 * values per head; it reads R + Dr numbers per cached token instead of H (Dk + Dv). Source: arXiv 2405.04434 §2.1.
 */
import { attentionForward } from "../../lower/attention.ts";
import { forwardBlocks, isWorthwhile } from "../../lower/attention-blocks.ts";
import type { OpDefinition, WholeKernel } from "../../op.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectInputs } from "../define-op.ts";
import { sum } from "../ops/broadcast.ts";
import { dotGeneral } from "../ops/contract.ts";
import { convert, mul, sub } from "../ops/elementwise.ts";
import type { AttentionAttributes, AttentionOptions } from "./attention-weights.ts";
import { cotangentOf, exponentials, extraCount, extras, normalised } from "./attention-weights.ts";
import { latentAttentionGradientOp } from "./latent-attention-gradient.ts";
import type { LatentOperands } from "./latent-layout.ts";
import {
  latentForm,
  latentScoresOf,
  latentTypes,
  latentWidths,
  perQuery,
} from "./latent-layout.ts";

export const latentAttentionOp: OpDefinition<AttentionAttributes> = defineOp<AttentionAttributes>({
  name: "latent_attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 4 + extraCount(attrs));
    return latentTypes(inputs.slice(0, 4), inputs.slice(4), attrs);
  },
  vjp: ({ attrs, inputs, outputs: [out, logSum], cotangents: [ct, ctLogSum] }) => {
    const dy = cotangentOf(ct, out!);
    const along = sum(mul(convert(dy, "f32"), convert(out!, "f32")), [3]);
    const less = ctLogSum ? sub(along, ctLogSum) : along;
    const rows = [dy, logSum!, less];
    const given = [...inputs.slice(0, 4), ...rows, ...inputs.slice(4)];
    return applyOp(latentAttentionGradientOp, given, attrs);
  },
  body: {
    class: "composite",
    decompose: (inputs, attrs) => {
      const operands = inputs as unknown as LatentOperands;
      const [qLatent, , cKv] = operands;
      const { weights, total, logSum } = exponentials(latentScoresOf(operands, attrs));
      const out = dotGeneral(weights, cKv, { ...perQuery, rhsContract: [1], dtype: "f32" });
      return [normalised(out, total, qLatent.dtype), logSum];
    },
    whole: ({ attrs, inputs, arrayBytes }) => {
      const widths = latentWidths(inputs);
      if (!widths || !isWorthwhile(inputs[0]!.shape[1]!)) return undefined;
      const blocks = forwardBlocks(arrayBytes, widths.latent);
      if (!blocks) return undefined;
      const body: WholeKernel["body"] = ({ read, store }) => {
        const extra = { input: 4, type: inputs[4] };
        const { form, rowAt, numberAt } = latentForm(inputs, extra, attrs, read);
        return attentionForward(form, blocks, {
          result: (row, d, value) => store(0, rowAt(row, d), value),
          logSum: (row, value) => store(1, numberAt(row), value),
        });
      };
      return [{ name: "latent_attention", outputs: [0, 1], body }];
    },
  },
});

/**
 * Absorbed multi-head latent attention: scores are qLatent · cKv + qRope · kRope, the result is the weighted sum of cKv,
 * [B, T, H, R], for queries [B, T, H, R] and [B, T, H, Dr] over a cache [B, S, R] and [B, S, Dr].
 */
export function latentAttention(
  qLatent: Tensor,
  qRope: Tensor,
  cKv: Tensor,
  kRope: Tensor,
  options: AttentionOptions,
): Tensor {
  const { inputs, attrs } = extras(options);
  return applyOp(latentAttentionOp, [qLatent, qRope, cKv, kRope, ...inputs], attrs)[0]!;
}
