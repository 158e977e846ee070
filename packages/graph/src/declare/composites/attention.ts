/**
 * Causal attention. In: queries [B, T, H, Dk], keys [B, S, Hkv, Dk], values [B, S, Hkv, Dv]; Hkv divides H (H: multi-head,
 * 1: multi-query). Out: [B, T, H, Dv] in the queries' dtype; scores and softmax are f32. Query t stands at position
 * start + t and sees the keys up to there. Heads that share keys share one product, no key is repeated in memory.
 * The second output is the logarithm of each softmax's sum, which the backward pass needs.
 * Sources: arXiv 1706.03762, 2305.13245.
 */
import { ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral } from "../ops/contract.ts";
import { sum } from "../ops/broadcast.ts";
import { convert, mul } from "../ops/elementwise.ts";
import { reshape, transpose } from "../ops/movement.ts";
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

/** How the axes of the scores [B, Hkv, T, H/Hkv, S] lie; without the fourth when each head has its own keys. */
function layout(
  q: Tensor,
  k: Tensor,
): {
  /** [B, T, H, D] as [B, T, Hkv, H/Hkv, D], and back. */
  readonly split: (x: Tensor) => Tensor;
  readonly merge: (x: Tensor) => Tensor;
  /** Order of axes that turns queries into scores, and back: its own inverse. */
  readonly order: readonly number[];
  readonly last: number;
  /** Axes that all heads of a key have: queries and heads, in queries and in scores. */
  readonly inQueries: readonly number[];
  readonly inScores: readonly number[];
} {
  const heads = q.shape[2] as number;
  const kvHeads = k.shape[2] as number;
  if (heads === kvHeads) {
    const same = (x: Tensor): Tensor => x;
    return {
      split: same,
      merge: same,
      order: [0, 2, 1, 3],
      last: 3,
      inQueries: [1],
      inScores: [2],
    };
  }
  const [b, t] = q.shape as [Dim, Dim];
  return {
    split: (x) => reshape(x, [b, t, kvHeads, heads / kvHeads, x.shape[3]!]),
    merge: (x) => reshape(x, [b, t, heads, x.shape[4]!]),
    order: [0, 2, 1, 3, 4],
    last: 4,
    inQueries: [1, 3],
    inScores: [2, 3],
  };
}

/** Masked and scaled scores. */
function scoresOf(
  q: Tensor,
  k: Tensor,
  extra: readonly Tensor[],
  attrs: AttentionAttributes,
  last: number,
): Tensor {
  const scores = dotGeneral(q, k, {
    lhsBatch: [0, 2],
    rhsBatch: [0, 2],
    lhsContract: [last],
    rhsContract: [3],
    dtype: "f32",
  });
  return masked(mul(scores, attrs.scale), extra, attrs, { b: 0, t: 2, s: last });
}

export const attentionOp: OpDefinition<AttentionAttributes> = defineOp<AttentionAttributes>({
  name: "attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 3 + extraCount(attrs));
    const [q, k, v] = inputs as [TensorType, TensorType, TensorType];
    expectFloats([q, k, v], [4, 4, 4]);
    const [b, t, heads, dk] = q.shape as [Dim, Dim, Dim, Dim];
    const [, s, kvHeads] = k.shape as [Dim, Dim, Dim];
    const divides =
      typeof heads === "number" && typeof kvHeads === "number" && heads % kvHeads === 0;
    if (
      !divides ||
      !shapesEqual(k.shape, [b, s, kvHeads, dk]) ||
      !shapesEqual(v.shape.with(3, 1), [b, s, kvHeads, 1])
    )
      throw new ShapeError({
        what: `q ${formatType(q)}, k ${formatType(k)} and v ${formatType(v)} do not fit together`,
        hint: "Give q [B, T, H, Dk], k [B, S, Hkv, Dk] and v [B, S, Hkv, Dv] where Hkv divides H.",
      });
    checkMask(inputs.slice(3), attrs, q.shape, k.shape);
    const shared = heads === kvHeads ? [] : [heads / kvHeads];
    return [
      { dtype: q.dtype, shape: [b, t, heads, v.shape[3]!] },
      { dtype: "f32", shape: [b, kvHeads, t, ...shared] },
    ];
  },
  vjp: ({ attrs, inputs, outputs: [out, logSum], cotangents: [ct, ctLogSum] }) => {
    const [qIn, k, v, ...extra] = inputs as [Tensor, Tensor, Tensor, ...Tensor[]];
    const { split, merge, order, last, inQueries, inScores } = layout(qIn, k);
    const q = split(qIn);
    const dy = split(cotangentOf(ct, out!));
    const along = sum(mul(convert(dy, "f32"), convert(split(out!), "f32")), [last]);
    const toWeights = dotGeneral(dy, v, {
      lhsBatch: [0, 2],
      rhsBatch: [0, 2],
      lhsContract: [last],
      rhsContract: [3],
      dtype: "f32",
    });
    const d = scoreGradient(
      scoresOf(q, k, extra, attrs, last),
      logSum!,
      { weights: toWeights, along: transpose(along, order.slice(0, last)), logSum: ctLogSum },
      attrs.scale,
    );
    const perKey = {
      lhsBatch: [0, 1],
      rhsBatch: [0, 2],
      lhsContract: inScores,
      rhsContract: inQueries,
    };
    const perQuery = { lhsBatch: [0, 1], rhsBatch: [0, 2], lhsContract: [last], rhsContract: [1] };
    const dq = dotGeneral(d.scores, k, { ...perQuery, dtype: floatOf(qIn) });
    const dk = dotGeneral(d.scores, q, { ...perKey, dtype: floatOf(k) });
    const dv = dotGeneral(d.weights, dy, { ...perKey, dtype: floatOf(v) });
    return [merge(transpose(dq, order)), transpose(dk, [0, 2, 1, 3]), transpose(dv, [0, 2, 1, 3])];
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
  },
});

/** Causal attention of `q` [B, T, H, Dk] over `k` [B, S, Hkv, Dk] and `v` [B, S, Hkv, Dv]; gives [B, T, H, Dv]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { inputs, attrs } = extras(options);
  return applyOp(attentionOp, [q, k, v, ...inputs], attrs)[0]!;
}
