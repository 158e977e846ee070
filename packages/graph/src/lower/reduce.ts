/**
 * Reductions and cumulative sums. In: a group whose hero is one. Out: parallel loops over the kept axes around a `reduce`
 * over the others, or a serial loop that carries the running sum.
 */
import { InternalError } from "../errors.ts";
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal, local, scalarType, sizeOf } from "../expression.ts";
import type { Statement } from "../kernel.ts";
import { left, right } from "../kernel.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

export function lowerReduction(body: GroupBody): Call {
  const { op, attrs, outputs } = body.hero;
  if (op.body.class !== "reduction")
    throw new InternalError({ what: `${op.name} is no reduction` });
  const reduction = op.body;
  const input = body.inputType(0);
  const context = { attrs, inputs: [input] };
  const axes = reduction.axes(context);
  const kept = axesOf(outputs[0]!.shape, "i");
  const reduced = axesOf(
    axes.map((at) => input.shape[at]!),
    "k",
  );
  let next = 0;
  const index = input.shape.map((_, at) =>
    axes.includes(at) ? reduced.index[axes.indexOf(at)]! : kept.index[next++]!,
  );
  const position = reduced.index.reduce<Expr>(
    (linear, at, i) => apply("add", apply("mul", linear, sizeOf(reduced.ranges[i]!.extent)), at),
    integer(0),
  );
  const { lets, exprs: values } = body.share(
    reduction.lift(body.operand(0, index), position, context),
  );
  const identity = reduction.identity(context);
  const results = identity.map(({ type }, i) => ({ name: `r_${i}`, type }));
  const side = (name: (i: number) => string): Expr[] =>
    results.map(({ type }, i) => local(name(i), type));
  const reduce: Statement = {
    kind: "reduce",
    ranges: reduced.ranges,
    results,
    identity,
    body: lets,
    values,
    combine: reduction.combine(side(left), side(right)),
  };
  const tuple = results.map(({ name, type }) => local(name, type));
  body.setHero(kept.index, reduction.finish(tuple, context));
  return body.call(parallel(kept.ranges, [reduce, ...body.storeAll(kept.index)]));
}

export function lowerCumulativeSum(body: GroupBody): Call {
  const {
    axis: along,
    exclusive,
    reverse,
  } = body.hero.attrs as {
    axis: number;
    exclusive: boolean;
    reverse: boolean;
  };
  const type = body.hero.outputs[0]!;
  const { ranges, index } = axesOf(type.shape, "i");
  const extent = type.shape[along]!;
  const step = axis(`i${along}`, extent);
  const at = reverse ? apply("sub", apply("sub", sizeOf(extent), integer(1)), step) : step;
  const { lets, exprs } = body.share([body.operand(0, index.with(along, at))]);
  const register = scalarType(type.dtype);
  const total = local("total", register);
  const add: Statement = {
    kind: "assign",
    name: "total",
    value: apply("add", total, exprs[0]!),
  };
  body.setHero(index, total);
  const store = body.storeAll(index.with(along, at));
  const inner: readonly Statement[] = exclusive
    ? [...lets, ...store, add]
    : [...lets, add, ...store];
  const outer = ranges.toSpliced(along, 1);
  return body.call(
    parallel(outer, [
      { kind: "variable", name: "total", value: literal(0, register) },
      { kind: "loop", range: ranges[along]!, order: "serial", body: inner },
    ]),
  );
}
