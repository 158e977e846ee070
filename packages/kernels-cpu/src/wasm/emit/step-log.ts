/**
 * When each step begins and ends, written down by the entry of a profiled module. In: an imported clock and the address of a table:
 * two numbers for each step of each thread. Out: instructions around a step's call, and the table's readings.
 */
import type { StepEvent } from "@millrace/graph";
import type { FunctionBuilder, FunctionRef, Global } from "./function-builder.ts";

const ENTRY_BYTES = 16;

/** Bytes of the table. */
export const stepLogBytes = (steps: number, threads: number): number =>
  ENTRY_BYTES * steps * threads;

/** Emits stamps. */
export class StepLog {
  readonly #clock: FunctionRef;
  readonly #address: number;
  readonly #steps: number;
  readonly #thread: Global | undefined;

  /** Without `thread` there is one. */
  constructor(clock: FunctionRef, address: number, steps: number, thread: Global | undefined) {
    this.#clock = clock;
    this.#address = address;
    this.#steps = steps;
    this.#thread = thread;
  }

  stamp(f: FunctionBuilder, step: number, moment: "start" | "end"): void {
    const offset = this.#address + ENTRY_BYTES * step + (moment === "start" ? 0 : 8);
    if (this.#thread) {
      f.globalGet(this.#thread);
      f.i32(ENTRY_BYTES * this.#steps);
      f.op("i32.mul");
    } else f.i32(0);
    f.call(this.#clock);
    f.memory("f64.store", offset);
  }
}

/** The steps that left stamps in a table that held zeros before the run. */
export function readStepLog(
  table: Float64Array,
  steps: number,
  threads: number,
): readonly StepEvent[] {
  const events: StepEvent[] = [];
  for (let row = 0; row < threads; row++)
    for (let step = 0; step < steps; step++) {
      const at = 2 * (row * steps + step);
      const start = table[at]!;
      const end = table[at + 1]!;
      if (end !== 0) events.push({ step, row, start, duration: Math.max(0, end - start) });
    }
  return events;
}
