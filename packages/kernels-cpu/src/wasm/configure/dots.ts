/**
 * Which products are computed as dot products, weight row by weight row, without panels: few rows of x times a weight that is
 * contiguous along the depth. In: a product's operands. Out: where its codes and scales are, or nothing. Several partial sums
 * run side by side, so the order of additions differs from the tiles'; hence this is chosen by the largest number of rows a
 * program may have, and all runs of it add alike.
 */
import type { Contract, DType, Expr, ScalarOp } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import { isAffine, variesWith } from "./stride.ts";
import type { Scope } from "./stride.ts";

export type Load = Extract<Expr, { kind: "load" }>;

/** Scales, one for every `block` elements of the depth. */
export interface Scales {
  readonly load: Load;
  readonly block: number;
  /** They change every so many weight rows, from multiples of that on; undefined where they lie at equal distances, or are the same for all rows. */
  readonly shared?: number;
}

/** Weights of floats: values, or codes with scales. */
export interface FloatDots {
  readonly kind: "floats";
  readonly dtype: "f32" | "f16" | "bf16" | "e4m3fn";
  readonly codes: Load;
  readonly scales: Scales | undefined;
}

/** Weights of whole numbers, multiplied with whole numbers. */
export interface IntegerDots {
  readonly kind: "integers";
  readonly format: "int8" | "int4";
  readonly depth: number;
  readonly codes: Load;
  readonly scales: Scales;
  /** The left side: its codes, and its scales for each 32 neighbours. */
  readonly x: { readonly codes: Expr; readonly scale: Load };
}

export type DotsChoice = FloatDots | IntegerDots;

/** Steps of the depth in one turn of the inner loop; depths and blocks are multiples of it. */
export const DOT_DEPTH = 32;
/** Weight rows together: far apart, each is a stream of its own that the machine reads ahead along. */
export const DOT_COLUMNS = 4;
/** Rows of x together, so many as registers are enough for. */
export type DotRows = 1 | 2;
/** Bytes of a sum in two parts, a register each. */
export const PARTS_BYTES = 32;
/** Neighbours of a left side of whole numbers that share a scale. */
export const X_GROUP = 32;
/**
 * More rows are faster by tiles, where the right side is packed once for all; with sixteen dot products are still the faster ones from
 * memory, but not from caches.
 */
const MOST_ROWS = 8;
/** Rows of one group of many are few in each group as a rule. */
const MOST_GROUPED_ROWS = 64;

interface Known {
  readonly dtypes: ReadonlyMap<string, DType>;
  readonly depth: Scope;
  readonly columns: Scope;
  readonly length: number;
}

/** An element of a row that runs along the depth. */
function alongDepth(expr: Expr, { depth }: Known): expr is Load {
  if (expr.kind !== "load") return false;
  const last = expr.index.at(-1);
  return (
    last?.kind === "axis" &&
    last.name === depth.axis &&
    expr.index.slice(0, -1).every((index) => !variesWith(index, depth))
  );
}

/** Rows of weights lie at equal distances. */
const areEven = ({ index }: Load, { columns }: Known): boolean =>
  index.every((part) => isAffine(part, columns));

/** A float that changes every so many steps of the depth, or not at all, and every so many weight rows, or from each to the next alike. */
function scaleOf(expr: Expr, dtype: "f32" | "bf16", known: Known): Scales | undefined {
  const { dtypes, depth, columns, length } = known;
  if (expr.kind !== "load" || dtypes.get(expr.buffer) !== dtype) return undefined;
  const last = expr.index.at(-1);
  if (expr.index.slice(0, -1).some((index) => variesWith(index, depth))) return undefined;
  const block = last && variesWith(last, depth) ? dividedBy(last, depth.axis) : length;
  if (block === undefined || block % DOT_DEPTH !== 0) return undefined;
  if (areEven(expr, known)) return { load: expr, block };
  const varying = expr.index.filter((index) => variesWith(index, columns));
  const shared = varying.length === 1 ? dividedBy(varying[0]!, columns.axis) : undefined;
  return shared === undefined ? undefined : { load: expr, block, shared };
}

/** `axis / size`, the size. */
function dividedBy(expr: Expr, axis: string): number | undefined {
  const [dividend, divisor] = applied(expr, "div") ?? [];
  if (dividend?.kind !== "axis" || dividend.name !== axis) return undefined;
  return divisor?.kind === "literal" ? divisor.value : undefined;
}

function floatDots(rhs: Expr, known: Known): FloatDots | undefined {
  const parts = rhs.kind === "apply" && rhs.op === "mul" ? rhs.args : [rhs];
  for (const codes of parts) {
    if (!alongDepth(codes, known) || !areEven(codes, known)) continue;
    const dtype = known.dtypes.get(codes.buffer);
    if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16" && dtype !== "e4m3fn") continue;
    const other = parts.find((part) => part !== codes);
    const scales = other && scaleOf(other, "f32", known);
    if (!other || scales) return { kind: "floats", dtype, codes, scales };
  }
  return undefined;
}

