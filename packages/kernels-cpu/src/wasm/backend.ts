/**
 * The WebAssembly backend. In: a program and a store. Out: an executable: one module over the store's memories, with an arena
 * of its own in one. Everything is placed when the program is loaded. With several threads the memories are shared, and a
 * gang of threads, which the stores of a backend have in common, runs what is worth it.
 */
import type { Backend, Ceilings, Executable, PlanCache, Program, Store } from "@millrace/graph";
import { AttributeError, InputError, UnsupportedError } from "@millrace/graph";
import { measureCeilings } from "./ceilings/ceilings.ts";
import { MAX_MEMORY_BYTES, probeWasm, wasmCapabilities } from "./capabilities.ts";
import type { WasmFeatures } from "./capabilities.ts";
import { DIVIDE_FROM } from "./configure/divide.ts";
import { printConfiguration } from "./configure/print-configuration.ts";
import { disassemble } from "./emit/disassemble.ts";
import {
  compileModule,
  configureProgram,
  emitProgram,
  memoryImport,
  memoryName,
  scratchBytes,
} from "./emit/emit.ts";
import { CONSTANT_TABLE_BYTES } from "./emit/library.ts";
import type { EmittedModule, RunSettings } from "./emitted-module.ts";
import { prepareModule } from "./emitted-module.ts";
import { readStepLog, stepLogBytes } from "./emit/step-log.ts";
import type { Entry, ProfiledEntry, TeamRun } from "./executable.ts";
import { WasmExecutable } from "./executable.ts";
import { withClock } from "./launch/clock.ts";
import { Gang } from "./launch/gang.ts";
import type { MemoryLimits, Place } from "./launch/memories.ts";
import type { LinearMemory } from "./launch/memory.ts";
import { availableThreads, hasThreads } from "./launch/thread.ts";
import { isRevectorizing, startRevectorizing } from "./revectorize.ts";
import { WasmStore } from "./store.ts";

export interface WasmBackendOptions {
  /** Fused multiply-add in products, by default where the engine has it. False gives the same bits on every machine. */
  readonly relaxedSimd?: boolean;
  /**
   * Lets the engine join pairs of 128-bit registers into 256-bit ones, by default where Node was started with
   * `--experimental-wasm-revectorize`. Results are the same. True sets that flag, which is one of the whole process: all WebAssembly
   * that is compiled from then on is compiled like that.
   */
  readonly revectorize?: boolean;
  /**
   * Threads that run a program together, by default the machine's processors, at most 8, and 1 where memory cannot be
   * shared. Results do not depend on it.
   */
  readonly threads?: number;
  /** Nanoseconds of estimated work from which threads share a kernel; 0 makes them share all they can, for tests. */
  readonly divideFrom?: number;
  /**
   * States that do not fit into one memory of 4 GiB lie in several, by default where the engine takes modules with more than
   * one.
   */
  readonly multiMemory?: boolean;
  /** Bytes of each memory for states, arenas and constants, by default all there are; fewer make several memories, for tests. */
  readonly memoryBytes?: number;
  /** Where plans and modules are looked for before they are made, and put when they are new. */
  readonly cache?: PlanCache;
}

/** A backend that may have threads. */
export interface WasmBackend extends Backend {
  /** Threads that run a program together. */
  readonly threads: number;
  /** What these threads do at best on this machine, measured now; undefined where the engine has no relaxed SIMD. */
  measureCeilings(): Promise<Ceilings | undefined>;
  /** Stops the threads, if there are any; a later run starts new ones. */
  dispose(): void;
}

/** Threads that are taken unless told. */
const MOST_THREADS = 8;

/** What all programs of a backend have in common. */
interface Settings {
  readonly relaxed: boolean;
  readonly revectorize: boolean;
  readonly threads: number;
  readonly divideFrom: number;
  readonly limits: MemoryLimits;
  readonly cache: PlanCache | undefined;
}

/** Runs programs as WebAssembly. Throws UnsupportedError where the engine has no SIMD. */
export function createWasmBackend(options: WasmBackendOptions = {}): WasmBackend {
  const settings = settingsFrom(options, probeWasm());
  const { threads, limits } = settings;
  const gang = threads > 1 ? new Gang(threads) : undefined;
  let programs = 0;
  // What is never disposed of is forgotten by the threads, too, once nobody has it any more.
  const lostPrograms = new FinalizationRegistry<readonly number[]>((ids) =>
    ids.forEach((id) => gang?.forget(id)),
  );
  const lostStores = new FinalizationRegistry<symbol>((key) => gang?.leave(key));
  return {
    name: "wasm",
    capabilities: wasmCapabilities(limits.memoryBytes, limits.several),
    ...(settings.cache && { cache: settings.cache }),
    threads,
    createStore: (): Store => {
      const store = new WasmStore(limits, (key) => gang?.leave(key));
      lostStores.register(store, store.key);
      return store;
    },
    load: async (program, store, key): Promise<Executable> => {
      if (!(store instanceof WasmStore))
        throw new InputError({
          what: "the store belongs to another backend",
          where: program.name,
          hint: "Make it with createStore() of the backend that loads the program.",
        });
      store.ensure(program.states);
      const ids: number[] = [];
      const newTeam =
        gang && store.shared
          ? (): Pick<TeamRun, "gang" | "id"> => {
              ids.push(programs++);
              return { gang, id: ids.at(-1)! };
            }
          : undefined;
      const executable = await loadProgram({ program, key }, store, settings, newTeam);
      lostPrograms.register(executable, ids);
      return executable;
    },
    print: (program): string => printProgramConfiguration(program, settings),
    measureCeilings: () => measureCeilings(gang, programs++),
    dispose: () => gang?.stop(),
  };
}

