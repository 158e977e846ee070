/**
 * Loops. In: a range and how many iterations run at once. Out: a loop of four lanes followed by one for the rest, or a
 * plain one.
 */
import type { Range } from "@millrace/graph";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Value } from "./values.ts";

/** First and last index of a range in this run, `end` never below `start`. */
export interface Bounds {
  readonly start: number | Local;
  readonly end: number | Local;
  /** A `start` that is not known yet is a multiple of 4. */
  readonly aligned?: boolean;
  /** There are 4, 8, … iterations, or none. */
  readonly whole?: boolean;
}

/** Bounds of a range. */
export function boundsOf(k: KernelEmitter, range: Range): Bounds {
  const { table } = k;
  const start = range.start ? k.value(range.start) : table.integer(0);
  const end = range.end ? k.value(range.end) : k.dim(range.extent);
  // A loaded end may lie before its start; sizes never do.
  const ordered = range.start ? table.apply("max", [start, end]) : end;
  return { start: k.bound(start), end: k.bound(ordered) };
}

const asValue = (k: KernelEmitter, bound: number | Local): Value =>
  typeof bound === "number"
    ? k.table.integer(bound)
    : k.table.local(bound, "i32", k.e.depth, { natural: true });

/** `end` rounded down so that whole groups of `step` fit from `start` on. */
export function endOfGroups(
  k: KernelEmitter,
  { start, end, whole }: Bounds,
  step: number,
): number | Local {
  if (whole && step === 4) return end;
  if (typeof start === "number" && typeof end === "number")
    return start + Math.floor((end - start) / step) * step;
  const { table } = k;
  const [first, last] = [asValue(k, start), asValue(k, end)];
  const length = table.apply("sub", [last, first]);
  const grouped = table.apply("and", [length, table.integer(-step)]);
  return k.e.hold(table.apply("add", [first, grouped]));
}

/** Runs each body for four values of the axis at a time, one body after the other. */
export function lanesLoop(
  k: KernelEmitter,
  axis: string,
  bounds: Bounds,
  ...bodies: readonly (() => void)[]
): void {
  lanesLoopOf(k, axis, bounds, bodies.length, (places) =>
    places.forEach((within, i) => within(bodies[i]!)),
  );
}

/** Runs code in one of several places side by side: its names are its own and stay, its axis has four values. */
export type Place = (body: () => void) => void;

/** Places side by side, each four further along the axis than the one before. */
export function placesAlong(
  k: KernelEmitter,
  axis: string,
  first: Value,
  count: number,
): readonly Place[] {
  return Array.from({ length: count }, (_, i) => {
    const scope = k.scope();
    scope(() => k.bindLanes(axis, first, 4 * i));
    return (body) =>
      scope(() => {
        const outer = k.lanes;
        k.lanes = true;
        body();
        k.lanes = outer;
      });
  });
}

/** Runs `body` for `count` times four values of the axis; each place binds the axis to four of them. */
export function lanesLoopOf(
  k: KernelEmitter,
  axis: string,
  bounds: Bounds,
  count: number,
  body: (places: readonly Place[]) => void,
): void {
  k.e.loop({ ...bounds, step: 4 * count }, (index) => {
    const counter = k.counter(index);
    const { start, aligned } = bounds;
    if (typeof start === "number" ? start % 4 === 0 : aligned) k.markAligned(counter);
    body(placesAlong(k, axis, counter, count));
  });
}

/** Runs `body` for each value of the axis. */
export function plainLoop(k: KernelEmitter, axis: string, bounds: Bounds, body: () => void): void {
  k.e.loop(bounds, (index) =>
    k.scoped(() => {
      k.bind(axis, k.counter(index));
      body();
    }),
  );
}
