/**
 * Reductions. In: ranges, values and how two partial results combine. Out: names of the results. One invocation folds in order;
 * a workgroup divides the elements among its invocations, lane by lane, and combines the partial results as a tree, first within
 * subgroups where there are any, in an order that is the same in every run.
 */
import type { Range, Reduce } from "@millrace/graph";
import { leftName, rightName } from "@millrace/graph";
import { hasBounds } from "../configure/accesses.ts";
import type { StatementEmitter } from "./statements.ts";
import type { Value } from "./values.ts";
import { integerValue, named } from "./values.ts";

type Accumulators = readonly string[];

/** Sums are compared with a tolerance: their order and contraction are the device's business. */
const loosely = (value: Value): Value => ({ ...value, loose: false });

function accumulators({ x }: StatementEmitter, reduce: Reduce): Accumulators {
  return reduce.identity.map((identity, i) => {
    const { name, type } = reduce.results[i]!;
    const text = x.settled(x.value(identity));
    const fresh = x.parts.names.fresh(name);
    x.writer.line(`var ${fresh}: ${type} = ${text};`);
    return fresh;
  });
}

/** `into = combine(into, values)`. */
function combineInto(
  { x }: StatementEmitter,
  reduce: Reduce,
  into: Accumulators,
  values: readonly Value[],
): void {
  x.scoped(() => {
    reduce.results.forEach(({ type }, i) => {
      x.bind(leftName(i), { ...named(into[i]!, type), changing: true });
      x.bind(rightName(i), loosely(values[i]!));
    });
    const combined = reduce.combine.map((expr) => x.value(expr).text);
    if (combined.length === 1) {
      x.writer.line(`${into[0]} = ${combined[0]};`);
      return;
    }
    // All components read the old ones before any is replaced.
    const next = combined.map((text) => {
      const fresh = x.parts.names.fresh("next");
      x.writer.line(`let ${fresh} = ${text};`);
      return fresh;
    });
    next.forEach((text, i) => x.writer.line(`${into[i]} = ${text};`));
  });
}

function accumulate(emitter: StatementEmitter, reduce: Reduce, into: Accumulators): void {
  const { x } = emitter;
  x.scoped(() => {
    for (const part of reduce.body)
      if (part.kind === "let") x.bind(part.name, x.hold(x.value(part.value), part.name));
    // Named, because `combine` may use them more than once.
    const values = reduce.values.map((expr) => {
      const value = loosely(x.value(expr));
      return reduce.results.length > 1 ? x.hold(value) : value;
    });
    combineInto(emitter, reduce, into, values);
  });
}

function nest(emitter: StatementEmitter, ranges: readonly Range[], body: () => void): void {
  const [range, ...inner] = ranges;
  if (!range) return body();
  emitter.loop(range, () => nest(emitter, inner, body));
}

function bindResults({ x }: StatementEmitter, reduce: Reduce, results: readonly string[]): void {
  reduce.results.forEach(({ name, type }, i) => x.bind(name, named(results[i]!, type)));
}

/** One invocation, in the order of the ranges. */
export function emitReduce(emitter: StatementEmitter, reduce: Reduce): void {
  const into = accumulators(emitter, reduce);
  nest(emitter, reduce.ranges, () => accumulate(emitter, reduce, into));
  bindResults(emitter, reduce, into);
}