function settingsFrom(options: WasmBackendOptions, features: WasmFeatures): Settings {
  if (!features.simd)
    throw new UnsupportedError({
      what: "this WebAssembly engine has no 128-bit SIMD",
      hint: "Use Node 22 or later or a current browser, or the interpreter backend.",
    });
  const relaxed = options.relaxedSimd ?? features.relaxedSimd;
  if (relaxed && !features.relaxedSimd)
    throw new UnsupportedError({
      what: "this WebAssembly engine has no relaxed SIMD",
      hint: "Leave the option relaxedSimd out, or set it to false.",
    });
  const revectorize = options.revectorize ?? isRevectorizing();
  if (revectorize && !features.revectorize)
    throw new UnsupportedError({
      what: "this WebAssembly engine does not make 256-bit registers",
      hint: "Leave revectorize out; Node 24 has it on x64 processors with AVX2.",
    });
  if (revectorize) startRevectorizing();
  const canShare = features.sharedMemory && hasThreads();
  const threads = options.threads ?? (canShare ? Math.min(availableThreads(), MOST_THREADS) : 1);
  if (!Number.isInteger(threads) || threads < 1 || threads > 256)
    throw new AttributeError({
      what: `${threads} threads are not a whole number from 1 to 256`,
      where: "createWasmBackend",
      hint: "Give the number of processors to use, or leave the option out.",
    });
  if (threads > 1 && !canShare)
    throw new UnsupportedError({
      what: `${threads} threads need memory that they can share, which is not there`,
      hint: "In a browser, serve the page with Cross-Origin-Opener-Policy and Cross-Origin-Embedder-Policy, or use one thread.",
    });
  const { divideFrom = DIVIDE_FROM, cache } = options;
  const limits = { shared: threads > 1, ...memoryLimits(options, features) };
  return { relaxed, revectorize, threads, divideFrom, limits, cache };
}

function memoryLimits(
  options: WasmBackendOptions,
  features: WasmFeatures,
): Omit<MemoryLimits, "shared"> {
  const { multiMemory: several = features.multiMemory, memoryBytes = MAX_MEMORY_BYTES } = options;
  if (several && !features.multiMemory)
    throw new UnsupportedError({
      what: "this WebAssembly engine takes no modules with several memories",
      hint: "Leave the option multiMemory out, or set it to false.",
    });
  if (!Number.isInteger(memoryBytes) || memoryBytes < 2 ** 12 || memoryBytes > MAX_MEMORY_BYTES)
    throw new AttributeError({
      what: `${memoryBytes} bytes are not a whole number from 4096 to ${MAX_MEMORY_BYTES}`,
      where: "createWasmBackend",
      hint: "Leave the option memoryBytes out.",
    });
  return { several, memoryBytes };
}

function printProgramConfiguration(program: Program, settings: Settings): string {
  const { relaxed, threads } = settings;
  const configurations = configureProgram(program, settings);
  const addresses = program.buffers.map(() => 0);
  const nowhere = { addresses, scratch: 0, constantTable: 0, control: 0 };
  const shared = threads > 1;
  const bytes = emitProgram(program, configurations, { ...nowhere, relaxed, threads, shared });
  const kernels = program.kernels.map((kernel, i) => {
    const calls = program.steps.filter((step) => step.kernel === i).length;
    const head = `kernel ${i} ${kernel.name}, called ${calls} times`;
    const lines = printConfiguration(configurations[i]!, configurations[i]!.divisions);
    return lines ? `${head}\n${lines.replaceAll(/^/gm, "  ")}` : head;
  });
  const team = threads > 1 ? `, ${threads} threads` : "";
  const scratch = scratchBytes(configurations, threads);
  const head = `wasm module of ${program.name}: ${bytes.length} bytes, ${program.kernels.length} kernels, ${program.steps.length} calls, ${scratch} bytes of scratch, products ${relaxed ? "fused" : "not fused"}${team}`;
  return [head, ...kernels, "", disassemble(bytes)].join("\n");
}

