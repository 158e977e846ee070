/**
 * What the WebAssembly engine offers. In: nothing but the engine. Out: which features validate, and the record that the
 * compiler stages see. Features are probed with modules made by the same encoder that emits kernels.
 */
import type { Capabilities } from "@millrace/graph";
import { dtypes } from "@millrace/graph";
import { ModuleBuilder } from "./emit/assembler.ts";
import type { FunctionBuilder } from "./emit/function-builder.ts";

/** Features of the engine that matter to kernels. */
export interface WasmFeatures {
  /** 128-bit registers; without them there is no backend. */
  readonly simd: boolean;
  /** Fused multiply-add at the machine's convenience. */
  readonly relaxedSimd: boolean;
  /** Memory that several threads share. */
  readonly sharedMemory: boolean;
}

function validates(body: (f: FunctionBuilder) => void, shared = false): boolean {
  const module = new ModuleBuilder();
  const limits = shared ? { maximum: 1, shared } : {};
  module.importMemory({ module: "probe", name: "memory", minimum: 1, ...limits });
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
    sharedMemory: validates(() => undefined, true),
  };
}

/** Addresses are 32 bits wide; the last page is left out so that an end address fits too. */
export const MAX_MEMORY_BYTES: number = 2 ** 32 - 2 ** 16;

/** The record for fuse, lower and plan. It does not depend on the machine, so programs do not either. */
export const wasmCapabilities: Capabilities = {
  dtypes,
  alignment: 64,
  maxBytes: MAX_MEMORY_BYTES,
  maxBuffersPerKernel: 900,
  arrayBytes: 2 ** 18,
};
