/**
 * Orders. In: a group whose hero is `top_k`, `sort` or `counting_sort`. Out: loops without scratch memory: selection for few
 * of many, ranks for a full sort, one pass per key for keys from a small range. All stable, so equal inputs give equal bits.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal, load, local } from "../expression.ts";
import type { Statement } from "../kernel.ts";
import { left, right } from "../kernel.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

const isNaNExpr = (x: Expr): Expr => apply("ne", x, x);
const both = (a: Expr, b: Expr): Expr => apply("and", a, b);
const either = (a: Expr, b: Expr): Expr => apply("or", a, b);
const not = (a: Expr): Expr => apply("not", a);

/** `a` comes before `b`: by value, NaN last. */
const before = (a: Expr, b: Expr, descending: boolean): Expr =>
  either(apply(descending ? "gt" : "lt", a, b), both(isNaNExpr(b), not(isNaNExpr(a))));

const equal = (a: Expr, b: Expr): Expr =>
  either(apply("eq", a, b), both(isNaNExpr(a), isNaNExpr(b)));

/** `a` at `i` comes before `b` at `j` in a stable order. */
const precedes = (a: Expr, i: Expr, b: Expr, j: Expr, descending: boolean): Expr =>
  either(before(a, b, descending), both(equal(a, b), apply("lt", i, j)));

export function lowerTopK(body: GroupBody): Call {
  const input = body.inputType(0);
  const [values] = body.hero.outputs;
  const last = input.shape.length - 1;
  const rows = axesOf(input.shape.slice(0, last), "i");
  const n = input.shape[last]!;
  const k = values!.shape[last]!;
  const source = body.buffer(body.hero.inputs[0]!, "read");
  const valueBuffer = body.buffer({ node: body.hero.id, output: 0 }, "write");
  const indexBuffer = body.buffer({ node: body.hero.id, output: 1 }, "write");
  const [r, j] = [axis("r", k), axis("j", n)];
  const candidate = load(source, [...rows.index, j], input.dtype);
  const type = candidate.type;
  const [x, best, bestAt] = [local("x", type), local("best", type), local("best_at", "i32")];
  const [previous, previousAt] = [local("previous", type), local("previous_at", "i32")];
  const isNone = (at: Expr): Expr => apply("lt", at, integer(0));
  const remains = either(isNone(previousAt), precedes(previous, previousAt, x, j, true));
  const better = either(isNone(bestAt), before(x, best, true));
  const assign = (name: string, value: Expr): Statement => ({ kind: "assign", name, value });
  const variable = (name: string, value: Expr): Statement => ({ kind: "variable", name, value });
  const store = (buffer: string, value: Expr): Statement => ({
    kind: "store",
    buffer,
    index: [...rows.index, r],
    value,
  });
  return body.call(
    parallel(rows.ranges, [
      variable("previous", literal(0, type)),
      variable("previous_at", integer(-1)),
      {
        kind: "loop",
        range: { axis: "r", extent: k },
        order: "serial",
        body: [
          variable("best", literal(0, type)),
          variable("best_at", integer(-1)),
          {
            kind: "loop",
            range: { axis: "j", extent: n },
            order: "serial",
            body: [
              { kind: "let", name: "x", value: candidate },
              {
                kind: "if",
                condition: both(remains, better),
                body: [assign("best", x), assign("best_at", j)],
              },
            ],
          },
          store(valueBuffer, best),
          store(indexBuffer, bestAt),
          assign("previous", best),
          assign("previous_at", bestAt),
        ],
      },
    ]),
  );
}

export function lowerSort(body: GroupBody): Call {
  const { descending } = body.hero.attrs as { descending: boolean };
  const input = body.inputType(0);
  const last = input.shape.length - 1;
  const rows = axesOf(input.shape.slice(0, last), "i");
  const n = input.shape[last]!;
  const source = body.buffer(body.hero.inputs[0]!, "read");
  const values = body.buffer({ node: body.hero.id, output: 0 }, "write");
  const indices = body.buffer({ node: body.hero.id, output: 1 }, "write");
  const [i, j] = [axis("i", n), axis("j", n)];
  const at = (index: Expr): Expr => load(source, [...rows.index, index], input.dtype);
  const x = local("x", at(j).type);
  const rank = local("rank", "i32");
  const target = [...rows.index, rank];
  return body.call(
    parallel(
      [...rows.ranges, { axis: "j", extent: n }],
      [
        { kind: "let", name: "x", value: at(j) },
        countWhere("rank", "i", n, precedes(at(i), i, x, j, descending)),
        { kind: "store", buffer: values, index: target, value: x },
        { kind: "store", buffer: indices, index: target, value: j },
      ],
    ),
  );
}

/** Keys from 0 to groups - 1: where each row goes, where it comes from, where each group begins. */
export function lowerCountingSort(body: GroupBody): Call {
  const n = body.inputType(0).shape[0]!;
  const hero = body.hero;
  const groups = hero.attrs["groups"] as number;
  const keys = body.buffer(hero.inputs[0]!, "read");
  const permutation = body.buffer({ node: hero.id, output: 0 }, "write");
  const inverse = body.buffer({ node: hero.id, output: 1 }, "write");
  const offsets = body.buffer({ node: hero.id, output: 2 }, "write");
  const [e, i] = [axis("e", groups), axis("i", n)];
  const g = axis("g", groups + 1);
  const keyAt = load(keys, [i], "i32");
  const [position, first] = [local("position", "i32"), local("first", "i32")];
  return body.call([
    ...parallel(
      [{ axis: "g", extent: groups + 1 }],
      [
        countWhere("first", "i", n, apply("lt", keyAt, g)),
        { kind: "store", buffer: offsets, index: [g], value: first },
      ],
    ),
    ...parallel(
      [{ axis: "e", extent: groups }],
      [
        countWhere("first", "i", n, apply("lt", keyAt, e)),
        { kind: "variable", name: "position", value: first },
        {
          kind: "loop",
          range: { axis: "i", extent: n },
          order: "serial",
          body: [
            {
              kind: "if",
              condition: apply("eq", keyAt, e),
              body: [
                { kind: "store", buffer: permutation, index: [position], value: i },
                { kind: "store", buffer: inverse, index: [i], value: position },
                {
                  kind: "assign",
                  name: "position",
                  value: apply("add", position, integer(1)),
                },
              ],
            },
          ],
        },
      ],
    ),
  ]);
}

/** How many `over` fulfil a condition. */
function countWhere(
  name: string,
  over: string,
  extent: Parameters<typeof axis>[1],
  condition: Expr,
): Statement {
  return {
    kind: "reduce",
    ranges: [{ axis: over, extent }],
    results: [{ name, type: "i32" }],
    identity: [integer(0)],
    body: [],
    values: [apply("to_i32", condition)],
    combine: [apply("add", local(left(0), "i32"), local(right(0), "i32"))],
  };
}
