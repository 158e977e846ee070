/**
 * An expression for four neighbours at once. In: an expression, an axis and a multiple of four of it. Out: its values there and at
 * the next three, where loads that lie side by side are one read and what does not move with the axis is computed once.
 */
import type { Expr } from "@millrace/graph";
import { isSteady, loadsQuad, quad } from "../configure/accesses.ts";
import type { Expressions } from "./expressions.ts";
import type { Value } from "./values.ts";
import { integerValue, named } from "./values.ts";

const places: readonly number[] = Array.from({ length: quad }, (_, place) => place);

/** The four values; names of `x` other than the axis are bound. */
export function quadValues(
  x: Expressions,
  expr: Expr,
  axis: string,
  first: Value,
): readonly Value[] {
  const at = (place: number): Value => {
    x.bind(axis, x.combine("add", [first, integerValue(place)], "i32"));
    return x.value(expr);
  };
  if (isSteady(expr, axis)) {
    const value = expr.kind === "load" ? at(0) : x.hold(at(0));
    return places.map(() => value);
  }
  const inside = (part: Expr): readonly Value[] => quadValues(x, part, axis, first);
  switch (expr.kind) {
    case "load": {
      if (x.array(expr.buffer)) return places.map(at);
      const { shape } = x.parts.kernel.buffers[x.bufferIndex(expr.buffer)]!;
      if (!loadsQuad(expr, axis, shape)) return places.map(at);
      x.bind(axis, first);
      const start = x.hold(x.offset(expr.buffer, expr.index), "at").text;
      const { reads, of } = x.storage(expr.buffer).quad(start);
      const names = reads.map((read) => {
        const fresh = x.parts.names.fresh("x");
        x.writer.line(`let ${fresh} = ${read};`);
        return fresh;
      });
      return of(names).map((text) => ({ text, type: expr.type, atom: false }));
    }
    case "round": {
      const { dtype } = expr;
      return inside(expr.value).map((value) => x.rounded(value, dtype));
    }
    case "apply": {
      if (expr.op === "select") return selectQuad(x, expr.args, axis, first) ?? places.map(at);
      const args = expr.args.map(inside);
      return places.map((place) =>
        x.combine(
          expr.op,
          args.map((values) => values[place]!),
          expr.type,
        ),
      );
    }
    default:
      return places.map(at);
  }
}

/** A choice that is the same for all four is made once; `undefined` where it is not. */
function selectQuad(
  x: Expressions,
  [condition, yes, no]: readonly Expr[],
  axis: string,
  first: Value,
): readonly Value[] | undefined {
  if (!isSteady(condition!, axis)) return undefined;
  x.bind(axis, first);
  const test = x.hold(x.value(condition!), "test").text;
  const { type } = yes!;
  const names = places.map(() => {
    const fresh = x.parts.names.fresh("s");
    x.writer.line(`var ${fresh}: ${type};`);
    return fresh;
  });
  const assign = (branch: Expr) => (): void =>
    x.scoped(() =>
      quadValues(x, branch, axis, first).forEach((value, place) =>
        x.writer.line(`${names[place]!} = ${x.settled(value)};`),
      ),
    );
  x.writer.branch(test, assign(yes!), assign(no!));
  return names.map((name) => named(name, type));
}
