/**
 * Reductions. In: ranges, values and how two partial results combine. Out: locals with the results. In lanes, four registers of
 * four partial results run side by side over the innermost range, one where it is short. Registers and then lanes are combined as
 * ((0,1),(2,3)), then with the rest, so the order is the same in every run.
 */
import type { Range, Reduce } from "@millrace/graph";
import { leftName, maxDim, rightName } from "@millrace/graph";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Place } from "./loop.ts";
import { boundsOf, endOfGroups, lanesLoop, plainLoop } from "./loop.ts";
import type { Value } from "./values.ts";

type Accumulators = readonly Local[];

function accumulators(k: KernelEmitter, reduce: Reduce, vector: boolean): Accumulators {
  return reduce.identity.map((identity) => {
    const value = k.value(identity);
    const type = value.type === "f32" ? "f32" : "i32";
    const local = k.f.local(vector ? "v128" : type);
    k.e.emit(vector ? k.table.splat(value) : value);
    k.f.set(local);
    return local;
  });
}

/** `into = combine(into, values)`. */
function combineInto(
  k: KernelEmitter,
  reduce: Reduce,
  into: Accumulators,
  values: readonly Value[],
): void {
  k.scoped(() => {
    reduce.results.forEach(({ type }, i) => {
      const left = k.table.local(into[i]!, type, k.e.depth, { volatile: true });
      k.bind(leftName(i), left);
      k.bind(rightName(i), values[i]!);
    });
    reduce.combine.forEach((expr, i) => {
      const combined = k.value(expr);
      k.e.emit(into[i]!.type === "v128" ? k.table.splat(combined) : combined);
    });
    for (const local of into.toReversed()) k.f.set(local);
  });
}

function accumulate(k: KernelEmitter, reduce: Reduce, into: Accumulators): void {
  k.block(reduce.body, () => {
    const values = reduce.values.map((expr) => k.value(expr));
    combineInto(k, reduce, into, values);
  });
}

/** Axes and their values. */
type Axes = readonly (readonly [string, Value])[];

/** Opens a loop for each range, outermost first. `body` is given their axes. */
function nest(
  k: KernelEmitter,
  ranges: readonly Range[],
  body: (axes: Axes) => void,
  outer: Axes = [],
): void {
  const [range, ...inner] = ranges;
  if (!range) {
    body(outer);
    return;
  }
  const { axis } = range;
  plainLoop(k, axis, boundsOf(k, range), () =>
    nest(k, inner, body, [...outer, [axis, k.axis(axis)]]),
  );
}

/** One lane of the accumulators, as scalars. */
function laneOf(k: KernelEmitter, reduce: Reduce, vectors: Accumulators, lane: number): Local[] {
  const { f } = k;
  return vectors.map((vector, i) => {
    const { type } = reduce.results[i]!;
    f.get(vector);
    f.lane(type === "f32" ? "f32x4.extract_lane" : "i32x4.extract_lane", lane);
    if (type === "bool") {
      f.i32(1);
      f.op("i32.and");
    }
    return f.save(type === "f32" ? "f32" : "i32");
  });
}

function asValues(k: KernelEmitter, reduce: Reduce, locals: readonly Local[]): Value[] {
  return locals.map((local, i) =>
    k.table.local(local, reduce.results[i]!.type, k.e.depth, { volatile: true }),
  );
}

/** Registers that sums run in side by side: one waits for the addition before. */
export const REGISTERS = 4;
/** Elements from which a range is long enough for them. */
const LONG = 64;
/** Whether sums of it had better run side by side. */
export const isLong = ({ ranges }: Reduce): boolean => maxDim(ranges.at(-1)!.extent) >= LONG;

function reduceInLanes(k: KernelEmitter, reduce: Reduce): Accumulators {
  const inner = reduce.ranges.at(-1)!;
  const count = isLong(reduce) ? REGISTERS : 1;
  const registers = Array.from({ length: count }, () => accumulators(k, reduce, true));
  const rest = accumulators(k, reduce, false);
  const [vectors] = registers as [Accumulators];
  let hasRest = true;
  nest(k, reduce.ranges.slice(0, -1), () => {
    const bounds = boundsOf(k, inner);
    const groups = count === 1 ? bounds.start : endOfGroups(k, bounds, 4 * count);
    const middle = endOfGroups(k, bounds, 4);
    hasRest = typeof middle !== "number" || middle !== bounds.end;
    if (count > 1)
      lanesLoop(
        k,
        inner.axis,
        { start: bounds.start, end: groups },
        ...registers.map((into) => (): void => accumulate(k, reduce, into)),
      );
    if (groups !== middle)
      lanesLoop(k, inner.axis, { start: groups, end: middle }, () =>
        accumulate(k, reduce, vectors),
      );
    plainLoop(k, inner.axis, { start: middle, end: bounds.end }, () => accumulate(k, reduce, rest));
  });
  for (let step = 1; step < count; step *= 2)
    for (let i = 0; i < count; i += 2 * step)
      combineInto(k, reduce, registers[i]!, asValues(k, reduce, registers[i + step]!));
  const lanes = [0, 1, 2, 3].map((lane) => laneOf(k, reduce, vectors, lane));
  combineInto(k, reduce, lanes[0]!, asValues(k, reduce, lanes[1]!));
  combineInto(k, reduce, lanes[2]!, asValues(k, reduce, lanes[3]!));
  combineInto(k, reduce, lanes[0]!, asValues(k, reduce, lanes[2]!));
  if (hasRest) combineInto(k, reduce, lanes[0]!, asValues(k, reduce, rest));
  return lanes[0]!;
}

const bindResults = (k: KernelEmitter, { results }: Reduce, locals: Accumulators): void =>
  results.forEach(({ name, type }, i) => k.bind(name, k.table.local(locals[i]!, type, k.e.depth)));

/** A reduce statement; binds its results. */
export function emitReduce(k: KernelEmitter, reduce: Reduce, lanes: boolean): void {
  if (lanes) {
    bindResults(k, reduce, reduceInLanes(k, reduce));
    return;
  }
  const results = accumulators(k, reduce, k.lanes);
  nest(k, reduce.ranges, () => accumulate(k, reduce, results));
  bindResults(k, reduce, results);
}

/**
 * A reduce statement in several places; binds its results in each. The places take turns in each step of the ranges: lines of memory
 * that they share are read once, and no sum waits for itself.
 */
export function emitReduceSideBySide(
  k: KernelEmitter,
  reduce: Reduce,
  places: readonly Place[],
): void {
  const results = places.map(() => accumulators(k, reduce, true));
  const step = (axes: Axes): void =>
    places.forEach((within, i) =>
      within(() =>
        k.scoped(() => {
          for (const [axis, value] of axes) k.bind(axis, value);
          accumulate(k, reduce, results[i]!);
        }),
      ),
    );
  // The ranges are the same in all places.
  places[0]?.(() => nest(k, reduce.ranges, step));
  places.forEach((within, i) => within(() => bindResults(k, reduce, results[i]!)));
}
