/**
 * From a program to one WebAssembly module. In: a program, the address of every buffer, what the machine can do. Out: the
 * module's bytes: a function per kernel, which takes buffer addresses and sizes, and `run`, which takes the sizes and
 * calls them in the program's order.
 */
import type { Kernel, Program } from "@millrace/graph";
import { DeviceError } from "@millrace/graph";
import type { Configuration } from "../configure/configure.ts";
import { configure } from "../configure/configure.ts";
import { scratchLayout } from "../configure/contract.ts";
import { ModuleBuilder } from "./assembler.ts";
import type { FunctionRef } from "./function-builder.ts";
import { KernelEmitter } from "./kernel-emitter.ts";
import { Library } from "./library.ts";
import { emitStatement } from "./statements.ts";

/** Where things are, and what may be used. */
export interface EmitOptions {
  /** Byte address of each of the program's buffers. */
  readonly addresses: readonly number[];
  /** Byte address of `scratchBytes` of memory that no buffer uses. */
  readonly scratch: number;
  /** Byte address of `CONSTANT_TABLE_BYTES` of memory for this module. */
  readonly constantTable: number;
  readonly relaxed: boolean;
}

/** Name of the module's imported memory. */
export const memoryImport = { module: "millrace", name: "memory" } as const;

/** Memory that the products of these configurations pack into, in bytes. */
export function scratchBytes(configurations: readonly Configuration[]): number {
  let most = 0;
  for (const { choices } of configurations)
    for (const choice of choices.values())
      if (choice.kind === "contract") most = Math.max(most, scratchLayout(choice).bytes);
  return most;
}

/** The configuration of each of a program's kernels. */
export function configureProgram(program: Program): readonly Configuration[] {
  return program.kernels.map(configure);
}

function defineKernel(
  module: ModuleBuilder,
  library: Library,
  kernel: Kernel,
  { body, choices }: Configuration,
  sizes: readonly string[],
  options: EmitOptions,
): FunctionRef {
  const params = Array.from({ length: kernel.buffers.length + sizes.length }, () => "i32" as const);
  return module.define({ params, results: [] }, (f) => {
    const buffers = kernel.buffers.map((_, i) => f.param(i));
    const sizeLocals = new Map(sizes.map((name, i) => [name, f.param(buffers.length + i)]));
    const { scratch, relaxed } = options;
    const input = { f, library, kernel, choices, buffers, sizes: sizeLocals, scratch, relaxed };
    new KernelEmitter(input, emitStatement).block(body);
  });
}

/**
 * The module of a program. Its export `run` takes the program's sizes in order; `kernel.0`, `kernel.1`, … take the addresses
 * of a kernel's buffers and then the sizes, for measuring one at a time.
 */
export function emitProgram(
  program: Program,
  configurations: readonly Configuration[],
  options: EmitOptions,
): Uint8Array<ArrayBuffer> {
  const module = new ModuleBuilder();
  module.importMemory({ ...memoryImport, minimum: 0 });
  const library = new Library(module, options.constantTable);
  const sizes = program.sizes.map((symbol) => symbol.name);
  const kernels = program.kernels.map((kernel, i) =>
    defineKernel(module, library, kernel, configurations[i]!, sizes, options),
  );
  kernels.forEach((kernel, i) => module.export(`kernel.${i}`, kernel));
  const run = module.define({ params: sizes.map(() => "i32" as const), results: [] }, (f) => {
    for (const { kernel, buffers } of program.steps) {
      for (const buffer of buffers) f.i32(options.addresses[buffer]!);
      for (const param of f.params) f.get(param);
      f.call(kernels[kernel]!);
    }
  });
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
