/**
 * Where a run's time goes. In: what a backend measured: when each step began and ended, on which thread or queue. Out: a record that
 * tables and traces are made from, and a backend that measures the runs somebody wants measured. Knows no clock: times are
 * milliseconds of the backend's.
 */
import { UnsupportedError } from "../errors.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { Program } from "../program.ts";
import type { Backend, Executable } from "./backend.ts";

/** One step on one thread or queue. */
export interface StepEvent {
  /** Index into the program's steps, which tell kernel and scope path. */
  readonly step: number;
  /** Index into the profile's `rows`. */
  readonly row: number;
  readonly start: number;
  readonly duration: number;
}

/** One run, measured. */
export interface RunProfile {
  readonly program: Program;
  readonly sizes: ReadonlyMap<string, number>;
  /** What steps ran on: threads of a processor, or the queue of a GPU. */
  readonly rows: readonly string[];
  /** From the first step's beginning to the last one's end, on the clock of the events. */
  readonly start: number;
  readonly duration: number;
  /** In the order of their start. A step that threads share has an event on each of them. */
  readonly events: readonly StepEvent[];
}

export interface ProfiledRun {
  readonly outputs: Record<string, HostTensor>;
  readonly profile: RunProfile;
}

/** Who wants runs measured. */
export interface Profiler {
  /** Asked before each run. */
  wants(program: Program): boolean;
  record(run: RunProfile): void;
}

/** A profile of events that are in no order yet. */
export function profileOf(
  program: Program,
  sizes: ReadonlyMap<string, number>,
  rows: readonly string[],
  events: readonly StepEvent[],
): RunProfile {
  const sorted = events.toSorted((a, b) => a.start - b.start || a.row - b.row || a.step - b.step);
  const start = sorted[0]?.start ?? 0;
  const end = sorted.reduce((last, event) => Math.max(last, event.start + event.duration), start);
  return { program, sizes, rows, start, duration: end - start, events: sorted };
}

/** The same backend, whose runs `profiler` may have measured. */
export function profiledBackend(backend: Backend, profiler: Profiler): Backend {
  return {
    // What else it offers stays.
    ...backend,
    name: backend.name,
    capabilities: backend.capabilities,
    createStore: () => backend.createStore(),
    load: async (...args) => profiled(await backend.load(...args), profiler),
    print: (program) => backend.print(program),
  };
}

function profiled(executable: Executable, profiler: Profiler): Executable {
  const { program } = executable;
  return {
    program,
    bytes: executable.bytes,
    run: async (inputs, sizes) => {
      if (!profiler.wants(program)) return executable.run(inputs, sizes);
      const { outputs, profile } = await profileRun(executable, inputs, sizes);
      profiler.record(profile);
      return outputs;
    },
    profile: (inputs, sizes) => profileRun(executable, inputs, sizes),
    dispose: () => executable.dispose(),
  };
}

/** Runs once and measures each step. Throws UnsupportedError where the backend cannot. */
export async function profileRun(
  executable: Executable,
  ...args: Parameters<Executable["run"]>
): Promise<ProfiledRun> {
  if (executable.profile) return executable.profile(...args);
  throw new UnsupportedError({
    what: "this backend cannot measure the steps of a run",
    where: executable.program.name,
    hint: "Use the WebAssembly or the WebGPU backend.",
  });
}
