/**
 * What the WebAssembly engine offers. In: nothing but the engine. Out: which features validate, and the record that the
 * compiler stages see. Features are probed with modules made by the same encoder that emits kernels.
 */
import type { Capabilities } from "@millrace/graph";
import { dtypes } from "@millrace/graph";
import { ModuleBuilder } from "./emit/assembler.ts";
import type { FunctionBuilder } from "./emit/function-builder.ts";
import { canRevectorize } from "./revectorize.ts";

/** Features of the engine that matter to kernels. */
export interface WasmFeatures {
  /** 128-bit registers; without them there is no backend. */
  readonly simd: boolean;
  /** Fused multiply-add at the machine's convenience. */
  readonly relaxedSimd: boolean;
  /** Memory that several threads share. */
  readonly sharedMemory: boolean;
  /** Modules with several memories. */
  readonly multiMemory: boolean;
  /** Pairs of 128-bit registers become 256-bit ones, if the engine is told to: Node on x64 processors with AVX2. */
  readonly revectorize: boolean;
}

function validates(
  body: (f: FunctionBuilder) => void,
  { shared = false, memories = 1 }: { readonly shared?: boolean; readonly memories?: number } = {},
): boolean {
  const module = new ModuleBuilder();
  const limits = shared ? { maximum: 1, shared } : {};
  for (let i = 0; i < memories; i++)
    module.importMemory({ module: "probe", name: `memory${i}`, minimum: 1, ...limits });
  module.define({ params: [], results: [] }, body);
  return WebAssembly.validate(module.encode());
}

/** Asks the engine. */
export function probeWasm(): WasmFeatures {
  return {
    simd: validates((f) => {
      f.f32x4(1);
      f.op("f32x4.sqrt", "drop");
    }),
    relaxedSimd: validates((f) => {
      for (let i = 0; i < 3; i++) f.f32x4(1);
      f.op("f32x4.relaxed_madd", "drop");
    }),
    sharedMemory: validates(() => undefined, { shared: true }),
    revectorize: canRevectorize(),
    multiMemory: validates(
      (f) => {
        f.i32(0);
        f.memory("v128.load", 0, undefined, 1);
        f.op("drop");
      },
      { memories: 2 },
    ),
  };
}

/** Addresses are 32 bits wide; the last page is left out so that an end address fits too. */
export const MAX_MEMORY_BYTES: number = 2 ** 32 - 2 ** 16;

/** Memories of one store. Engines set aside about 10 GiB of address space for each, and some have 1 TiB in all. */
export const MAX_MEMORIES = 64;

/** The machine's memory in Node; a browser does not tell. More address space than that may be had, but not filled. */
function machineBytes(): number {
  return typeof process === "object"
    ? process.getBuiltinModule("node:os").totalmem()
    : Number.POSITIVE_INFINITY;
}

/**
 * The record for fuse, lower and plan, where states and arena may take `memoryBytes` of each memory. Programs depend on none of
 * it but whether there is room for them.
 */
export function wasmCapabilities(memoryBytes: number, severalMemories: boolean): Capabilities {
  return {
    dtypes,
    alignment: 64,
    maxBytes: severalMemories
      ? Math.max(memoryBytes, Math.min(MAX_MEMORIES * memoryBytes, machineBytes()))
      : memoryBytes,
    ...(severalMemories && { maxBlockBytes: memoryBytes - 64 }),
    maxBuffersPerKernel: 900,
    arrayBytes: 2 ** 18,
  };
}
