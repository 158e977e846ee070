/**
 * Our own side. In: a task. Out: the task compiled for the WebAssembly backend through the public packages, as a user
 * would. Operands and results are states in the store, so that a run copies nothing.
 */
import { createRequire } from "node:module";
import { createWasmBackend } from "@millrace/kernels-cpu";
import type { WasmBackend } from "@millrace/kernels-cpu";
import type { Task } from "../case.ts";
import { Absent } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { prepareAttention } from "./millrace/attention.ts";
import { prepareCompile } from "./millrace/compile.ts";
import { prepareGenerate } from "./millrace/generate.ts";
import { prepareProduct, prepareRagged, prepareScaled } from "./millrace/products.ts";
import { prepareTrain } from "./millrace/train.ts";

async function prepare(task: Task, backend: WasmBackend): Promise<Prepared> {
  switch (task.kind) {
    case "product":
      return prepareProduct(task, backend);
    case "ragged":
      return prepareRagged(task, backend);
    case "scaled":
      return prepareScaled(task, backend);
    case "attention":
      return prepareAttention(task, backend);
    case "train":
      return prepareTrain(task, backend);
    case "generate":
      return prepareGenerate(task, backend);
    case "compile":
      return prepareCompile(task, backend.threads);
    case "ceiling":
      throw new Absent("not a ceiling");
  }
}

export async function enter(threads: number): Promise<Contestant> {
  const backend = createWasmBackend({ threads });
  const require = createRequire(import.meta.url);
  const { version } = require("@millrace/kernels-cpu/package.json") as { version: string };
  return { version, prepare: (task) => prepare(task, backend) };
}
