/**
 * How a contestant's process is started. In: its name and a number of threads. Out: a command. Each is started as its users start it,
 * ours with the engine's option for 256-bit registers, as the command line has it; one peer is there with that option, too.
 */
import { existsSync } from "node:fs";
import { probeWasm } from "@millrace/kernels-cpu";
import type { ContestantName } from "./names.ts";
import { isWide } from "./names.ts";

/** The engine's option that joins pairs of 128-bit registers into 256-bit ones. */
const REVECTORIZE = "--experimental-wasm-revectorize";
/** Whether this engine can. */
export const canRevectorize: boolean = probeWasm().revectorize;

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
  const engine = canRevectorize && isWide(name) ? [REVECTORIZE] : [];
  return {
    file: process.execPath,
    args: [...options, ...engine, here("serve.ts"), name, String(threads)],
    env: {},
  };
}

/** The Python to ask for PyTorch; `MILLRACE_BENCH_PYTHON` names another one, of a virtual environment for instance. */
function python(): string {
  const chosen = process.env["MILLRACE_BENCH_PYTHON"];
  return chosen !== undefined && existsSync(chosen) ? chosen : "python3";
}
