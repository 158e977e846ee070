/**
 * Where a run goes; Node only. In: a directory and whether to resume. Out: the checkpoint to go on from, or nothing
 * for a fresh run; a directory that would lose something is refused, with the remedy. Writes nothing but the directory.
 */
import { readdir } from "node:fs/promises";

import { CheckpointError } from "@millrace/graph";
import { makeFolder } from "@millrace/model-v3/node";

import { findTrainingCheckpoint, type FoundCheckpoint } from "./checkpoint/load.ts";

export const metricsName = "metrics.jsonl";
export const reportName = "report.html";

/** Opens the directory of a run. `resume` in a directory without any run begins one. */
export async function openRunDirectory(
  directory: string,
  resume: boolean,
  warn: (message: string) => void,
): Promise<FoundCheckpoint | undefined> {
  const names = await list(directory);
  const hasModel = names.some(
    (name) => name === "config.json" || /^model.*\.safetensors/.test(name),
  );
  const hasRun = names.includes("training") || names.includes(metricsName);
  if (!resume && (hasRun || hasModel))
    throw new CheckpointError({
      what: hasRun ? "the directory already holds a run" : "the directory already holds a model",
      where: directory,
      hint: hasRun
        ? "Go on with it by --resume, or train into another directory."
        : "Train into another directory.",
    });
  if (!resume) return undefined;
  const found = await findTrainingCheckpoint(directory, warn);
  if (!found && hasModel)
    throw new CheckpointError({
      what: "the directory holds a model but no training checkpoint to resume from",
      where: directory,
      hint: "Train into another directory.",
    });
  if (!found) warn(`There is nothing to resume in ${directory} yet; the run begins.`);
  return found;
}

async function list(directory: string): Promise<readonly string[]> {
  try {
    await makeFolder(directory);
    return await readdir(directory);
  } catch (cause) {
    throw new CheckpointError({
      what: `the directory of the run cannot be used (${(cause as NodeJS.ErrnoException).code ?? "unknown"})`,
      where: directory,
      hint: "Name a directory that may be written.",
      cause,
    });
  }
}
