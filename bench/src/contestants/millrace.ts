/**
 * Our own side. In: a task. Out: the task made ready on the WebAssembly backend with so many threads.
 */
import { createRequire } from "node:module";
import { createWasmBackend } from "@millrace/kernels-cpu";
import type { WasmBackend } from "@millrace/kernels-cpu";
import type { Task } from "../case.ts";
import { Absent } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { prepareCompile } from "./millrace/compile.ts";
import { prepareTask } from "./millrace/prepare.ts";

async function prepare(task: Task, backend: WasmBackend): Promise<Prepared> {
  if (task.kind === "ceiling") throw new Absent("not a ceiling");
  return task.kind === "compile"
    ? prepareCompile(task, backend.threads)
    : prepareTask(task, backend);
}

export async function enter(threads: number): Promise<Contestant> {
  const backend = createWasmBackend({ threads });
  const require = createRequire(import.meta.url);
  const { version } = require("@millrace/kernels-cpu/package.json") as { version: string };
  return { version, prepare: (task) => prepare(task, backend) };
}
