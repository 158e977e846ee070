/**
 * What the steps of measured runs did in their time. In: profiles. Out: for each step of each run its work, its time and its rates,
 * which trace and table print. A step's time is the mean over the threads that shared it.
 */
import type { Program } from "../program.ts";
import type { KernelWork } from "./kernel-work.ts";
import { kernelWork } from "./kernel-work.ts";
import type { RunProfile, StepEvent } from "./profile.ts";

/** One step of one run. */
export interface StepTime {
  readonly program: Program;
  readonly step: number;
  readonly work: KernelWork;
  readonly events: readonly StepEvent[];
  /** Milliseconds, of all its threads together and of one on average. */
  readonly threadMs: number;
  readonly ms: number;
}

/** Whether a kernel's arithmetic is that of matrix products, for the most part. */
export const isProduct = ({ flops, productFlops }: KernelWork): boolean =>
  productFlops > 0 && 2 * productFlops >= flops;

/** Operations or bytes in a time, in thousands of millions a second. */
export const gigaPerSecond = (amount: number, ms: number): number =>
  ms > 0 ? amount / ms / 1e6 : 0;

/** The steps of a run that took place, in the program's order. */
export function stepTimes({ program, sizes, events }: RunProfile): readonly StepTime[] {
  const works = new Map<number, KernelWork>();
  const workOf = (kernel: number): KernelWork => {
    const known = works.get(kernel);
    if (known) return known;
    const work = kernelWork(program.kernels[kernel]!, sizes);
    works.set(kernel, work);
    return work;
  };
  const byStep = Map.groupBy(events, ({ step }) => step);
  return [...byStep]
    .toSorted(([a], [b]) => a - b)
    .map(([step, own]) => {
      const threadMs = own.reduce((sum, { duration }) => sum + duration, 0);
      const work = workOf(program.steps[step]!.kernel);
      return { program, step, work, events: own, threadMs, ms: threadMs / own.length };
    });
}
