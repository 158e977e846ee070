/**
 * What the kernels of attention are made of. In: what queries, keys and values are, as expressions. Out: blocks of queries and of keys,
 * loops over them, and the scores of a block. A *row* is a query of one head. Shared by the forward and the backward pass.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal, load, local, select, sizeOf } from "../expression.ts";
import type { Range, Statement } from "../kernel.ts";
import type { Dim } from "../shape.ts";
import { maxDim } from "../shape.ts";
import type { Blocks } from "./attention-blocks.ts";

/** Something of each query or each key: element `d` of it, of `width`. */
export interface Vectors {
  readonly width: number;
  readonly at: (index: Expr, d: Expr) => Expr;
}

/** All queries that meet the same keys: a *row* is a query of one head, heads of one token next to each other. */
export interface AttentionForm {
  /** Batch and, where there are several, heads of keys. */
  readonly loops: readonly Range[];
  readonly rows: Dim;
  /** Rows of one token. */
  readonly perToken: number;
  readonly keys: Dim;
  /** Scores are the sum of these products. */
  readonly parts: readonly { readonly query: Vectors; readonly key: Vectors }[];
  readonly values: Vectors;
  /** Position of token 0. */
  readonly start: Expr;
  /** Whether two tokens are of one sample; absent where all are. */
  readonly sameSegment?: (query: Expr, key: Expr) => Expr;
  readonly scale: number;
}

/** Stores something of a row or a key. */
export type StoreNumber = (index: Expr, value: Expr) => Statement;
export type StoreVector = (index: Expr, d: Expr, value: Expr) => Statement;

export const add = (a: Expr, b: Expr): Expr => apply("add", a, b);
export const sub = (a: Expr, b: Expr): Expr => apply("sub", a, b);
export const mul = (a: Expr, b: Expr): Expr => apply("mul", a, b);
export const div = (a: Expr, b: Expr): Expr => apply("div", a, b);
export const min = (a: Expr, b: Expr): Expr => apply("min", a, b);
export const max = (a: Expr, b: Expr): Expr => apply("max", a, b);
export const named = (name: string): Expr => local(name, "i32");
export const nothing: Expr = literal(Number.NEGATIVE_INFINITY);

export const define = (name: string, value: Expr): Statement => ({ kind: "let", name, value });
export const array = (name: string, ...shape: number[]): Statement => ({
  kind: "array",
  name,
  dtype: "f32",
  shape,
});
export const put = (name: string, index: readonly Expr[], value: Expr): Statement => ({
  kind: "store",
  buffer: name,
  index,
  value,
});
export const get = (name: string, ...index: Expr[]): Expr => load(name, index, "f32");
export const loop = (range: Range, ...body: Statement[]): Statement => ({
  kind: "loop",
  range,
  order: "parallel",
  body,
});
export const serial = (range: Range, ...body: Statement[]): Statement => ({
  kind: "loop",
  range,
  order: "serial",
  body,
});
export const product = (
  ranges: { readonly rows: Range; readonly columns: Range; readonly depth: Range },
  lhs: Expr,
  rhs: Expr,
  ...body: Statement[]
): Statement => ({ kind: "contract", ...ranges, lhs, rhs, result: "product", body });
export const sum: Expr = local("product", "f32");

/** One side of the scores, cut into blocks: its rows or its keys, all of them or a stretch. */
export interface Side {
  /** Elements of one block. */
  readonly size: number;
  /** Blocks at most. */
  readonly most: number;
  /** Blocks of this run. */
  readonly blocks: Expr;
  /** The elements of the block at hand. */
  readonly range: Range;
  /** Element of the block at hand, in it and in all. */
  readonly inside: Expr;
  readonly index: Expr;
  /** Names the first element and the number of elements of block `at`. */
  readonly open: (at: Expr) => readonly Statement[];
}

function sideOf(
  extent: Dim,
  size: number,
  name: string,
  { start, end }: { readonly start?: Expr; readonly end?: Expr } = {},
): Side {
  const whole = !start && !end && typeof extent === "number" && extent % size === 0;
  const [first, count] = [`${name}_first`, `${name}_count`];
  const inside = axis(name, size);
  const last = end ?? sizeOf(extent);
  const open = (at: Expr): readonly Statement[] => {
    const offset = mul(at, integer(size));
    return [
      define(first, start ? add(start, offset) : offset),
      ...(whole ? [] : [define(count, min(integer(size), sub(last, named(first))))]),
    ];
  };
  return {
    size,
    most: Math.ceil(maxDim(extent) / size),
    blocks: blocksOf(start ? sub(last, start) : last, size),
    range: { axis: name, extent: size, ...(!whole && { end: named(count) }) },
    inside,
    index: add(named(first), inside),
    open,
  };
}