const isLiteral = (expr: Expr | undefined, value: number): boolean =>
  expr?.kind === "literal" && expr.value === value;

function applied(expr: Expr | undefined, op: ScalarOp): readonly Expr[] | undefined {
  return expr?.kind === "apply" && expr.op === op ? expr.args : undefined;
}

/** `k % 2 * 4` of the depth k: where the code lies in its byte. */
function isPlaceInByte(expr: Expr | undefined, { depth }: Known): boolean {
  const [half, four] = applied(expr, "mul") ?? [];
  const [axis, two] = applied(half, "rem") ?? [];
  return (
    isLiteral(four, 4) && isLiteral(two, 2) && axis?.kind === "axis" && axis.name === depth.axis
  );
}

/** The bytes of codes of 4 bits: `(byte >> k % 2 * 4 & 15) - 8`, as `unpackInt4` declares it. */
function int4Codes(expr: Expr, known: Known): Load | undefined {
  const [half, eight] = applied(expr, "sub") ?? [];
  const [shifted, mask] = applied(half, "and") ?? [];
  const [byte, place] = applied(shifted, "shr") ?? [];
  if (!isLiteral(eight, 8) || !isLiteral(mask, 15) || !isPlaceInByte(place, known))
    return undefined;
  if (byte?.kind !== "load" || known.dtypes.get(byte.buffer) !== "u8") return undefined;
  const [axis, two] = applied(byte.index.at(-1), "div") ?? [];
  const isHalf = axis?.kind === "axis" && axis.name === known.depth.axis && isLiteral(two, 2);
  const rest = byte.index.slice(0, -1);
  return isHalf && rest.every((index) => !variesWith(index, known.depth)) ? byte : undefined;
}

/** Whole numbers in f32 times a scale of a dtype: what is converted, and the scale. */
function scaledCodes(
  expr: Expr,
  dtype: "f32" | "bf16",
  known: Known,
): { codes: Expr; scales: Scales } | undefined {
  const parts = applied(expr, "mul") ?? [];
  for (const part of parts) {
    const [codes] = applied(part, "to_f32") ?? [];
    const other = parts.find((each) => each !== part);
    const scales = other && scaleOf(other, dtype, known);
    if (codes && scales) return { codes, scales };
  }
  return undefined;
}

function integerDots(lhs: Expr, rhs: Expr, known: Known): IntegerDots | undefined {
  const x = scaledCodes(lhs, "f32", known);
  const w = scaledCodes(rhs, "bf16", known);
  if (!x || !w || x.scales.block !== X_GROUP || known.length % w.scales.block !== 0)
    return undefined;
  if (!alongDepth(x.codes, known)) return undefined;
  // By its dtype x has so many bits for certain: sums of 32 products stay within an i32, or an i16.
  const xBits = known.dtypes.get(x.codes.buffer);
  const left = { codes: x.codes, scale: x.scales.load };
  if (w.scales.shared !== undefined) return undefined;
  const common = { kind: "integers", depth: known.length, scales: w.scales, x: left } as const;
  if (alongDepth(w.codes, known))
    return areEven(w.codes, known) && known.dtypes.get(w.codes.buffer) === "i8" && xBits === "i16"
      ? { ...common, format: "int8", codes: w.codes }
      : undefined;
  const codes = xBits === "i8" ? int4Codes(w.codes, known) : undefined;
  return codes && areEven(codes, known) ? { ...common, format: "int4", codes } : undefined;
}

/** How a product is computed by dot products, if it is. Whole numbers are for any number of rows. */
export function chooseDots(
  { rows, columns, depth, lhs, rhs }: Contract,
  dtypes: ReadonlyMap<string, DType>,
  lets: ReadonlyMap<string, Expr>,
): DotsChoice | undefined {
  const length = depth.extent;
  if (depth.start || depth.end || typeof length !== "number") return undefined;
  if (length === 0 || length % DOT_DEPTH !== 0) return undefined;
  const along = (axis: string): Scope => ({ axis, lets, varying: new Set() });
  const known = { dtypes, length, depth: along(depth.axis), columns: along(columns.axis) };
  // The left side must not depend on the column, as everywhere, and the right one not on the row.
  if (variesWith(lhs, known.columns)) return undefined;
  const most = rows.start ? MOST_GROUPED_ROWS : MOST_ROWS;
  const floats = maxDim(rows.extent) <= most ? floatDots(rhs, known) : undefined;
  return floats ?? integerDots(lhs, rhs, known);
}
