/**
 * Who takes part. In: nothing. Out: names in the order in which they are measured, and how each one's process is
 * started. The machine's ceilings come first, so that every share is of what was measured just before.
 */
import { existsSync } from "node:fs";

export const contestantNames = [
  "ceiling",
  "millrace",
  "jax-js",
  "tfjs",
  "onnxruntime-web",
  "onnxruntime-node",
  "llama.cpp",
  "pytorch",
  "pytorch-avx512",
] as const;
export type ContestantName = (typeof contestantNames)[number];

/** What a user could pick instead in a browser or in Node without native code. */
export const webPeers: readonly ContestantName[] = ["jax-js", "tfjs", "onnxruntime-web"];

/** How a contestant's process is started. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const here = (name: string): string => new URL(name, import.meta.url).pathname;

export function commandOf(name: ContestantName, threads: number): Command {
  if (name === "pytorch" || name === "pytorch-avx512") {
    const count = String(threads);
    const env = { OMP_NUM_THREADS: count, OPENBLAS_NUM_THREADS: count, PYTHONUNBUFFERED: "1" };
    // Distributions build PyTorch on OpenBLAS, which picks kernels by the processor's name and may not know a new one.
    const wide = { OPENBLAS_CORETYPE: "SKYLAKEX", ATEN_CPU_CAPABILITY: "avx512" };
    const tuned = name === "pytorch-avx512" ? wide : {};
    return { file: python(), args: [here("torch/serve.py"), count], env: { ...env, ...tuned } };
  }
  const options = ["--conditions=millrace-source", "--expose-gc"];
  return {
    file: process.execPath,
    args: [...options, here("serve.ts"), name, String(threads)],
    env: {},
  };
}

/** The Python to ask for PyTorch; `MILLRACE_BENCH_PYTHON` names another one, of a virtual environment for instance. */
function python(): string {
  const chosen = process.env["MILLRACE_BENCH_PYTHON"];
  return chosen !== undefined && existsSync(chosen) ? chosen : "python3";
}
