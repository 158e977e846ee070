/**
 * Any task on any backend of ours. In: a task. Out: the task compiled for the backend through the public packages, as a user would.
 * Operands and results are states in the store, so that a run copies nothing.
 */
import type { Backend } from "@millrace/graph";
import type { RunTask } from "../../case.ts";
import type { Prepared } from "../contestant.ts";
import { prepareAttention } from "./attention.ts";
import { prepareGenerate } from "./generate.ts";
import { prepareProduct, prepareRagged, prepareScaled } from "./products.ts";
import { prepareTrain } from "./train.ts";

export function prepareTask(task: RunTask, backend: Backend): Promise<Prepared> {
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
  }
}
