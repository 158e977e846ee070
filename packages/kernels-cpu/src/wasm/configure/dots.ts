/**
 * Which products are computed as dot products, weight row by weight row, without panels: few rows of x times a weight that is
 * contiguous along the depth. In: a product's operands. Out: where its codes and scales are, or nothing. Several partial sums
 * run side by side, so the order of additions differs from the tiles'; hence this is chosen by the largest number of rows a
 * program may have, and all runs of it add alike.
 */
import type { Contract, DType, Expr } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import { variesWith } from "./stride.ts";
import type { Scope } from "./stride.ts";

export type Load = Extract<Expr, { kind: "load" }>;

/** Weights of floats: values, or codes with one scale for `block` neighbours. */
export interface FloatDots {
  readonly kind: "floats";
  readonly dtype: "f32" | "f16" | "bf16" | "e4m3fn";
  readonly codes: Load;
  /** The scale changes every `block` elements of the depth. */
  readonly scales: { readonly load: Load; readonly block: number } | undefined;
}

export type DotsChoice = FloatDots;

/** Steps of the depth in one turn of the inner loop; depths and blocks are multiples of it. */
export const DOT_DEPTH = 32;
/** More rows are faster by tiles, where the right side is packed once for all. */
const MOST_ROWS = 4;
/** Rows of one group of many are few in each group as a rule. */
const MOST_GROUPED_ROWS = 64;

interface Known {
  readonly dtypes: ReadonlyMap<string, DType>;
  readonly depth: Scope;
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

/** An f32 that changes every so many steps of the depth, or not at all. */
function scaleOf(expr: Expr, { dtypes, depth, length }: Known): FloatDots["scales"] {
  if (expr.kind !== "load" || dtypes.get(expr.buffer) !== "f32") return undefined;
  const last = expr.index.at(-1);
  if (expr.index.slice(0, -1).some((index) => variesWith(index, depth))) return undefined;
  if (!last || !variesWith(last, depth)) return { load: expr, block: length };
  if (last.kind !== "apply" || last.op !== "div") return undefined;
  const [axis, size] = last.args as [Expr, Expr];
  if (axis.kind !== "axis" || axis.name !== depth.axis || size.kind !== "literal") return undefined;
  return size.value % DOT_DEPTH === 0 ? { load: expr, block: size.value } : undefined;
}

function floatDots(rhs: Expr, known: Known): FloatDots | undefined {
  const parts = rhs.kind === "apply" && rhs.op === "mul" ? rhs.args : [rhs];
  for (const codes of parts) {
    if (!alongDepth(codes, known)) continue;
    const dtype = known.dtypes.get(codes.buffer);
    if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16" && dtype !== "e4m3fn") continue;
    const other = parts.find((part) => part !== codes);
    const scales = other && scaleOf(other, known);
    if (parts.length === 1 || scales) return { kind: "floats", dtype, codes, scales };
  }
  return undefined;
}

/** How a product is computed by dot products, if it is. */
export function chooseDots(
  { rows, columns, depth, lhs, rhs }: Contract,
  dtypes: ReadonlyMap<string, DType>,
  lets: ReadonlyMap<string, Expr>,
): DotsChoice | undefined {
  const length = depth.extent;
  if (depth.start || depth.end || typeof length !== "number") return undefined;
  if (length === 0 || length % DOT_DEPTH !== 0) return undefined;
  const most = rows.start ? MOST_GROUPED_ROWS : MOST_ROWS;
  if (maxDim(rows.extent) > most) return undefined;
  const known: Known = { dtypes, length, depth: { axis: depth.axis, lets, varying: new Set() } };
  // The left side must not depend on the column, as everywhere, and the right one not on the row.
  const byColumn: Scope = { axis: columns.axis, lets, varying: new Set() };
  if (variesWith(lhs, byColumn)) return undefined;
  return floatDots(rhs, known);
}
