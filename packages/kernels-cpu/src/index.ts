// Public names of @millrace/kernels-cpu, one per line. Nothing else lives here.

// the oracles
export {
  interpret,
  type InterpreterInput,
  type InterpretOptions,
  type InterpretResult,
  type Precision,
} from "./interpreter/interpret.ts";
export type { InterpreterValue } from "./interpreter/value.ts";
export { createInterpreterBackend, type InterpreterBackendOptions } from "./interpreter/backend.ts";
export type { ParallelOrder } from "./interpreter/kernel-context.ts";

// the WebAssembly backend
export { createWasmBackend, type WasmBackend, type WasmBackendOptions } from "./wasm/backend.ts";
export {
  ceilingLoops,
  ceilingModule,
  FLOPS_PER_ROUND,
  READ_STEP,
} from "./wasm/ceilings/ceiling-module.ts";
export { probeWasm, type WasmFeatures } from "./wasm/capabilities.ts";
