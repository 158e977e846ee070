/**
 * Attention in one pass over the keys, without a matrix of scores in memory. In: what queries, keys and values are, and the size of
 * blocks. Out: a kernel over blocks of queries; each goes over the keys and keeps a running maximum, sum and result. Blocks of keys
 * that no query of a block sees are left out. Keys are summed in blocks from the first on, so a query's result does not depend on
 * which others come with it. Source: arXiv 2205.14135.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal, local, select } from "../expression.ts";
import type { Range, Statement } from "../kernel.ts";
import { left, right } from "../kernel.ts";
import type { Blocks } from "./attention-blocks.ts";
import type { AttentionForm, StoreNumber, StoreVector } from "./attention-form.ts";
import {
  add,
  along,
  array,
  define,
  div,
  eachBlock,
  eachVisibleBlock,
  fill,
  get,
  loop,
  masked,
  max,
  mul,
  named,
  nothing,
  product,
  put,
  scores,
  sidesOf,
  sub,
  sum,
} from "./attention-form.ts";
import { parallel } from "./group-body.ts";

function reduceRow(name: string, op: "add" | "max", range: Range, value: Expr): Statement {
  return {
    kind: "reduce",
    ranges: [range],
    results: [{ name, type: "f32" }],
    identity: [op === "add" ? literal(0) : nothing],
    body: [],
    values: [value],
    combine: [apply(op, local(left(0), "f32"), local(right(0), "f32"))],
  };
}

/** Keys that are added up side by side: sums over multiples of it have one order. */
const LINE = 16;
const wholeLines = (count: Expr): Expr =>
  mul(div(add(count, integer(LINE - 1)), integer(LINE)), integer(LINE));

/** The result and the logarithm of the sum of exponentials, for each row. */
export function attentionForward(
  form: AttentionForm,
  blocks: Blocks,
  stores: { readonly result: StoreVector; readonly logSum: StoreNumber },
): readonly Statement[] {
  const { rows, keys } = sidesOf(form, blocks);
  const { width } = form.values;
  const d = along("d", width);
  // All of a block, or whole lines of it, whatever part is keys: sums are then added in the same order for any number of keys.
  const all: Range = { axis: "c", extent: keys.size, ...(blocks.long && { end: named("lines") }) };
  const c = axis("c", keys.size);
  const [r, f32] = [rows.inside, (name: string): Expr => local(name, "f32")];
  const element = get("scores", r, c);
  const beyond: Range = { ...all, ...(keys.range.end && { start: keys.range.end }) };
  const scale = literal(form.scale);
  const body: Statement[] = [
    array("scores", rows.size, keys.size),
    array("result", rows.size, width),
    array("largest", rows.size),
    array("total", rows.size),
    array("factor", rows.size),
    loop(rows.range, put("largest", [r], nothing), put("total", [r], literal(0))),
    fill(rows, "result", width, literal(0)),
    eachVisibleBlock(form, rows, keys, [
      ...(blocks.long ? [define("lines", wholeLines(keys.range.end!))] : []),
      ...scores(form, { rows, columns: keys, rowsAreKeys: false }, "scores", (score) =>
        masked(form, rows.index, keys.index, mul(score, scale)),
      ),
      ...(beyond.start ? [loop(rows.range, loop(beyond, put("scores", [r, c], nothing)))] : []),
      loop(
        rows.range,
        reduceRow("top", "max", all, element),
        define("before", get("largest", r)),
        define("now", max(f32("before"), f32("top"))),
        // Less nothing, where nothing is seen so far: exponentials are then 0.
        define("less", select(apply("eq", f32("now"), nothing), literal(0), f32("now"))),
        define("shrink", apply("exp", sub(f32("before"), f32("less")))),
        put("largest", [r], f32("now")),
        put("factor", [r], f32("shrink")),
        loop(all, put("scores", [r, c], apply("exp", sub(element, f32("less"))))),
        reduceRow("sum", "add", all, element),
        put("total", [r], add(mul(get("total", r), f32("shrink")), f32("sum"))),
      ),
      product(
        { rows: rows.range, columns: d.range, depth: keys.range },
        get("scores", r, keys.inside),
        form.values.at(keys.index, d.at),
        put("result", [r, d.at], add(mul(get("result", r, d.at), get("factor", r)), sum)),
      ),
    ]),
    loop(
      rows.range,
      define("whole", get("total", r)),
      loop(d.range, stores.result(rows.index, d.at, div(get("result", r, d.at), f32("whole")))),
      stores.logSum(rows.index, add(get("largest", r), apply("log", f32("whole")))),
    ),
  ];
  return parallel(form.loops, [eachBlock(rows, "i", body)]);
}
