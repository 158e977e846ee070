/**
 * The cotangents of absorbed attention's queries and cache, each in two parts. In: these four, the cotangent of the result, the logarithm
 * of each softmax's sum, and for each row the sum of cotangent times result less the cotangent of that logarithm. Out: four cotangents.
 * An op of its own, so that a device may compute it without a matrix of scores.
 */
import type { RowCotangents } from "../../lower/attention-gradient.ts";
import { attentionKeyGradient, attentionQueryGradient } from "../../lower/attention-gradient.ts";
import { isWorthwhile, keyBlocks, queryBlocks } from "../../lower/attention-blocks.ts";
import type { OpDefinition, WholeAccess } from "../../op.ts";
import { defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral } from "../ops/contract.ts";
import { add, convert } from "../ops/elementwise.ts";
import { checkRows } from "./attention-gradient.ts";
import type { AttentionAttributes } from "./attention-weights.ts";
import { extraCount, floatOf, scoreGradient } from "./attention-weights.ts";
import type { LatentOperands } from "./latent-layout.ts";
import {
  latentForm,
  latentScoresOf,
  latentTypes,
  latentWidths,
  perKey,
  perQuery,
} from "./latent-layout.ts";

/** Inputs as those of `latent_attention`, the result's cotangent, the logarithms, the sums along rows, and start or segments. */
export const latentAttentionGradientOp: OpDefinition<AttentionAttributes> =
  defineOp<AttentionAttributes>({
    name: "latent_attention_gradient",
    infer: (inputs, attrs) => {
      expectInputs(inputs, 7 + extraCount(attrs));
      checkRows(latentTypes(inputs.slice(0, 4), inputs.slice(7), attrs), inputs.slice(4, 7));
      return inputs.slice(0, 4);
    },
    body: {
      class: "composite",
      decompose: (inputs, attrs) => {
        const operands = [...inputs.slice(0, 4), ...inputs.slice(7)] as unknown as LatentOperands;
        const [qLatent, qRope, cKv, kRope] = operands;
        const [dy, logSum, along] = inputs.slice(4);
        const weights = dotGeneral(dy!, cKv, { ...perQuery, rhsContract: [2], dtype: "f32" });
        const d = scoreGradient(
          latentScoresOf(operands, attrs),
          logSum!,
          { weights, along: along! },
          attrs.scale,
        );
        // The cache is the keys and the values, so its cotangent has two parts.
        const asKeys = dotGeneral(d.scores, qLatent, { ...perKey, dtype: "f32" });
        const asValues = dotGeneral(d.weights, dy!, { ...perKey, dtype: "f32" });
        return [
          dotGeneral(d.scores, cKv, { ...perQuery, rhsContract: [1], dtype: floatOf(qLatent) }),
          dotGeneral(d.scores, kRope, { ...perQuery, rhsContract: [1], dtype: floatOf(qRope) }),
          convert(add(asKeys, asValues), cKv.dtype),
          dotGeneral(d.scores, qRope, { ...perKey, dtype: floatOf(kRope) }),
        ];
      },
      whole: ({ attrs, inputs, arrayBytes }) => {
        const widths = latentWidths(inputs);
        if (!widths || !isWorthwhile(inputs[0]!.shape[1]!)) return undefined;
        const { latent, rope } = widths;
        const forQueries = queryBlocks(arrayBytes, latent + rope);
        const forKeys = keyBlocks(arrayBytes, latent + rope);
        if (!forQueries || !forKeys) return undefined;
        const extra = { input: 7, type: inputs[7] };
        const parts = (read: WholeAccess["read"]) => {
          const { form, rowAt, numberAt, keyAt } = latentForm(inputs, extra, attrs, read);
          const ct: RowCotangents = {
            result: { width: latent, at: (row, d) => read(4, rowAt(row, d)) },
            logSum: (row) => read(5, numberAt(row)),
            along: (row) => read(6, numberAt(row)),
          };
          return { form, ct, rowAt, keyAt };
        };
        return [
          {
            name: "latent_attention_gradient_queries",
            outputs: [0, 1],
            body: ({ read, store }) => {
              const { form, ct, rowAt } = parts(read);
              return attentionQueryGradient(form, forQueries, ct, [
                (row, d, value) => store(0, rowAt(row, d), value),
                (row, d, value) => store(1, rowAt(row, d), value),
              ]);
            },
          },
          {
            name: "latent_attention_gradient_keys",
            outputs: [2, 3],
            body: ({ read, store }) => {
              const { form, ct, keyAt } = parts(read);
              return attentionKeyGradient(form, forKeys, ct, {
                keys: [
                  (key, d, value) => store(2, keyAt(key, d), value),
                  (key, d, value) => store(3, keyAt(key, d), value),
                ],
              });
            },
          },
        ];
      },
    },
  });