/** All invocations of the workgroup. */
export function emitSharedReduce(emitter: StatementEmitter, reduce: Reduce): void {
  const { x, workgroup } = emitter;
  const { writer } = x;
  const into = accumulators(emitter, reduce);
  emitShares(emitter, reduce.ranges, () => accumulate(emitter, reduce, into));

  // Neighbours exchange their results; one of them goes on.
  const exchangeable = reduce.results.every(({ type }) => type !== "bool");
  const width = exchangeable ? emitter.exchangeWidth(workgroup) : 1;
  exchangeResults(emitter, reduce, into, width);
  const groups = workgroup / width;
  const partial = reduce.results.map(({ type }) =>
    emitter.share("partial", `array<${type}, ${groups}>`),
  );
  const put = (place: string): void =>
    partial.forEach((shared, i) => writer.line(`${shared}[${place}] = ${into[i]};`));
  if (width === 1) put("lane");
  else writer.block(`if (lane % ${width} == 0)`, () => put(`lane / ${width}`));
  writer.line("workgroupBarrier();");
  const half = x.parts.names.fresh("half");
  if (groups > 1)
    writer.block(
      `for (var ${half} = u32(${emitter.rolled(groups / 2)}); ${half} > 0u; ${half} >>= 1u)`,
      () => {
        writer.block(`if (lane < ${half})`, () => {
          const values = partial.map((shared, i): Value => {
            const fresh = x.define("other", `${shared}[lane + ${half}]`);
            return named(fresh, reduce.results[i]!.type);
          });
          if (width > 1) into.forEach((name, i) => writer.line(`${name} = ${partial[i]!}[lane];`));
          combineInto(emitter, reduce, into, values);
          put("lane");
        });
        writer.line("workgroupBarrier();");
      },
    );
  const results = reduce.results.map(({ name }, i) => {
    const fresh = x.parts.names.fresh(name);
    writer.line(`let ${fresh} = workgroupUniformLoad(&${partial[i]}[0]);`);
    return fresh;
  });
  bindResults(emitter, reduce, results);
}

/** Over one range, by `lanes` neighbours of which each is at a `place`; all of them get the results. */
export function emitRowReduce(
  emitter: StatementEmitter,
  reduce: Reduce,
  place: string,
  lanes: number,
): void {
  const into = accumulators(emitter, reduce);
  const share = { offset: place, step: lanes };
  emitter.loop(reduce.ranges[0]!, () => accumulate(emitter, reduce, into), share);
  exchangeResults(emitter, reduce, into, lanes);
  bindResults(emitter, reduce, into);
}

/** Combines the results of so many neighbours, by pairs; all of them then have the same. */
function exchangeResults(
  emitter: StatementEmitter,
  reduce: Reduce,
  into: Accumulators,
  width: number,
): void {
  for (let distance = 1; distance < width; distance *= 2) {
    const values = into.map((name, i): Value => {
      const other = emitter.x.define("other", emitter.exchange(name, distance));
      return named(other, reduce.results[i]!.type);
    });
    combineInto(emitter, reduce, into, values);
  }
}

/** Every workgroup-th element of the ranges, from the invocation's own number on. */
function emitShares(emitter: StatementEmitter, ranges: readonly Range[], body: () => void): void {
  const { x, workgroup } = emitter;
  const share = { offset: "i32(lane)", step: workgroup };
  if (ranges.length === 1 || ranges.some(hasBounds)) {
    const inner = ranges.at(-1)!;
    nest(emitter, ranges.slice(0, -1), () => emitter.loop(inner, body, share));
    return;
  }
  // All ranges as one, so that no invocation idles where the last one is short.
  const counts = ranges.map(({ extent, axis }) => x.extent(extent, axis));
  const total = counts.reduce(
    (product, count) => x.combine("mul", [product, count], "i32"),
    integerValue(1),
  );
  const element = x.parts.names.fresh("element");
  const last = x.hold(total).text;
  x.writer.block(
    `for (var ${element} = ${share.offset}; ${element} < ${last}; ${element} += ${share.step})`,
    () =>
      x.scoped(() => {
        let rest: Value = named(element, "i32");
        for (let i = ranges.length - 1; i > 0; i--) {
          x.bind(
            ranges[i]!.axis,
            x.hold(x.combine("rem", [rest, counts[i]!], "i32"), ranges[i]!.axis),
          );
          rest = x.combine("div", [rest, counts[i]!], "i32");
        }
        x.bind(ranges[0]!.axis, x.hold(rest, ranges[0]!.axis));
        body();
      }),
  );
}
