/**
 * What attention and its gradient share. In: queries [B, T, H, Dk], keys [B, S, Hkv, Dk], values [B, S, Hkv, Dv]. Out: how their
 * axes lie, their scores as ops, and the same as expressions, for kernels that hold no matrix of scores.
 */
import { ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, axis, integer } from "../../expression.ts";
import type { AttentionForm } from "../../lower/attention-form.ts";
import type { WholeAccess } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { formatType, multiplyDims, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { dotGeneral } from "../ops/contract.ts";
import { mul } from "../ops/elementwise.ts";
import { reshape } from "../ops/movement.ts";
import type { AttentionAttributes, MaskInput, PlacedForm } from "./attention-weights.ts";
import { checkMask, expectFloats, maskForm, masked } from "./attention-weights.ts";

/** How the axes of the scores [B, Hkv, T, H/Hkv, S] lie; without the fourth when each head has its own keys. */
export function layout(
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
export function scoresOf(
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

/** Types of the result and of the logarithm of the sums, or an error that says what does not fit. */
export function attentionTypes(
  inputs: readonly TensorType[],
  extra: readonly TensorType[],
  attrs: AttentionAttributes,
): readonly [TensorType, TensorType] {
  const [q, k, v] = inputs as [TensorType, TensorType, TensorType];
  expectFloats([q, k, v], [4, 4, 4]);
  const [b, t, heads, dk] = q.shape as [Dim, Dim, Dim, Dim];
  const [, s, kvHeads] = k.shape as [Dim, Dim, Dim];
  const divides = typeof heads === "number" && typeof kvHeads === "number" && heads % kvHeads === 0;
  if (
    !divides ||
    !shapesEqual(k.shape, [b, s, kvHeads, dk]) ||
    !shapesEqual(v.shape.with(3, 1), [b, s, kvHeads, 1])
  )
    throw new ShapeError({
      what: `q ${formatType(q)}, k ${formatType(k)} and v ${formatType(v)} do not fit together`,
      hint: "Give q [B, T, H, Dk], k [B, S, Hkv, Dk] and v [B, S, Hkv, Dv] where Hkv divides H.",
    });
  checkMask(extra, attrs, q.shape, k.shape);
  const shared = heads === kvHeads ? [] : [heads / kvHeads];
  return [
    { dtype: q.dtype, shape: [b, t, heads, v.shape[3]!] },
    { dtype: "f32", shape: [b, kvHeads, t, ...shared] },
  ];
}

/** Widths that kernels need to know, if they are known. */
export function attentionWidths([q, k, v]: readonly TensorType[]):
  | { readonly perToken: number; readonly keys: number; readonly values: number }
  | undefined {
  const [heads, dk] = [q!.shape[2]!, q!.shape[3]!];
  const [kvHeads, dv] = [k!.shape[2]!, v!.shape[3]!];
  if (typeof heads !== "number" || typeof kvHeads !== "number") return undefined;
  if (typeof dk !== "number" || typeof dv !== "number" || dk === 0 || dv === 0) return undefined;
  return { perToken: heads / kvHeads, keys: dk, values: dv };
}

/** Over `read(0)` queries, `read(1)` keys and `read(2)` values; numbers of rows lie in [B, Hkv, T, H/Hkv]. */
export function attentionForm(
  inputs: readonly TensorType[],
  extra: MaskInput,
  attrs: AttentionAttributes,
  read: WholeAccess["read"],
): PlacedForm {
  const [q, k] = inputs as [TensorType, TensorType];
  const [batch, tokens] = q.shape as [Dim, Dim];
  const [, keys, kvHeads] = k.shape as [Dim, Dim, number];
  const { perToken, keys: keyWidth, values: valueWidth } = attentionWidths(inputs)!;
  const [b, h] = [axis("b", batch), axis("h", kvHeads)];
  const shared = integer(perToken);
  const tokenOf = (row: Expr): Expr => (perToken === 1 ? row : apply("div", row, shared));
  const memberOf = (row: Expr): readonly Expr[] =>
    perToken === 1 ? [] : [apply("rem", row, shared)];
  const rowAt = (row: Expr, d: Expr): readonly Expr[] => {
    const group = apply("mul", h, shared);
    const head = perToken === 1 ? h : apply("add", group, memberOf(row)[0]!);
    return [b, tokenOf(row), head, d];
  };
  const keyAt = (key: Expr, d: Expr): readonly Expr[] => [b, key, h, d];
  const form: AttentionForm = {
    loops: [
      { axis: "b", extent: batch },
      { axis: "h", extent: kvHeads },
    ],
    rows: multiplyDims(tokens, perToken),
    perToken,
    keys,
    parts: [
      {
        query: { width: keyWidth, at: (row, d) => read(0, rowAt(row, d)) },
        key: { width: keyWidth, at: (key, d) => read(1, keyAt(key, d)) },
      },
    ],
    values: { width: valueWidth, at: (key, d) => read(2, keyAt(key, d)) },
    ...maskForm(extra, attrs, b, read),
    scale: attrs.scale,
  };
  return { form, rowAt, numberAt: (row) => [b, h, tokenOf(row), ...memberOf(row)], keyAt };
}
