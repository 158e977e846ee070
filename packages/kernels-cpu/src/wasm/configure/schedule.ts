/**
 * Who runs which step of a program when. In: a program and how its kernels are divided. Out: turns in the program's order. A divided
 * step is run by all threads; any other by one, and steps that do not touch each other's memory by different ones. A
 * barrier comes before a step only where it needs what another thread has written since the last one, or the
 * other way round.
 */
import type { Dim, Program } from "@millrace/graph";
import { addDims, byteWidth, elementCount, maxDim } from "@millrace/graph";
import type { TeamConfiguration } from "./divide.ts";

/** One step's turn. */
export interface Turn {
  readonly step: number;
  /** All threads meet before it. */
  readonly barrier: boolean;
  /** The thread that runs it; undefined when all do. */
  readonly owner: number | undefined;
}

/** A stretch of memory: an arena, or one state. */
interface Stretch {
  readonly space: string;
  readonly start: number;
  readonly end: number;
}

interface Accesses {
  readonly owner: number | undefined;
  readonly reads: readonly Stretch[];
  readonly writes: readonly Stretch[];
}

const overlap = (a: readonly Stretch[], b: readonly Stretch[]): boolean =>
  a.some((x) => b.some((y) => x.space === y.space && x.start < y.end && y.start < x.end));

const conflict = (a: Accesses, b: Accesses): boolean =>
  overlap(a.writes, b.writes) || overlap(a.writes, b.reads) || overlap(a.reads, b.writes);

function accessesOf(program: Program, step: number): Omit<Accesses, "owner"> {
  const { kernel, buffers } = program.steps[step]!;
  const reads: Stretch[] = [];
  const writes: Stretch[] = [];
  buffers.forEach((buffer, i) => {
    const { type, place } = program.buffers[buffer]!;
    if (place.kind === "constant") return;
    const start = place.kind === "arena" ? place.offset : 0;
    const end = start + elementCount(type.shape.map(maxDim)) * byteWidth(type.dtype);
    const stretch = { space: place.kind === "arena" ? "arena" : `state ${place.name}`, start, end };
    const { access } = program.kernels[kernel]!.buffers[i]!;
    if (access !== "write") reads.push(stretch);
    if (access !== "read") writes.push(stretch);
  });
  return { reads, writes };
}

/** Nanoseconds from which a step is given to whoever has least to do; all smaller ones go to one thread, one after the other. */
const SPREAD_FROM = 3000;

const leastBusy = (loads: readonly number[], work: number): number =>
  work < SPREAD_FROM ? 0 : loads.indexOf(Math.min(...loads));

/** Turns for `threads` threads. */
export function scheduleSteps(
  program: Program,
  configurations: readonly TeamConfiguration[],
  threads: number,
): readonly Turn[] {
  let since: Accesses[] = [];
  let loads = Array.from({ length: threads }, () => 0);
  return program.steps.map(({ kernel }, step) => {
    const configuration = configurations[kernel]!;
    const accesses = accessesOf(program, step);
    const divided = configuration.divisions.size > 0;
    const others = new Set(
      since
        .filter((each) => conflict(each, { ...accesses, owner: undefined }))
        .map(({ owner }) => owner),
    );
    // What one thread alone has touched, it may go on with.
    const barrier = others.size > 0 && (divided || others.size > 1 || others.has(undefined));
    if (barrier) {
      since = [];
      loads = loads.map(() => 0);
      others.clear();
    }
    const [other] = others;
    const work = maxDim(configuration.work);
    const owner = divided ? undefined : (other ?? leastBusy(loads, work));
    if (owner !== undefined) loads[owner]! += work;
    since.push({ ...accesses, owner });
    return { step, barrier, owner };
  });
}

/** Nanoseconds, roughly, of a run's work that is divided. */
export function dividedWork(program: Program, configurations: readonly TeamConfiguration[]): Dim {
  return program.steps
    .map(({ kernel }) => configurations[kernel]!)
    .map(({ divisions, work }) => (divisions.size > 0 ? work : 0))
    .reduce(addDims, 0);
}

/**
 * Nanoseconds of divided work from which calling the threads is worth it for a run: a call takes about 100 µs until all of them
 * are under way and done, a barrier about 3, and the threads save a sixth of the estimate at the least.
 */
export function teamFrom(
  program: Program,
  configurations: readonly TeamConfiguration[],
  threads: number,
): number {
  const turns = scheduleSteps(program, configurations, threads);
  return 6 * (100_000 + 3000 * turns.filter(({ barrier }) => barrier).length);
}
