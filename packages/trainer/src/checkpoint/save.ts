/**
 * Training checkpoints on disk; Node only. In: the state, and functions that write the model and the training tensors
 * into a directory. Out: `DIR/training/step-N/`, whole or not there; `DIR/training/latest`, which names it; and the
 * model's files in `DIR` itself, in Hugging Face layout. Whenever the process is killed, the last whole checkpoint is
 * still there: nothing is changed in place, and old checkpoints go only after the pointer has moved on.
 */
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { CheckpointError } from "@millrace/graph";
import { makeFolder } from "@millrace/model-v3/node";

import { flush, measureFile, publishWhole, temporaryPrefix, writeWhole } from "./durable.ts";
import {
  formatManifest,
  type Manifest,
  type ManifestFile,
  manifestName,
  type TrainingState,
} from "./manifest.ts";

export interface TrainingCheckpoint {
  readonly state: TrainingState;
  /** Writes config.json, the weights and the tokenizer's files into the directory: what `DIR` shows to others. */
  writeModel(directory: string): Promise<void>;
  /** Writes what only resuming needs (moments, master weights) into the directory, under other names. */
  writeTraining(directory: string): Promise<void>;
}

export interface SaveOptions {
  /** Whole checkpoints kept, this one included; 2 unless told, so that one damaged file does not end the run. */
  readonly keep?: number | undefined;
}

/** Writes one checkpoint below `directory` and returns the path of its `step-N`. */
export async function saveTrainingCheckpoint(
  directory: string,
  checkpoint: TrainingCheckpoint,
  options: SaveOptions = {},
): Promise<string> {
  const training = join(directory, "training");
  const name = stepName(checkpoint.state.step);
  const final = join(training, name);
  const temporary = join(training, `${temporaryPrefix}${process.pid}-${name}`);
  try {
    await makeFolder(training);
    await removeLeftovers(directory);
    await mkdir(temporary);
    await checkpoint.writeModel(temporary);
    const modelFiles = (await readdir(temporary)).sort();
    await checkpoint.writeTraining(temporary);
    const files: Record<string, ManifestFile> = {};
    for (const file of (await readdir(temporary)).sort()) {
      files[file] = await measureFile(join(temporary, file));
      await flush(join(temporary, file));
    }
    const manifest: Manifest = { state: checkpoint.state, files };
    await writeWhole(join(temporary, manifestName), formatManifest(manifest));

    // A step-N is there already when a damaged or an abandoned one is trained over.
    await discard(training, name);
    await rename(temporary, final);
    await flush(training);
    await writeWhole(join(training, latestName), `${name}\n`);
    await publish(directory, final, modelFiles);
    await removeOld(training, name, options.keep ?? 2);
    return final;
  } catch (cause) {
    // Room for whoever has to make some; what cannot be removed now is removed by the next checkpoint.
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof CheckpointError) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause;
    throw new CheckpointError({
      what: `the checkpoint of step ${checkpoint.state.step} cannot be written (${code})`,
      where: directory,
      hint:
        code === "ENOSPC"
          ? "Free some disk space; the run can be resumed from the checkpoint before."
          : "Check that the directory may be written.",
      cause,
    });
  }
}

export const latestName = "latest";

/** `step-120`. */
export function stepName(step: number): string {
  return `step-${step}`;
}

/** The step of a checkpoint's directory name, or undefined for another name. */
export function stepOfName(name: string): number | undefined {
  const digits = /^step-(\d{1,15})$/.exec(name)?.[1];
  return digits === undefined ? undefined : Number(digits);
}

/** Puts the model's files into `directory`, replacing those of an earlier step one by one. */
async function publish(directory: string, from: string, files: readonly string[]): Promise<void> {
  // Shards before the index that names them, and everything before the leftovers of another sharding go.
  const weights = files.filter((file) => file.endsWith(".safetensors"));
  const others = files.filter((file) => !file.endsWith(".safetensors"));
  for (const file of [...weights, ...others])
    await publishWhole(join(from, file), join(directory, file));
  for (const file of await readdir(directory))
    if (/^model.*\.safetensors(\.index\.json)?$/.test(file) && !files.includes(file))
      await rm(join(directory, file), { force: true });
  await flush(directory);
}

async function removeOld(training: string, current: string, keep: number): Promise<void> {
  const currentStep = stepOfName(current) ?? 0;
  const steps = (await readdir(training))
    .flatMap((name) => stepOfName(name) ?? [])
    .sort((a, b) => b - a);
  const kept = steps.filter((step) => step <= currentStep).slice(0, Math.max(1, keep));
  for (const step of steps)
    // Steps past the current one belong to a run that was abandoned for this one.
    if (!kept.includes(step)) await discard(training, stepName(step));
}

/** Removes a checkpoint; a kill in between leaves it whole, or under a name that nobody reads. */
async function discard(training: string, name: string): Promise<void> {
  const aside = join(training, `${temporaryPrefix}${process.pid}-old-${name}`);
  try {
    await rename(join(training, name), aside);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return;
    throw cause;
  }
  await rm(aside, { recursive: true, force: true });
}

/** Removes from a run's directory what a killed process was writing. Two processes never train into one directory. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const folder of [directory, join(directory, "training")])
    for (const name of await readdir(folder))
      if (name.startsWith(temporaryPrefix))
        await rm(join(folder, name), { recursive: true, force: true });
}
