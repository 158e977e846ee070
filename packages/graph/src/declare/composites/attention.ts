/**
 * Causal attention. In: queries [B, T, H, Dk], keys [B, S, Hkv, Dk], values [B, S, Hkv, Dv]; Hkv divides H (H: multi-head,
 * 1: multi-query). Out: [B, T, H, Dv] in the queries' dtype; scores and softmax are f32. Query t stands at position
 * start + t and sees the keys up to there. Heads that share keys share one product, no key is repeated in memory.
 * `latentAttention` is the absorbed form of multi-head latent attention: keys and values are the cache itself.
 * Sources: arXiv 1706.03762, 2305.13245, 2405.04434. Derivatives come from the decompositions.
 */
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, Shape, TensorType } from "../../shape.ts";
import { dimsEqual, formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo } from "../ops/broadcast.ts";
import { add, bitAnd, eq, ge, mul, select } from "../ops/elementwise.ts";
import { dotGeneral } from "../ops/contract.ts";
import { iota } from "../ops/gather.ts";
import { reshape, transpose } from "../ops/movement.ts";
import { softmax } from "./softmax.ts";

export interface AttentionOptions {
  /** Factor on the scores, such as 1 / sqrt(Dk). */
  readonly scale: number;
  /** Position of the first query: i32 [] or, when sequences differ, [B]. Absent: 0, and S = T. */
  readonly start?: Tensor;
  /** Packed samples, i32 [B, S]: a query sees keys of its own segment only. Needs S = T and no start. */
  readonly segments?: Tensor;
}

type AttentionAttributes = {
  readonly scale: number;
  readonly start: boolean;
  readonly segments: boolean;
};

function checkMask(
  extra: readonly TensorType[],
  attrs: AttentionAttributes,
  q: Shape,
  s: Shape,
): void {
  const [b, t] = [q[0]!, q[1]!];
  if (!(attrs.scale > 0) || !Number.isFinite(attrs.scale))
    throw new AttributeError({
      what: `the scale is ${attrs.scale}`,
      hint: "Give a positive number, such as 1 / sqrt(Dk).",
    });
  const [mask] = extra;
  if (attrs.start) {
    expectDType(mask!, ["i32"], "start");
    if (mask!.shape.length > 0 && !shapesEqual(mask!.shape, [b]))
      throw new ShapeError({
        what: `start is ${formatType(mask!)}`,
        hint: "Give one position, i32 [], or one for each sequence, i32 [B].",
      });
    return;
  }
  if (!dimsEqual(t, s[1]!))
    throw new ShapeError({
      what: `${formatType({ dtype: "f32", shape: q })} queries for keys ${formatType({ dtype: "f32", shape: s })} without a start`,
      hint: "Pass start when there are more keys than queries.",
    });
  if (attrs.segments) {
    expectDType(mask!, ["i32"], "segments");
    if (!shapesEqual(mask!.shape, [b, t]))
      throw new ShapeError({
        what: `segments are ${formatType(mask!)}`,
        hint: "Give one segment number for each token, i32 [B, T].",
      });
  }
}

/** Scores of keys that a query may not see become minus infinity; `axes` are those of B, T and S, ascending. */
function masked(
  scores: Tensor,
  extra: readonly Tensor[],
  attrs: AttentionAttributes,
  axes: { readonly b: number; readonly t: number; readonly s: number },
): Tensor {
  const { b, t, s } = axes;
  const [batch, queries, keys] = [scores.shape[b]!, scores.shape[t]!, scores.shape[s]!];
  const shape = [batch, queries, keys];
  const query = broadcastTo(iota(scores.builder, "i32", [queries], 0), shape, [1]);
  const key = broadcastTo(iota(scores.builder, "i32", [keys], 0), shape, [2]);
  let position = query;
  if (attrs.start) {
    const start = extra[0]!;
    position = add(query, broadcastTo(start, shape, start.shape.length === 0 ? [] : [0]));
  }
  let visible = ge(position, key);
  if (attrs.segments) {
    const segment = extra[0]!;
    visible = bitAnd(
      visible,
      eq(broadcastTo(segment, shape, [0, 1]), broadcastTo(segment, shape, [0, 2])),
    );
  }
  const mask = broadcastTo(visible, scores.shape, [b, t, s]);
  return select(mask, scores, Number.NEGATIVE_INFINITY);
}

function extras(options: AttentionOptions): {
  readonly inputs: readonly Tensor[];
  readonly attrs: AttentionAttributes;
} {
  const { scale, start, segments } = options;
  if (start && segments)
    throw new AttributeError({
      what: "attention got both start and segments",
      where: start.builder.path,
      hint: "Segments are for whole packed sequences, start is for continuing one.",
    });
  const extra = start ?? segments;
  return {
    inputs: extra ? [extra] : [],
    attrs: { scale, start: start !== undefined, segments: segments !== undefined },
  };
}

const extraCount = (attrs: AttentionAttributes): number => (attrs.start || attrs.segments ? 1 : 0);

