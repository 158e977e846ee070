/**
 * From a program to one WebAssembly module. In: a program, the address of every buffer, what the machine can do. Out: the
 * module's bytes: a function per kernel, which takes buffer addresses and sizes, and `run`, which takes the sizes and
 * calls them in the program's order, on one thread or on all threads of a team.
 */
import type { Kernel, Program } from "@millrace/graph";
import { DeviceError } from "@millrace/graph";
import { scratchLayout } from "../configure/contract.ts";
import type { TeamConfiguration, TeamOptions } from "../configure/divide.ts";
import { configureTeam } from "../configure/divide.ts";
import { scheduleSteps } from "../configure/schedule.ts";
import { clockImport } from "../launch/clock.ts";
import { ModuleBuilder } from "./assembler.ts";
import { emitDivided } from "./division.ts";
import type { FunctionBuilder, FunctionRef } from "./function-builder.ts";
import { KernelEmitter, placeArrays } from "./kernel-emitter.ts";
import type { Scratch } from "./kernel-emitter.ts";
import { Library } from "./library.ts";
import { emitStatement } from "./statements.ts";
import { StepLog } from "./step-log.ts";
import { defineTeam, defineTeamRun } from "./team.ts";
import type { Team } from "./team.ts";

/** Where things are, and what may be used. */
export interface EmitOptions {
  /** Byte address of each of the program's buffers. */
  readonly addresses: readonly number[];
  /** Number of the memory of each of the program's buffers; absent where all are in memory 0, as everything else is. */
  readonly memories?: readonly number[] | undefined;
  /** Byte address of `scratchBytes` of memory, which no buffer uses. */
  readonly scratch: number;
  /** Byte address of `CONSTANT_TABLE_BYTES` of memory for this module. */
  readonly constantTable: number;
  readonly relaxed: boolean;
  /** Threads of the team that runs the module. */
  readonly threads: number;
  /** The memory is one that threads can share. */
  readonly shared: boolean;
  /** Byte address of `CONTROL_BYTES` of memory for the team. */
  readonly control: number;
  /** Byte address of `stepLogBytes` of memory: the entry writes down there when each step begins and ends. */
  readonly stepLog?: number | undefined;
}

/** Names of the module's imported memories. */
export const memoryImport = { module: "millrace", name: "memory" } as const;

/** Name of memory `i` within the imports. */
export function memoryName(i: number): string {
  return i === 0 ? memoryImport.name : `${memoryImport.name}${i}`;
}

/** Most pages of a memory; a shared memory says how far it may grow. */
const MAX_PAGES = 65536;

/** Memory for these configurations: what their products pack into, then their arrays. Addresses are counted from the beginning. */
function scratchOf(configurations: readonly TeamConfiguration[]): Scratch {
  let shared = 0;
  let products = 0;
  let arrays = 0;
  for (const { body, choices, divisions } of configurations) {
    for (const [statement, choice] of choices) {
      if (choice.kind !== "contract") continue;
      const { rhs, bytes } = scratchLayout(choice);
      const division = divisions.get(statement);
      const by = division?.kind === "product" ? division.by : "columns";
      if (by !== "columns") shared = Math.max(shared, bytes - rhs);
      products = Math.max(products, by === "rows" ? rhs : bytes);
    }
    arrays = Math.max(arrays, placeArrays(body).bytes);
  }
  const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64;
  const before = aligned(products);
  return { shared: 0, address: aligned(shared), arrays: before, bytes: before + arrays };
}

/** Memory that these configurations need beside buffers, in bytes. */
export function scratchBytes(
  configurations: readonly TeamConfiguration[],
  threads: number,
): number {
  const { address, bytes } = scratchOf(configurations);
  return address + bytes * threads;
}

/** The configuration of each of a program's kernels for a team of threads. */
export function configureProgram(
  program: Program,
  options: TeamOptions,
): readonly TeamConfiguration[] {
  return program.kernels.map((kernel) => configureTeam(kernel, options));
}

/** What the functions of one module share. */
interface ModuleParts {
  readonly module: ModuleBuilder;
  readonly library: Library;
  readonly sizes: readonly string[];
  readonly scratch: Scratch;
  readonly team: Team | undefined;
  readonly relaxed: boolean;
}

