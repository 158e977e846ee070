/**
 * The WebAssembly backend. In: a program and a store. Out: an executable: one module over the store's memory, with an arena
 * of its own in it. Everything is placed when the program is loaded; a run copies inputs, calls one function and
 * copies outputs.
 */
import type {
  Backend,
  Executable,
  HostArray,
  HostTensor,
  Program,
  Store,
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
  UnsupportedError,
} from "@millrace/graph";
import { probeWasm, wasmCapabilities } from "./capabilities.ts";
import { printConfiguration } from "./configure/configure.ts";
import { disassemble } from "./emit/disassemble.ts";
import {
  compileModule,
  configureProgram,
  emitProgram,
  memoryImport,
  scratchBytes,
} from "./emit/emit.ts";
import { CONSTANT_TABLE_BYTES } from "./emit/library.ts";
import { WasmStore } from "./store.ts";

export interface WasmBackendOptions {
  /** Fused multiply-add in products, by default where the engine has it. False gives the same bits on every machine. */
  readonly relaxedSimd?: boolean;
}

/** Runs programs as WebAssembly. Throws UnsupportedError where the engine has no SIMD. */
export function createWasmBackend(options: WasmBackendOptions = {}): Backend {
  const features = probeWasm();
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
  return {
    name: "wasm",
    capabilities: wasmCapabilities,
    createStore: (): Store => new WasmStore(),
    load: async (program, store): Promise<Executable> => {
      if (!(store instanceof WasmStore))
        throw new InputError({
          what: "the store belongs to another backend",
          where: program.name,
          hint: "Make it with createStore() of the backend that loads the program.",
        });
      store.ensure(program.states);
      return loadProgram(program, store, relaxed);
    },
    print: (program): string => printProgramConfiguration(program, relaxed),
  };
}

function printProgramConfiguration(program: Program, relaxed: boolean): string {
  const configurations = configureProgram(program);
  const addresses = program.buffers.map(() => 0);
  const bytes = emitProgram(program, configurations, {
    addresses,
    scratch: 0,
    constantTable: 0,
    relaxed,
  });
  const kernels = program.kernels.map((kernel, i) => {
    const calls = program.steps.filter((step) => step.kernel === i).length;
    const head = `kernel ${i} ${kernel.name}, called ${calls} times`;
    const lines = printConfiguration(configurations[i]!);
    return lines ? `${head}\n${lines.replaceAll(/^/gm, "  ")}` : head;
  });
  const head = `wasm module of ${program.name}: ${bytes.length} bytes, ${program.kernels.length} kernels, ${program.steps.length} calls, ${scratchBytes(configurations)} bytes of scratch, products ${relaxed ? "fused" : "not fused"}`;
  return [head, ...kernels, "", disassemble(bytes)].join("\n");
}

function loadProgram(program: Program, store: WasmStore, relaxed: boolean): Executable {
  const { memory } = store;
  const configurations = configureProgram(program);
  const blocks: number[] = [];
  const allocate = (bytes: number, purpose: string): number => {
    const address = memory.allocate(bytes, purpose);
    blocks.push(address);
    return address;
  };
  const release = (): void => {
    for (const block of blocks.splice(0)) memory.release(block);
  };
  try {
    const arena = allocate(program.arenaBytes, `the arena of ${program.name}`);
    const addresses = program.buffers.map(({ place }) => {
      switch (place.kind) {
        case "arena":
          return arena + place.offset;
        case "state":
          return store.address(place.name);
        case "constant": {
          const { data } = place.value;
          const address = allocate(data.byteLength, `a constant of ${program.name}`);
          const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
          new Uint8Array(memory.memory.buffer, address, data.byteLength).set(bytes);
          return address;
        }
      }
    });
    const scratch = memory.scratch(scratchBytes(configurations));
    const constantTable = allocate(CONSTANT_TABLE_BYTES, `constants of ${program.name}`);
    const options = { addresses, scratch, constantTable, relaxed };
    const bytes = emitProgram(program, configurations, options);
    const module = compileModule(program, bytes);
    const imports = { [memoryImport.module]: { [memoryImport.name]: memory.memory } };
    const instance = new WebAssembly.Instance(module, imports);
    const run = instance.exports["run"] as (...sizes: number[]) => void;
    return new WasmExecutable(program, store, addresses, run, release);
  } catch (error) {
    release();
    throw error;
  }
}

class WasmExecutable implements Executable {
  readonly program: Program;
  readonly bytes: number;
  readonly #store: WasmStore;
  readonly #addresses: readonly number[];
  readonly #release: () => void;
  #run: ((...sizes: number[]) => void) | undefined;

  constructor(
    program: Program,
    store: WasmStore,
    addresses: readonly number[],
    run: (...sizes: number[]) => void,
    release: () => void,
  ) {
    this.program = program;
    this.bytes = program.arenaBytes;
    this.#store = store;
    this.#addresses = addresses;
    this.#run = run;
    this.#release = release;
  }

  async run(
    inputs: Values,
    sizes?: Readonly<Record<string, number>>,
  ): Promise<Record<string, HostTensor>> {
    const { program } = this;
    if (!this.#run)
      throw new InputError({
        what: "the executable has been disposed",
        where: program.name,
        hint: "Load the program again.",
      });
    const bound = bindSizes(program, inputs, sizes);
    for (const { name, buffer } of program.inputs)
      this.#data(buffer, bound).data.set(inputs[name]!.data as never);
    try {
      this.#run(...program.sizes.map((symbol) => bound.get(symbol.name)!));
    } catch (cause) {
      throw new DeviceError({
        what: `the program trapped: ${(cause as Error).message}`,
        where: program.name,
        hint: "Check its inputs with the interpreter backend, which names the kernel and the index.",
        cause,
      });
    }
    return Object.fromEntries(
      program.outputs.map(({ name, type, buffer }) => {
        const shape = type.shape.map((dim) => evaluateDim(dim, bound));
        return [name, { dtype: type.dtype, shape, data: this.#data(buffer, bound).data.slice() }];
      }),
    );
  }

  /** A view of a buffer with this run's sizes. */
  #data(buffer: number, sizes: ReadonlyMap<string, number>): { readonly data: HostArray } {
    const { type } = this.program.buffers[buffer]!;
    const length = elementCount(type.shape.map((dim) => evaluateDim(dim, sizes)));
    const { memory } = this.#store.memory;
    const address = this.#addresses[buffer]!;
    if (address % byteWidth(type.dtype) !== 0)
      throw new InputError({
        what: `buffer ${buffer} lies at ${address}, which is not a multiple of its element's width`,
        where: this.program.name,
        hint: "Plan the program with this backend's capabilities.",
      });
    return { data: hostArray(type.dtype, length, memory.buffer, address) };
  }

  dispose(): void {
    if (!this.#run) return;
    this.#run = undefined;
    this.#release();
  }
}