/** The number of blocks of `size` that hold `count` elements. */
const blocksOf = (count: Expr, size: number): Expr =>
  count.kind === "literal"
    ? integer(Math.ceil(count.value / size))
    : div(add(count, integer(size - 1)), integer(size));

/** Both sides of a kernel, as its blocks cut them. */
export function sidesOf(form: AttentionForm, blocks: Blocks): { rows: Side; keys: Side } {
  const { rows, keys, long } = blocks;
  return {
    rows: sideOf(form.rows, rows, "r", long === "rows" ? { start: firstRow(form) } : {}),
    keys: sideOf(form.keys, keys, "c", long === "keys" ? { end: visibleKeys(form, rows) } : {}),
  };
}

/** The first row that sees the first key of the block at hand. */
export const firstRow = ({ start, perToken }: AttentionForm): Expr =>
  max(mul(sub(named("c_first"), start), integer(perToken)), integer(0));

/** The number of keys that the `size` rows of the block at hand see. */
function visibleKeys(form: AttentionForm, size: number): Expr {
  const last = sub(min(add(named("r_first"), integer(size)), sizeOf(form.rows)), integer(1));
  const token = form.perToken === 1 ? last : div(last, integer(form.perToken));
  return min(add(add(token, form.start), integer(1)), sizeOf(form.keys));
}

/** A loop over the blocks of a side, the long and the short ones of a triangle alternating, so that stretches of it take equally long. */
export function eachBlock(side: Side, name: string, body: readonly Statement[]): Statement {
  const at = axis(name, side.most);
  const half = div(at, integer(2));
  const even = apply("eq", apply("rem", at, integer(2)), integer(0));
  const last = sub(side.blocks, integer(1));
  const end = side.blocks.kind === "literal" ? {} : { end: side.blocks };
  return loop(
    { axis: name, extent: side.most, ...end },
    define(`${name}_block`, select(even, half, sub(last, half))),
    ...side.open(named(`${name}_block`)),
    ...body,
  );
}

export const along = (name: string, extent: number): { range: Range; at: Expr } => ({
  range: { axis: name, extent },
  at: axis(name, extent),
});

/** A score as it is, or minus infinity where the row does not see the key. */
export function masked(form: AttentionForm, row: Expr, key: Expr, score: Expr): Expr {
  const { perToken, start, sameSegment } = form;
  // row / perToken + start >= key, without a division.
  const sees = apply("ge", row, mul(sub(key, start), integer(perToken)));
  const token = perToken === 1 ? row : div(row, integer(perToken));
  const visible = sameSegment ? apply("and", sees, sameSegment(token, key)) : sees;
  return select(visible, score, nothing);
}

/** A loop over the blocks of keys that the rows of the block at hand see, from the first on. */
export function eachVisibleBlock(
  form: AttentionForm,
  rows: Side,
  keys: Side,
  body: readonly Statement[],
): Statement {
  return serial(
    { axis: "j", extent: keys.most, end: blocksOf(visibleKeys(form, rows.size), keys.size) },
    ...keys.open(axis("j", keys.most)),
    ...body,
  );
}

/** Products of all parts, `finish`ed after the last; `target` holds those before. */
export function scores(
  form: AttentionForm,
  sides: { readonly rows: Side; readonly columns: Side; readonly rowsAreKeys: boolean },
  target: string,
  finish: (score: Expr) => Expr,
): readonly Statement[] {
  const { rows, columns, rowsAreKeys } = sides;
  const place = [rows.inside, columns.inside];
  return form.parts.map(({ query, key }, i) => {
    const depth = along("d", query.width);
    const [lhs, rhs] = rowsAreKeys ? [key, query] : [query, key];
    const total = i === 0 ? sum : add(get(target, ...place), sum);
    return product(
      { rows: rows.range, columns: columns.range, depth: depth.range },
      lhs.at(rows.index, depth.at),
      rhs.at(columns.index, depth.at),
      put(target, place, i === form.parts.length - 1 ? finish(total) : total),
    );
  });
}

/** `name[row, d] = value` for all of a block. */
export function fill(side: Side, name: string, width: number, value: Expr): Statement {
  const d = along("d", width);
  return loop(side.range, loop(d.range, put(name, [side.inside, d.at], value)));
}
