import fc from "fast-check";
import { expect, test } from "vitest";
import type { Expr } from "../expression.ts";
import { apply, axis, integer, sizeOf } from "../expression.ts";
import type { Dim } from "../shape.ts";
import { evaluateDim, maxDim, multiplyDims, size } from "../shape.ts";
import { simplify } from "./index-map.ts";

const T = size("T", 1, 9);
const S = size("S", 2, 5);
const extents: readonly Dim[] = [1, 2, 3, 7, T, S, multiplyDims(T, 3), multiplyDims(T, S)];

/** Non-negative index expressions over four axes, as index maps compose them. */
const expressions: fc.Arbitrary<Expr> = fc.letrec<{ expr: Expr }>((tie) => ({
  expr: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.nat({ max: extents.length - 1 }).map((i) => axis(`a${i}`, extents[i]!)),
    fc.constantFrom(0, 1, 2, 3, 6, 7).map(integer),
    fc.tuple(tie("expr"), tie("expr")).map(([x, y]) => apply("add", x, y)),
    fc
      .tuple(tie("expr"), fc.constantFrom(...extents))
      .map(([x, dim]) => apply("mul", x, sizeOf(dim))),
    fc
      .tuple(fc.constantFrom("div", "rem"), tie("expr"), fc.constantFrom(...extents))
      .map(([op, x, dim]) => apply(op as "div", x, sizeOf(dim))),
  ),
})).expr;

function evaluate(
  expr: Expr,
  axes: ReadonlyMap<string, number>,
  sizes: ReadonlyMap<string, number>,
): number {
  const value = (part: Expr): number => evaluate(part, axes, sizes);
  switch (expr.kind) {
    case "literal":
      return expr.value;
    case "axis":
      return axes.get(expr.name)!;
    case "size":
      return evaluateDim(expr.dim, sizes);
    case "apply": {
      const [x, y] = expr.args.map(value) as [number, number];
      const results: Partial<Record<typeof expr.op, number>> = {
        add: x + y,
        sub: x - y,
        neg: -x,
        mul: x * y,
        div: y === 0 ? 0 : Math.trunc(x / y),
        rem: y === 0 ? 0 : x % y,
        lt: Number(x < y),
        le: Number(x <= y),
        ge: Number(x >= y),
        gt: Number(x > y),
        eq: Number(x === y),
      };
      return results[expr.op]!;
    }
    default:
      return expect.fail(`no ${expr.kind} here`);
  }
}

const runs = fc.record({
  T: fc.integer({ min: 1, max: 9 }),
  S: fc.integer({ min: 2, max: 5 }),
  at: fc.array(fc.nat(), { minLength: extents.length, maxLength: extents.length }),
});

function check(expr: Expr, run: { T: number; S: number; at: readonly number[] }): void {
  const sizes = new Map(Object.entries({ T: run.T, S: run.S }));
  const axes = new Map(
    extents.map((dim, i) => [`a${i}`, run.at[i]! % evaluateDim(dim, sizes)] as const),
  );
  expect(evaluate(simplify(expr), axes, sizes)).toBe(evaluate(expr, axes, sizes));
}

test("a simplified index has the same value everywhere", () => {
  fc.assert(fc.property(expressions, runs, check), { numRuns: 3000 });
});

test("a decided comparison was decided rightly", () => {
  const comparisons = fc
    .tuple(fc.constantFrom("lt", "le", "gt", "ge", "eq"), expressions, expressions)
    .map(([op, x, y]) => apply(op as "lt", x, y));
  fc.assert(fc.property(comparisons, runs, check), { numRuns: 3000 });
});

test("splitting and merging axes cancel", () => {
  const [b, t, d] = [axis("b", 4), axis("t", T), axis("d", 8)];
  const row = apply("add", apply("mul", b, sizeOf(T)), t);
  const flat = apply("add", apply("mul", row, integer(8)), d);
  expect(simplify(apply("div", apply("div", flat, integer(8)), sizeOf(T)))).toEqual(b);
  expect(simplify(apply("rem", apply("div", flat, integer(8)), sizeOf(T)))).toEqual(t);
  expect(simplify(apply("rem", flat, integer(8)))).toEqual(d);
  expect(maxDim(multiplyDims(T, 8))).toBe(72);
});