function defineKernel(
  { module, sizes, ...parts }: ModuleParts,
  kernel: Kernel,
  { body, choices, divisions }: TeamConfiguration,
  memories: readonly number[],
): FunctionRef {
  const params = Array.from({ length: kernel.buffers.length + sizes.length }, () => "i32" as const);
  return module.define({ params, results: [] }, (f) => {
    const buffers = kernel.buffers.map((_, i) => f.param(i));
    const sizeLocals = new Map(sizes.map((name, i) => [name, f.param(buffers.length + i)]));
    const input = { ...parts, f, kernel, choices, buffers, memories, sizes: sizeLocals };
    const k = new KernelEmitter(input, emitStatement);
    const packs = [...choices.values()].some((choice) => choice.kind === "contract");
    if (packs || placeArrays(body).bytes > 0) k.scratch();
    if (divisions.size > 0) emitDivided(k, body, divisions);
    else k.block(body);
  });
}

/** The memories of a step's buffers. A kernel has a function for each way in which its steps' buffers lie in memories. */
function memoriesOf(
  program: Program,
  memories: readonly number[] | undefined,
  step: number,
): readonly number[] {
  return program.steps[step]!.buffers.map((buffer) => memories?.[buffer] ?? 0);
}

/** Defines every kernel; the result gives the function of a step. The first of each kernel is exported. */
function defineKernels(
  parts: ModuleParts,
  program: Program,
  configurations: readonly TeamConfiguration[],
  memories: readonly number[] | undefined,
): (step: number) => FunctionRef {
  const ways = program.kernels.map(() => new Map<string, readonly number[]>());
  program.steps.forEach(({ kernel }, step) => {
    const way = memoriesOf(program, memories, step);
    ways[kernel]!.set(way.join(), way);
  });
  const functions = program.kernels.map((kernel, i) => {
    const known = ways[i]!.size > 0 ? [...ways[i]!] : [["", kernel.buffers.map(() => 0)] as const];
    return new Map(
      known.map(([way, numbers]) => [
        way,
        defineKernel(parts, kernel, configurations[i]!, numbers),
      ]),
    );
  });
  functions.forEach((ofKernel, i) => {
    const [first] = ofKernel.values();
    parts.module.export(`kernel.${i}`, first!);
  });
  return (step) =>
    functions[program.steps[step]!.kernel]!.get(memoriesOf(program, memories, step).join())!;
}

/**
 * The module of a program. Its export `run` takes the program's sizes in order, in a team after the thread's number and
 * how many there are; `kernel.0`, `kernel.1`, … take the addresses of a kernel's buffers and then the sizes, for
 * measuring one at a time.
 */
export function emitProgram(
  program: Program,
  configurations: readonly TeamConfiguration[],
  options: EmitOptions,
): Uint8Array<ArrayBuffer> {
  const { threads, relaxed, shared, memories } = options;
  const module = new ModuleBuilder();
  const limits = shared ? { maximum: MAX_PAGES, shared } : {};
  const lastMemory = (memories ?? []).reduce((last, memory) => Math.max(last, memory), 0);
  for (let i = 0; i <= lastMemory; i++)
    module.importMemory({ ...memoryImport, name: memoryName(i), minimum: 0, ...limits });
  const clock =
    options.stepLog === undefined
      ? undefined
      : module.importFunction(memoryImport.module, clockImport, { params: [], results: ["f64"] });
  const library = new Library(module, options.constantTable);
  const team = threads > 1 ? defineTeam(module, options.control) : undefined;
  const sizes = program.sizes.map((symbol) => symbol.name);
  const places = scratchOf(configurations);
  const scratch = {
    ...places,
    shared: options.scratch + places.shared,
    address: options.scratch + places.address,
  };
  const parts = { module, library, sizes, scratch, team, relaxed };
  const functionOf = defineKernels(parts, program, configurations, memories);
  const log = clock && new StepLog(clock, options.stepLog!, program.steps.length, team?.thread);
  const call = (f: FunctionBuilder, step: number, from: number): void => {
    const { buffers } = program.steps[step]!;
    log?.stamp(f, step, "start");
    for (const buffer of buffers) f.i32(options.addresses[buffer]!);
    for (const param of f.params.slice(from)) f.get(param);
    f.call(functionOf(step));
    log?.stamp(f, step, "end");
  };
  const run = team
    ? defineTeamRun(
        module,
        team,
        sizes.length,
        scheduleSteps(program, configurations, threads),
        call,
      )
    : module.define({ params: sizes.map(() => "i32" as const), results: [] }, (f) =>
        program.steps.forEach((_, step) => call(f, step, 0)),
      );
  module.export("run", run);
  library.finish();
  return module.encode();
}

/** Compiles a module's bytes; a refusal names the program and the kernel whose function is at fault. */
export function compileModule(
  program: Program,
  bytes: Uint8Array<ArrayBuffer>,
): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    throw new DeviceError({
      what: `this WebAssembly engine refuses the program's module: ${(cause as Error).message}`,
      where: program.name,
      hint: "Run `millrace doctor` to see what the engine lacks, or use --device interpreter.",
      cause,
    });
  }
}
