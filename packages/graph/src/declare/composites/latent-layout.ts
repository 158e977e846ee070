/**
 * What absorbed attention and its gradient share. In: queries [B, T, H, R] and [B, T, H, Dr], a cache [B, S, R] and [B, S, Dr]. Out:
 * their scores as ops, and the same as expressions, for kernels that hold no matrix of scores. All heads share keys.
 */
import { ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, axis, integer } from "../../expression.ts";
import type { AttentionForm } from "../../lower/attention-form.ts";
import type { WholeAccess } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { dimsEqual, formatType, multiplyDims, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { dotGeneral } from "../ops/contract.ts";
import { add, mul } from "../ops/elementwise.ts";
import type { AttentionAttributes, MaskInput, PlacedForm } from "./attention-weights.ts";
import { checkMask, expectFloats, maskForm, masked } from "./attention-weights.ts";

type Axes = readonly number[];

/** Queries, or scores, times something that all heads share. */
export const perQuery: { lhsBatch: Axes; rhsBatch: Axes; lhsContract: Axes } = {
  lhsBatch: [0],
  rhsBatch: [0],
  lhsContract: [3],
};
/** Scores times queries, summed over queries and heads. */
export const perKey: typeof perQuery & { rhsContract: Axes } = {
  lhsBatch: [0],
  rhsBatch: [0],
  lhsContract: [1, 2],
  rhsContract: [1, 2],
};

export type LatentOperands = readonly [Tensor, Tensor, Tensor, Tensor, ...Tensor[]];

/** Masked and scaled scores [B, T, H, S]. */
export function latentScoresOf(
  [qLatent, qRope, cKv, kRope, ...extra]: LatentOperands,
  attrs: AttentionAttributes,
): Tensor {
  const both = add(
    dotGeneral(qLatent, cKv, { ...perQuery, rhsContract: [2], dtype: "f32" }),
    dotGeneral(qRope, kRope, { ...perQuery, rhsContract: [2], dtype: "f32" }),
  );
  return masked(mul(both, attrs.scale), extra, attrs, { b: 0, t: 1, s: 3 });
}

/** Types of the result and of the logarithm of the sums, or an error that says what does not fit. */
export function latentTypes(
  inputs: readonly TensorType[],
  extra: readonly TensorType[],
  attrs: AttentionAttributes,
): readonly [TensorType, TensorType] {
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
  checkMask(extra, attrs, qLatent.shape, cKv.shape);
  return [qLatent, { dtype: "f32", shape: [b, t, heads] }];
}

/** Widths that kernels need to know, if they are known. */
export function latentWidths([qLatent, qRope]: readonly TensorType[]):
  | { readonly perToken: number; readonly latent: number; readonly rope: number }
  | undefined {
  const [heads, latent] = qLatent!.shape.slice(2) as [Dim, Dim];
  const rope = qRope!.shape[3]!;
  if (typeof heads !== "number" || typeof latent !== "number" || typeof rope !== "number")
    return undefined;
  return heads * latent * rope === 0 ? undefined : { perToken: heads, latent, rope };
}

/** Over `read(0)` to `read(3)`: both parts of queries and of the cache; numbers of rows lie in [B, T, H]. */
export function latentForm(
  inputs: readonly TensorType[],
  extra: MaskInput,
  attrs: AttentionAttributes,
  read: WholeAccess["read"],
): PlacedForm {
  const [batch, tokens] = inputs[0]!.shape as [Dim, Dim];
  const { perToken, latent, rope } = latentWidths(inputs)!;
  const b = axis("b", batch);
  const heads = integer(perToken);
  const numberAt = (row: Expr): readonly Expr[] =>
    perToken === 1 ? [b, row, integer(0)] : [b, apply("div", row, heads), apply("rem", row, heads)];
  const rowAt = (row: Expr, d: Expr): readonly Expr[] => [...numberAt(row), d];
  const keyAt = (key: Expr, d: Expr): readonly Expr[] => [b, key, d];
  const part = (i: number, width: number): AttentionForm["parts"][number] => ({
    query: { width, at: (row, d) => read(i, rowAt(row, d)) },
    key: { width, at: (key, d) => read(2 + i, keyAt(key, d)) },
  });
  const form: AttentionForm = {
    loops: [{ axis: "b", extent: batch }],
    rows: multiplyDims(tokens, perToken),
    perToken,
    keys: inputs[2]!.shape[1]!,
    parts: [part(0, latent), part(1, rope)],
    values: { width: latent, at: (key, d) => read(2, keyAt(key, d)) },
    ...maskForm(extra, attrs, b, read),
    scale: attrs.scale,
  };
  return { form, rowAt, numberAt, keyAt };
}
