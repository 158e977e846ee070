/**
 * The backward pass of attention without a matrix of scores in memory. In: what queries, keys and values are, and what is known of each
 * row. Out: kernels in which scores are computed again from the logarithms that the forward pass kept: one over blocks of queries
 * and one over blocks of keys, so that no two iterations add to one place, or one over heads. Source: arXiv 2307.08691.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal } from "../expression.ts";
import type { Range, Statement } from "../kernel.ts";
import type { Blocks } from "./attention-blocks.ts";
import type { AttentionForm, Side, StoreVector, Vectors } from "./attention-form.ts";
import {
  add,
  along,
  array,
  div,
  eachBlock,
  eachVisibleBlock,
  fill,
  firstRow,
  get,
  loop,
  masked,
  mul,
  product,
  put,
  scores,
  serial,
  sidesOf,
  sub,
  sum,
} from "./attention-form.ts";
import { parallel } from "./group-body.ts";

/** Vectors in memory that are added to. */
export interface MemoryVectors {
  readonly store: StoreVector;
  readonly at: (index: Expr, d: Expr) => Expr;
}

/** What the backward pass knows of each row. */
export interface RowCotangents {
  /** Cotangent of the result. */
  readonly result: Vectors;
  /** Logarithm of the sum of the exponentials. */
  readonly logSum: (row: Expr) => Expr;
  /** Sum of cotangent times result, less the cotangent of `logSum`. */
  readonly along: (row: Expr) => Expr;
}

/** Weights, and cotangents of scores before scaling, in `weights` and `slopes`; these may be one array. */
function slopes(
  form: AttentionForm,
  ct: RowCotangents,
  sides: {
    readonly rows: Side;
    readonly columns: Side;
    readonly rowsAreKeys: boolean;
  },
  names: { readonly weights: string; readonly slopes: string },
): readonly Statement[] {
  const { rows, columns, rowsAreKeys } = sides;
  const [query, key] = rowsAreKeys ? [columns.index, rows.index] : [rows.index, columns.index];
  const place = [rows.inside, columns.inside];
  const d = along("d", form.values.width);
  const [lhs, rhs] = rowsAreKeys ? [form.values, ct.result] : [ct.result, form.values];
  return [
    ...scores(form, sides, names.weights, (score) => {
      const visible = masked(form, query, key, mul(score, literal(form.scale)));
      return apply("exp", sub(visible, ct.logSum(query)));
    }),
    product(
      { rows: rows.range, columns: columns.range, depth: d.range },
      lhs.at(rows.index, d.at),
      rhs.at(columns.index, d.at),
      put(
        names.slopes,
        place,
        mul(mul(get(names.weights, ...place), sub(sum, ct.along(query))), literal(form.scale)),
      ),
    ),
  ];
}

/** `name[row, d] += weights · vectors` over the columns of a block. */
function accumulate(
  name: string,
  weights: string,
  rows: Side,
  columns: Side,
  vectors: Vectors,
): Statement {
  const d = along("d", vectors.width);
  return product(
    { rows: rows.range, columns: d.range, depth: columns.range },
    get(weights, rows.inside, columns.inside),
    vectors.at(columns.index, d.at),
    put(name, [rows.inside, d.at], add(get(name, rows.inside, d.at), sum)),
  );
}

/** Stores what was accumulated. */
function storeAll(name: string, side: Side, width: number, store: StoreVector): Statement {
  const d = along("d", width);
  return loop(side.range, loop(d.range, store(side.index, d.at, get(name, side.inside, d.at))));
}

