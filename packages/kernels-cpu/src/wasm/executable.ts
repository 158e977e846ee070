/**
 * A program in its store's memories. In: inputs and sizes. Out: outputs, as copies. A run writes the inputs, calls one function, on
 * this thread or on all threads of the gang, and copies the outputs.
 */
import type {
  Dim,
  Executable,
  HostArray,
  HostTensor,
  ProfiledRun,
  Program,
  StepEvent,
  Values,
} from "@millrace/graph";
import {
  bindSizes,
  byteWidth,
  DeviceError,
  elementCount,
  evaluateDim,
  hostArray,
  InputError,
  profileOf,
} from "@millrace/graph";
import type { Gang, TeamProgram } from "./launch/gang.ts";
import type { Place } from "./launch/memories.ts";
import type { WasmStore } from "./store.ts";

/** How threads run a program together. */
export interface TeamRun {
  readonly gang: Gang;
  /** The program's number, and whose memory it runs in. */
  readonly id: number;
  readonly store: symbol;
  readonly program: TeamProgram;
  /** Nanoseconds, roughly, of what the threads would divide in a run, and from how many on they are called. */
  readonly work: Dim;
  readonly from: number;
  /** Runs the calling thread's part, as thread 0. */
  readonly part: (sizes: readonly number[]) => void;
}

/** Nanoseconds of each thread's work up to which the calling thread takes part, and sees to nothing else meanwhile. */
const BRIEF = 100_000_000;

/** A module's entry. */
export interface Entry {
  /** Runs on the calling thread, given the sizes. */
  readonly run: (sizes: readonly number[]) => void;
  readonly team: TeamRun | undefined;
}

/** An entry that writes down when each step begins and ends. */
export interface ProfiledEntry extends Entry {
  readonly threads: number;
  /** Called before a run. */
  readonly clear: () => void;
  /** What the last run wrote down. */
  readonly events: () => readonly StepEvent[];
}

/** A loaded program, as `WasmExecutable` takes it over. */
export interface LoadedProgram extends Entry {
  readonly program: Program;
  readonly store: WasmStore;
  /** Where each of the program's buffers lies. */
  readonly places: readonly Place[];
  /** Makes another module of the program, which measures. */
  readonly profiled: () => ProfiledEntry;
  /** Gives the program's memory back. */
  readonly release: () => void;
}

/** What `load` gives. */
export class WasmExecutable implements Executable {
  readonly program: Program;
  readonly bytes: number;
  #loaded: LoadedProgram | undefined;
  #profiled: ProfiledEntry | undefined;

  constructor(loaded: LoadedProgram) {
    this.program = loaded.program;
    this.bytes = loaded.program.arenaBytes;
    this.#loaded = loaded;
  }

  async run(
    inputs: Values,
    sizes?: Readonly<Record<string, number>>,
  ): Promise<Record<string, HostTensor>> {
    const loaded = this.#expectLoaded();
    const bound = bindSizes(this.program, inputs, sizes);
    return loaded.store.turns.take(() => runOnce(loaded, loaded, inputs, bound));
  }

  async profile(inputs: Values, sizes?: Readonly<Record<string, number>>): Promise<ProfiledRun> {
    const loaded = this.#expectLoaded();
    const bound = bindSizes(this.program, inputs, sizes);
    this.#profiled ??= loaded.profiled();
    const entry = this.#profiled;
    return loaded.store.turns.take(async () => {
      entry.clear();
      const outputs = await runOnce(loaded, entry, inputs, bound);
      const rows = Array.from({ length: entry.threads }, (_, i) => `thread ${i}`);
      return { outputs, profile: profileOf(this.program, bound, rows, entry.events()) };
    });
  }

  #expectLoaded(): LoadedProgram {
    if (this.#loaded) return this.#loaded;
    throw new InputError({
      what: "the executable has been disposed",
      where: this.program.name,
      hint: "Load the program again.",
    });
  }

  dispose(): void {
    const loaded = this.#loaded;
    if (!loaded) return;
    this.#loaded = undefined;
    for (const team of [loaded.team, this.#profiled?.team]) team?.gang.forget(team.id);
    void loaded.store.turns.take(loaded.release);
  }
}

type Sizes = ReadonlyMap<string, number>;

function runOnce(
  loaded: LoadedProgram,
  { run, team }: Entry,
  inputs: Values,
  bound: Sizes,
): Record<string, HostTensor> | Promise<Record<string, HostTensor>> {
  const { program } = loaded;
  for (const { name, buffer } of program.inputs)
    dataOf(loaded, buffer, bound).set(inputs[name]!.data as never);
  const sizes = program.sizes.map((symbol) => bound.get(symbol.name)!);
  const outputs = (): Record<string, HostTensor> => outputsOf(loaded, bound);
  const work = team ? evaluateDim(team.work, bound) : 0;
  if (team && work >= team.from) {
    const part = work <= BRIEF * team.gang.size ? () => team.part(sizes) : undefined;
    return team.gang.run(team, sizes, part).then(outputs, (error: unknown) => fail(program, error));
  }
  try {
    run(sizes);
  } catch (error) {
    fail(program, error);
  }
  return outputs();
}

function fail(program: Program, error: unknown): never {
  if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  throw new DeviceError({
    what: `the program trapped: ${error.message}`,
    where: program.name,
    hint: "Check its inputs with the interpreter backend, which names the kernel and the index.",
    cause: error,
  });
}

function outputsOf(loaded: LoadedProgram, bound: Sizes): Record<string, HostTensor> {
  return Object.fromEntries(
    loaded.program.outputs.map(({ name, type, buffer }) => {
      const shape = type.shape.map((dim) => evaluateDim(dim, bound));
      return [name, { dtype: type.dtype, shape, data: dataOf(loaded, buffer, bound).slice() }];
    }),
  );
}

/** A view of a buffer with this run's sizes. */
function dataOf({ program, places }: LoadedProgram, buffer: number, sizes: Sizes): HostArray {
  const { type } = program.buffers[buffer]!;
  const length = elementCount(type.shape.map((dim) => evaluateDim(dim, sizes)));
  const { memory, address } = places[buffer]!;
  if (address % byteWidth(type.dtype) !== 0)
    throw new InputError({
      what: `buffer ${buffer} lies at ${address}, which is not a multiple of its element's width`,
      where: program.name,
      hint: "Plan the program with this backend's capabilities.",
    });
  return hostArray(type.dtype, length, memory.memory.buffer, address);
}
