/**
 * ONNX Runtime as native code. In: a task. Out: a session on the processor with so many threads.
 */
import type { Contestant } from "./contestant.ts";
import { optionalPackage, versionOf } from "./contestant.ts";
import type { OnnxRuntime } from "./onnx/tasks.ts";
import { prepareOnnx } from "./onnx/tasks.ts";

const PACKAGE = "onnxruntime-node";

export async function enter(threads: number): Promise<Contestant> {
  const runtime = await optionalPackage<OnnxRuntime>(PACKAGE);
  const options = {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: "all",
  };
  return { version: versionOf(PACKAGE), prepare: (task) => prepareOnnx(runtime, options, task) };
}