/** Cotangents of the queries, one store for each part. */
export function attentionQueryGradient(
  form: AttentionForm,
  blocks: Blocks,
  ct: RowCotangents,
  stores: readonly StoreVector[],
): readonly Statement[] {
  const { rows, keys } = sidesOf(form, blocks);
  const widths = form.parts.map(({ query }) => query.width);
  const sides = { rows, columns: keys, rowsAreKeys: false };
  const body: Statement[] = [
    array("slopes", rows.size, keys.size),
    ...widths.map((width, i) => array(`query${i}`, rows.size, width)),
    ...widths.map((width, i) => fill(rows, `query${i}`, width, literal(0))),
    eachVisibleBlock(form, rows, keys, [
      ...slopes(form, ct, sides, { weights: "slopes", slopes: "slopes" }),
      ...form.parts.map(({ key }, i) => accumulate(`query${i}`, "slopes", rows, keys, key)),
    ]),
    ...widths.map((width, i) => storeAll(`query${i}`, rows, width, stores[i]!)),
  ];
  return parallel(form.loops, [eachBlock(rows, "i", body)]);
}

/**
 * Cotangents of the keys, one store for each part, and of the values; without a store for these, the values are the keys'
 * first part, whose cotangent is the sum of both.
 */
export function attentionKeyGradient(
  form: AttentionForm,
  blocks: Blocks,
  ct: RowCotangents,
  stores: {
    readonly keys: readonly StoreVector[];
    readonly values?: StoreVector;
    /** Cotangents of the queries too, in memory: one iteration then goes over all blocks of keys. */
    readonly queries?: readonly MemoryVectors[];
  },
): readonly Statement[] {
  const { rows, keys } = sidesOf(form, blocks);
  const widths = form.parts.map(({ key }) => key.width);
  const sides = { rows: keys, columns: rows, rowsAreKeys: true };
  // Rows begin with the first that sees the block, or are whole blocks from the one it lies in.
  const start = blocks.long ? {} : { start: div(firstRow(form), integer(rows.size)) };
  const values = stores.values ? "values" : "key0";
  const sums: readonly [string, number, StoreVector][] = [
    ...widths.map((width, i): [string, number, StoreVector] => [`key${i}`, width, stores.keys[i]!]),
    ...(stores.values
      ? [["values", form.values.width, stores.values] as [string, number, StoreVector]]
      : []),
  ];
  const body: Statement[] = [
    array("weights", keys.size, rows.size),
    array("slopes", keys.size, rows.size),
    ...sums.map(([name, width]) => array(name, keys.size, width)),
    ...sums.map(([name, width]) => fill(keys, name, width, literal(0))),
    serial(
      { axis: "i", extent: rows.most, ...start, end: rows.blocks },
      ...rows.open(axis("i", rows.most)),
      ...slopes(form, ct, sides, { weights: "weights", slopes: "slopes" }),
      accumulate(values, "weights", keys, rows, ct.result),
      ...form.parts.map(({ query }, i) => accumulate(`key${i}`, "slopes", keys, rows, query)),
      ...form.parts.flatMap(({ key }, i) => {
        const target = stores.queries?.[i];
        return target ? [addToRows(rows, keys, key, target)] : [];
      }),
    ),
    ...sums.map(([name, width, store]) => storeAll(name, keys, width, store)),
  ];
  if (!stores.queries) return parallel(form.loops, [eachBlock(keys, "j", body)]);
  const end = keys.blocks.kind === "literal" ? {} : { end: keys.blocks };
  const all: Range = { axis: "r", extent: form.rows };
  return parallel(form.loops, [
    ...stores.queries.map(({ store }, i) => {
      const d = along("d", widths[i]!);
      return loop(all, loop(d.range, store(axis("r", form.rows), d.at, literal(0))));
    }),
    serial({ axis: "j", extent: keys.most, ...end }, ...keys.open(axis("j", keys.most)), ...body),
  ]);
}

/** Adds what the keys of a block give to the cotangents of its rows. */
function addToRows(rows: Side, keys: Side, key: Vectors, target: MemoryVectors): Statement {
  const d = along("d", key.width);
  return product(
    { rows: rows.range, columns: d.range, depth: keys.range },
    get("slopes", keys.inside, rows.inside),
    key.at(keys.index, d.at),
    target.store(rows.index, d.at, add(target.at(rows.index, d.at), sum)),
  );
}
