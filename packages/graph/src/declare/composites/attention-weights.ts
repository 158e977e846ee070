/**
 * What both forms of attention share. In: scores and who may see what. Out: weights. A query sees keys up to its position
 * start + t and, of packed samples, only those of its own segment. Weights are exponentials less the row's maximum; they
 * are divided by their sum after the product with the values, where it is once per result. The logarithm of that sum
 * is kept: with it the backward pass has each weight from its score by one exponential. Source: arXiv 2205.14135.
 */
import type { DType, FloatDType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, integer } from "../../expression.ts";
import type { AttentionForm } from "../../lower/attention-form.ts";
import type { WholeAccess } from "../../op.ts";
import type { Shape, TensorType } from "../../shape.ts";
import { dimsEqual, formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { expectDType } from "../define-op.ts";
import { broadcastTo, sum } from "../ops/broadcast.ts";
import {
  add,
  bitAnd,
  convert,
  div,
  eq,
  exp,
  ge,
  log,
  mul,
  select,
  sub,
} from "../ops/elementwise.ts";
import { iota } from "../ops/gather.ts";
import { max } from "../ops/reduce.ts";

export interface AttentionOptions {
  /** Factor on the scores, such as 1 / sqrt(Dk). */
  readonly scale: number;
  /** Position of the first query: i32 [] or, when sequences differ, [B]. Absent: 0, and S = T. */
  readonly start?: Tensor;
  /** Packed samples, i32 [B, S]: a query sees keys of its own segment only. Needs S = T and no start. */
  readonly segments?: Tensor;
}

export type AttentionAttributes = {
  readonly scale: number;
  readonly start: boolean;
  readonly segments: boolean;
};

/** Throws unless start or segments, if given, fit queries and keys of these shapes. */
export function checkMask(
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
export function masked(
  scores: Tensor,
  extra: readonly Tensor[],
  attrs: AttentionAttributes,
  axes: { readonly b: number; readonly t: number; readonly s: number },
): Tensor {
  const { b, t, s } = axes;
  const shape = [scores.shape[b]!, scores.shape[t]!, scores.shape[s]!];
  const query = broadcastTo(iota(scores.builder, "i32", [shape[1]!], 0), shape, [1]);
  const key = broadcastTo(iota(scores.builder, "i32", [shape[2]!], 0), shape, [2]);
  const other = extra[0]; // start or segments
  const position =
    attrs.start && other
      ? add(query, broadcastTo(other, shape, other.shape.length === 0 ? [] : [0]))
      : query;
  let visible = ge(position, key);
  if (attrs.segments && other) {
    const same = eq(broadcastTo(other, shape, [0, 1]), broadcastTo(other, shape, [0, 2]));
    visible = bitAnd(visible, same);
  }
  const mask = broadcastTo(visible, scores.shape, [b, t, s]);
  return select(mask, scores, Number.NEGATIVE_INFINITY);
}

/** Which input start or segments are, if there are any. */
export interface MaskInput {
  readonly input: number;
  readonly type: TensorType | undefined;
}

/** Attention as expressions, and where in memory what it is over lies. */
export interface PlacedForm {
  readonly form: AttentionForm;
  /** A row's vector among queries and results, and its number among the logarithms. */
  readonly rowAt: (row: Expr, d: Expr) => readonly Expr[];
  readonly numberAt: (row: Expr) => readonly Expr[];
  /** A key's vector among keys and values. */
  readonly keyAt: (key: Expr, d: Expr) => readonly Expr[];
}

/** Who may see what, as expressions; `b` is the batch. */
export function maskForm(
  extra: MaskInput,
  attrs: AttentionAttributes,
  b: Expr,
  read: WholeAccess["read"],
): Pick<AttentionForm, "start" | "sameSegment"> {
  const { input, type } = extra;
  if (attrs.start) return { start: read(input, type!.shape.length === 0 ? [] : [b]) };
  const start = integer(0);
  if (!attrs.segments) return { start };
  const segment = (token: Expr): Expr => read(input, [b, token]);
  return {
    start,
    sameSegment: (query, key) => apply("eq", segment(query), segment(key)),
  };
}

/** Inputs and attributes that the options become. */
export function extras(options: AttentionOptions): {
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

export const extraCount = (attrs: AttentionAttributes): number =>
  attrs.start || attrs.segments ? 1 : 0;

/** Throws unless all are floats with so many axes. */
export function expectFloats(inputs: readonly TensorType[], ranks: readonly number[]): void {
  inputs.forEach((type, i) => {
    if (!isFloat(type.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(type)}`,
        hint: "Convert it to a float dtype.",
      });
    if (type.shape.length !== ranks[i])
      throw new ShapeError({ what: `${formatType(type)} does not have ${ranks[i]} axes` });
  });
}

/** One number per row of the last axis, repeated along it. */
const perRow = (value: Tensor, like: Tensor): Tensor =>
  broadcastTo(
    value,
    like.shape,
    value.shape.map((_, axis) => axis),
  );

/** Exponentials of the scores less their maximum, their sum, and the logarithm of the sum of the true exponentials. */
export function exponentials(scores: Tensor): {
  readonly weights: Tensor;
  readonly total: Tensor;
  readonly logSum: Tensor;
} {
  const last = scores.shape.length - 1;
  const largest = max(scores, [last]);
  const weights = exp(sub(scores, perRow(largest, scores)));
  const total = sum(weights, [last]);
  return { weights, total, logSum: add(largest, log(total)) };
}

/** Divides each row of a weighted sum of values by the sum of its weights. */
export const normalised = (out: Tensor, total: Tensor, dtype: DType): Tensor =>
  convert(div(out, perRow(total, out)), dtype);

/** Weights again, and the cotangent of the scores before scaling. All tensors have the scores' order of axes. */
export function scoreGradient(
  scores: Tensor,
  logSum: Tensor,
  parts: {
    /** Cotangent of the weights. */
    readonly weights: Tensor;
    /** Sum of cotangent times result less the cotangent of `logSum`, for each row. */
    readonly along: Tensor;
  },
  scale: number,
): { readonly weights: Tensor; readonly scores: Tensor } {
  const weights = exp(sub(scores, perRow(logSum, scores)));
  const slope = mul(weights, sub(parts.weights, perRow(parts.along, scores)));
  return { weights, scores: mul(slope, scale) };
}

/** The cotangent of a result, or zeros where only the logarithm of the sum has one. */
export const cotangentOf = (ct: Tensor | undefined, out: Tensor): Tensor =>
  ct ?? broadcastTo(out.builder.scalar(0, out.dtype), out.shape);

export const floatOf = (x: Tensor): FloatDType => x.dtype as FloatDType;
