/**
 * The absorbed form of multi-head latent attention, for a latent cache that is keys and values at once. In: queries
 * already multiplied into the latent space [B, T, H, R], their rotary part [B, T, H, Dr], the cache [B, S, R] and its one
 * rotary key per token [B, S, Dr]. Out: weighted sums of the cache [B, T, H, R]. The same function as expanding keys and
 * values per head; it reads R + Dr numbers per cached token instead of H (Dk + Dv). Source: arXiv 2405.04434 §2.1.
 */
import { ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { dimsEqual, formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectInputs } from "../define-op.ts";
import { sum } from "../ops/broadcast.ts";
import { dotGeneral } from "../ops/contract.ts";
import { add, convert, mul } from "../ops/elementwise.ts";
import type { AttentionAttributes, AttentionOptions } from "./attention-weights.ts";
import {
  checkMask,
  cotangentOf,
  expectFloats,
  exponentials,
  extraCount,
  extras,
  floatOf,
  masked,
  normalised,
  scoreGradient,
} from "./attention-weights.ts";

/** Queries, or scores, times something that all heads share. */
const perQuery = { lhsBatch: [0], rhsBatch: [0], lhsContract: [3] };
/** Scores times queries, summed over queries and heads. */
const perKey = { lhsBatch: [0], rhsBatch: [0], lhsContract: [1, 2], rhsContract: [1, 2] };

type Operands = readonly [Tensor, Tensor, Tensor, Tensor, ...Tensor[]];

/** Masked and scaled scores [B, T, H, S]. */
function scoresOf(
  [qLatent, qRope, cKv, kRope, ...extra]: Operands,
  attrs: AttentionAttributes,
): Tensor {
  const both = add(
    dotGeneral(qLatent, cKv, { ...perQuery, rhsContract: [2], dtype: "f32" }),
    dotGeneral(qRope, kRope, { ...perQuery, rhsContract: [2], dtype: "f32" }),
  );
  return masked(mul(both, attrs.scale), extra, attrs, { b: 0, t: 1, s: 3 });
}

export const latentAttentionOp: OpDefinition<AttentionAttributes> = defineOp<AttentionAttributes>({
  name: "latent_attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 4 + extraCount(attrs));
    const [qLatent, qRope, cKv, kRope] = inputs as [TensorType, TensorType, TensorType, TensorType];
    expectFloats([qLatent, qRope, cKv, kRope], [4, 4, 3, 3]);
    const [b, t, heads, rank] = qLatent.shape as [Dim, Dim, Dim, Dim];
    const [, s, width] = kRope.shape as [Dim, Dim, Dim];
    if (
      !shapesEqual(qRope.shape, [b, t, heads, width]) ||
      !shapesEqual(cKv.shape, [b, s, rank]) ||
      !dimsEqual(kRope.shape[0]!, b)
    )
      throw new ShapeError({
        what: `qLatent ${formatType(qLatent)}, qRope ${formatType(qRope)}, cKv ${formatType(cKv)} and kRope ${formatType(kRope)} do not fit together`,
        hint: "Give qLatent [B, T, H, R], qRope [B, T, H, Dr], cKv [B, S, R] and kRope [B, S, Dr].",
      });
    checkMask(inputs.slice(4), attrs, qLatent.shape, cKv.shape);
    return [qLatent, { dtype: "f32", shape: [b, t, heads] }];
  },
  vjp: ({ attrs, inputs, outputs: [out, logSum], cotangents: [ct, ctLogSum] }) => {
    const operands = inputs as unknown as Operands;
    const [qLatent, qRope, cKv, kRope] = operands;
    const dy = cotangentOf(ct, out!);
    const d = scoreGradient(
      scoresOf(operands, attrs),
      logSum!,
      {
        weights: dotGeneral(dy, cKv, { ...perQuery, rhsContract: [2], dtype: "f32" }),
        along: sum(mul(convert(dy, "f32"), convert(out!, "f32")), [3]),
        logSum: ctLogSum,
      },
      attrs.scale,
    );
    // The cache is the keys and the values, so its cotangent has two parts.
    const asKeys = dotGeneral(d.scores, qLatent, { ...perKey, dtype: "f32" });
    const asValues = dotGeneral(d.weights, dy, { ...perKey, dtype: "f32" });
    return [
      dotGeneral(d.scores, cKv, { ...perQuery, rhsContract: [1], dtype: floatOf(qLatent) }),
      dotGeneral(d.scores, kRope, { ...perQuery, rhsContract: [1], dtype: floatOf(qRope) }),
      convert(add(asKeys, asValues), cKv.dtype),
      dotGeneral(d.scores, qRope, { ...perKey, dtype: floatOf(kRope) }),
    ];
  },
  body: {
    class: "composite",
    decompose: (inputs, attrs) => {
      const operands = inputs as unknown as Operands;
      const [qLatent, , cKv] = operands;
      const { weights, total, logSum } = exponentials(scoresOf(operands, attrs));
      const out = dotGeneral(weights, cKv, { ...perQuery, rhsContract: [1], dtype: "f32" });
      return [normalised(out, total, qLatent.dtype), logSum];
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