type NewTeam = () => Pick<TeamRun, "gang" | "id">;

async function loadProgram(
  { program, key }: { readonly program: Program; readonly key: string | undefined },
  store: WasmStore,
  { relaxed, revectorize, divideFrom, threads, cache }: Settings,
  newTeam: NewTeam | undefined,
): Promise<WasmExecutable> {
  const { shared } = store;
  // Over a store that another backend made for one thread there is one.
  const settings = { relaxed, revectorize, divideFrom, shared, threads: newTeam ? threads : 1 };
  const kept = cache && key !== undefined ? { cache, key } : undefined;
  const emitted = await prepareModule(program, settings, kept);
  const executable = placeProgram(program, store, emitted, settings, newTeam);
  await emitted.keep();
  return executable;
}

function placeProgram(
  program: Program,
  store: WasmStore,
  emitted: EmittedModule,
  { relaxed, threads, shared }: RunSettings,
  newTeam: NewTeam | undefined,
): WasmExecutable {
  const { memories } = store;
  const memory = memories.first;
  const taken: Place[] = [];
  const keep = (place: Place): Place => {
    taken.push(place);
    return place;
  };
  const allocate = (bytes: number, purpose: string): number =>
    keep({ memory, address: memory.allocate(bytes, purpose) }).address;
  const release = (): void => {
    for (const place of taken.splice(0)) memories.release(place);
  };
  try {
    const places = placeBuffers(program, store, (bytes, purpose) =>
      keep(memories.place(bytes, purpose, "buffer")),
    );
    const numbered = numberMemories(memory, places);
    const addresses = places.map(({ address }) => address);
    const scratch = memory.scratch(emitted.scratch);
    const constantTable = allocate(CONSTANT_TABLE_BYTES, `constants of ${program.name}`);
    const { control } = memory;
    const where = { addresses, memories: numbered.of, scratch, constantTable, control };
    const entryOf = (stepLog: number | undefined): Entry => {
      const options = { ...where, relaxed, threads, shared, stepLog };
      const module = compileModule(program, emitted.emit(options));
      const imported = numbered.memories.map((one, i) => [memoryName(i), one.memory] as const);
      const imports = { [memoryImport.module]: Object.fromEntries(imported) };
      const { exports } = new WebAssembly.Instance(
        module,
        withClock(imports, performance.timeOrigin),
      );
      const run = exports["run"] as (...numbers: number[]) => void;
      if (!newTeam) return { run: (sizes) => run(...sizes), team: undefined };
      return {
        // A team of one.
        run: (sizes) => run(0, 1, ...sizes),
        team: {
          ...newTeam(),
          store: store.key,
          program: { name: program.name, module, imports, memory: memory.memory, control },
          work: emitted.work,
          from: emitted.from,
          part: (sizes) => run(0, threads, ...sizes),
        },
      };
    };
    const profiled = (): ProfiledEntry => {
      const steps = program.steps.length;
      const bytes = stepLogBytes(steps, threads);
      const log = allocate(bytes, `the times of the steps of ${program.name}`);
      const table = (): Float64Array => new Float64Array(memory.memory.buffer, log, bytes / 8);
      return {
        ...entryOf(log),
        threads,
        clear: () => void table().fill(0),
        events: () => readStepLog(table(), steps, threads),
      };
    };
    const entry = entryOf(undefined);
    return new WasmExecutable({ program, store, places, release, profiled, ...entry });
  } catch (error) {
    release();
    throw error;
  }
}

/** Where each buffer lies: in an arena of the program's own, in the store, or filled with a constant. */
function placeBuffers(
  program: Program,
  store: WasmStore,
  allocate: (bytes: number, purpose: string) => Place,
): readonly Place[] {
  const arena = allocate(program.arenaBytes, `the arena of ${program.name}`);
  return program.buffers.map(({ place }) => {
    switch (place.kind) {
      case "arena":
        return { ...arena, address: arena.address + place.offset };
      case "state":
        return store.place(place.name);
      case "constant": {
        const { data } = place.value;
        const at = allocate(data.byteLength, `a constant of ${program.name}`);
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        new Uint8Array(at.memory.memory.buffer, at.address, data.byteLength).set(bytes);
        return at;
      }
    }
  });
}

/** The memories that a module imports, `first` as number 0, and the number of each place's; undefined if it is 0 throughout. */
function numberMemories(
  first: LinearMemory,
  places: readonly Place[],
): { readonly memories: readonly LinearMemory[]; readonly of: readonly number[] | undefined } {
  const memories = [...new Set([first, ...places.map(({ memory }) => memory)])];
  const numbers = new Map(memories.map((memory, i) => [memory, i]));
  const of = places.map(({ memory }) => numbers.get(memory)!);
  return { memories, of: memories.length > 1 ? of : undefined };
}
