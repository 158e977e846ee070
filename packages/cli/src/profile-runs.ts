/**
 * `--profile`: the backend of a command, measured. In: options and what the command does. Out: the same, then a Chrome trace in a file and
 * a table on stderr. The file is tried before the command's work and written after it, so a bad place costs nothing and a full disk
 * no result.
 */
import type { Backend, Ceilings, Profiler, Program, RunProfile } from "@millrace/graph";

import type { CliContext } from "./context.ts";
import type { DeviceOptions } from "./options.ts";
import { type PickedBackend, withBackend } from "./pick-backend.ts";

/** Which runs are kept: of one program, the last `keep` of its first `measure`. */
export interface ProfiledRuns {
  readonly program: string;
  readonly measure: number;
  readonly keep: number;
}

/** A trace of more is too large for its viewers. */
const mostEvents = 100_000;

class Recorder implements Profiler {
  readonly #only: ProfiledRuns | undefined;
  #runs: RunProfile[] = [];
  #events = 0;
  #asked = 0;
  /** Runs that were left out because there were too many events. */
  skipped = 0;

  constructor(only: ProfiledRuns | undefined) {
    this.#only = only;
  }

  wants({ name }: Program): boolean {
    if (this.#only) return name === this.#only.program && ++this.#asked <= this.#only.measure;
    if (this.#events < mostEvents) return true;
    this.skipped++;
    return false;
  }

  record(run: RunProfile): void {
    this.#runs.push(run);
    this.#events += run.events.length;
    if (this.#only) this.#runs = this.#runs.slice(-this.#only.keep);
  }

  get runs(): readonly RunProfile[] {
    return this.#runs;
  }
}

/** `withBackend`, and a profile where the options ask for one. */
export async function withProfiledBackend<T>(
  options: DeviceOptions,
  { stderr }: CliContext,
  body: (backend: Backend) => Promise<T>,
  only?: ProfiledRuns,
): Promise<T> {
  const { profile: path } = options;
  if (path === undefined) return withBackend(options, body);
  const { chromeTrace, profiledBackend, rooflineTable } = await import("@millrace/graph");
  const { tryOutput, writeOutput } = await import("./output-file.ts");
  await tryOutput(path);
  const recorder = new Recorder(only);
  const { result, ceilings } = await withBackend(options, async (backend: PickedBackend) => {
    const measured: Ceilings | undefined = await backend.measureCeilings?.();
    return { result: await body(profiledBackend(backend, recorder)), ceilings: measured };
  });
  const { runs, skipped } = recorder;
  stderr.write(`\n${rooflineTable(runs, ceilings)}`);
  if (skipped > 0) stderr.write(`${skipped} later runs were not measured: the trace is full\n`);
  const trace = new TextEncoder().encode(chromeTrace(runs));
  await writeOutput(path, (file) => file.write(trace));
  stderr.write(`wrote ${path}: open it in https://ui.perfetto.dev or chrome://tracing\n`);
  return result;
}
