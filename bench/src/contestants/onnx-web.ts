/**
 * ONNX Runtime as WebAssembly. In: a task. Out: a session with so many threads. It keeps one number of threads for a process.
 */
import type { Contestant } from "./contestant.ts";
import { optionalPackage, versionOf } from "./contestant.ts";
import type { OnnxRuntime } from "./onnx/tasks.ts";
import { prepareOnnx } from "./onnx/tasks.ts";

const PACKAGE = "onnxruntime-web";

interface WebRuntime extends OnnxRuntime {
  readonly env: { readonly wasm: { numThreads: number } };
}

export async function enter(threads: number): Promise<Contestant> {
  const runtime = await optionalPackage<WebRuntime>(PACKAGE);
  runtime.env.wasm.numThreads = threads;
  const options = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };
  return { version: versionOf(PACKAGE), prepare: (task) => prepareOnnx(runtime, options, task) };
}