function expectFloats(inputs: readonly TensorType[], rank: readonly number[]): void {
  inputs.forEach((type, i) => {
    if (!isFloat(type.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(type)}`,
        hint: "Convert it to a float dtype.",
      });
    if (type.shape.length !== rank[i])
      throw new ShapeError({ what: `${formatType(type)} does not have ${rank[i]} axes` });
  });
}

export const attentionOp: OpDefinition<AttentionAttributes> = defineOp({
  name: "attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 3 + extraCount(attrs));
    const [q, k, v] = inputs as [TensorType, TensorType, TensorType];
    expectFloats([q, k, v], [4, 4, 4]);
    const [b, t, heads, dk] = q.shape;
    const [, s, kvHeads] = k.shape;
    const divides =
      typeof heads === "number" && typeof kvHeads === "number" && heads % kvHeads === 0;
    if (
      !divides ||
      !shapesEqual(k.shape, [b!, s!, kvHeads, dk!]) ||
      !shapesEqual(v.shape.with(3, 1), [b!, s!, kvHeads, 1])
    )
      throw new ShapeError({
        what: `q ${formatType(q)}, k ${formatType(k)} and v ${formatType(v)} do not fit together`,
        hint: "Give q [B, T, H, Dk], k [B, S, Hkv, Dk] and v [B, S, Hkv, Dv] where Hkv divides H.",
      });
    checkMask(inputs.slice(3), attrs, q.shape, k.shape);
    return [{ dtype: q.dtype, shape: [b!, t!, heads, v.shape[3]!] }];
  },
  body: {
    class: "composite",
    decompose: ([qIn, k, v, ...extra], attrs) => {
      const [b, t, heads, dk] = qIn!.shape as [Dim, Dim, number, Dim];
      const kvHeads = k!.shape[2] as number;
      const grouped = heads !== kvHeads;
      const q = grouped ? reshape(qIn!, [b, t, kvHeads, heads / kvHeads, dk]) : qIn!;
      const last = q.shape.length - 1;
      const scores = dotGeneral(q, k!, {
        lhsBatch: [0, 2],
        rhsBatch: [0, 2],
        lhsContract: [last],
        rhsContract: [3],
        dtype: "f32",
      }); // [B, Hkv, T, H/Hkv, S], without the fourth axis when it is 1
      const weights = softmax(
        masked(mul(scores, attrs.scale), extra, attrs, { b: 0, t: 2, s: last }),
      );
      const out = dotGeneral(weights, v!, {
        lhsBatch: [0, 1],
        rhsBatch: [0, 2],
        lhsContract: [last],
        rhsContract: [1],
        dtype: qIn!.dtype,
      }); // [B, Hkv, T, H/Hkv, Dv]
      const byToken = transpose(out, grouped ? [0, 2, 1, 3, 4] : [0, 2, 1, 3]);
      return [reshape(byToken, [b, t, heads, v!.shape[3]!])];
    },
  },
});

/** Causal attention of `q` [B, T, H, Dk] over `k` [B, S, Hkv, Dk] and `v` [B, S, Hkv, Dv]; gives [B, T, H, Dv]. */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { inputs, attrs } = extras(options);
  return applyOne(attentionOp, [q, k, v, ...inputs], attrs);
}

export const latentAttentionOp: OpDefinition<AttentionAttributes> = defineOp({
  name: "latent_attention",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 4 + extraCount(attrs));
    const [qLatent, qRope, cKv, kRope] = inputs as [TensorType, TensorType, TensorType, TensorType];
    expectFloats([qLatent, qRope, cKv, kRope], [4, 4, 3, 3]);
    const [b, t, heads, rank] = qLatent.shape;
    const [, s, width] = kRope.shape;
    if (
      !shapesEqual(qRope.shape, [b!, t!, heads!, width!]) ||
      !shapesEqual(cKv.shape, [b!, s!, rank!]) ||
      !dimsEqual(kRope.shape[0]!, b!)
    )
      throw new ShapeError({
        what: `qLatent ${formatType(qLatent)}, qRope ${formatType(qRope)}, cKv ${formatType(cKv)} and kRope ${formatType(kRope)} do not fit together`,
        hint: "Give qLatent [B, T, H, R], qRope [B, T, H, Dr], cKv [B, S, R] and kRope [B, S, Dr].",
      });
    checkMask(inputs.slice(4), attrs, qLatent.shape, cKv.shape);
    return [qLatent];
  },
  body: {
    class: "composite",
    decompose: ([qLatent, qRope, cKv, kRope, ...extra], attrs) => {
      const product = { lhsBatch: [0], rhsBatch: [0], lhsContract: [3], dtype: "f32" as const };
      const scores = add(
        dotGeneral(qLatent!, cKv!, { ...product, rhsContract: [2] }),
        dotGeneral(qRope!, kRope!, { ...product, rhsContract: [2] }),
      ); // [B, T, H, S]
      const weights = softmax(masked(mul(scores, attrs.scale), extra, attrs, { b: 0, t: 1, s: 3 }));
      return [dotGeneral(weights, cKv!, { ...product, rhsContract: [1], dtype: qLatent!.dtype })];
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
  return applyOne(latentAttentionOp, [qLatent, qRope, cKv, kRope, ...inputs], attrs);
}
