/**
 * Our own side. In: a task. Out: the task made ready on the WebAssembly backend with so many threads: with 256-bit registers where the
 * engine can make them, as the command line runs, or without, as in a browser.
 */
import { createRequire } from "node:module";
import { createWasmBackend, probeWasm } from "@millrace/kernels-cpu";
import type { WasmBackendOptions } from "@millrace/kernels-cpu";
import type { Task } from "../case.ts";
import { Absent } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { prepareCompile } from "./millrace/compile.ts";
import { prepareTask } from "./millrace/prepare.ts";

function enterWith(options: WasmBackendOptions): Contestant {
  const backend = createWasmBackend(options);
  const require = createRequire(import.meta.url);
  const { version } = require("@millrace/kernels-cpu/package.json") as { version: string };
  const prepare = async (task: Task): Promise<Prepared> => {
    if (task.kind === "ceiling") throw new Absent("not a ceiling");
    if (task.kind !== "compile") return prepareTask(task, backend);
    if (options.revectorize !== probeWasm().revectorize)
      throw new Absent("the compiler is the same");
    return prepareCompile(task, options);
  };
  return { version, prepare };
}

export async function enter(threads: number): Promise<Contestant> {
  return enterWith({ threads, revectorize: probeWasm().revectorize });
}

export async function enterNarrow(threads: number): Promise<Contestant> {
  return enterWith({ threads, revectorize: false });
}
