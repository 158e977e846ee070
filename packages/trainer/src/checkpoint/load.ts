/**
 * Finding a training checkpoint to resume from; Node only. In: a run's directory. Out: the newest checkpoint whose files
 * all have the size and the SHA-256 of its manifest. A damaged one is passed over with a warning that names the file.
 */
import { readdir, readFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { CheckpointError } from "@millrace/graph";

import { measureFile } from "./durable.ts";
import { manifestName, parseManifest, type TrainingState } from "./manifest.ts";
import { latestName, stepName, stepOfName } from "./save.ts";

/** A checkpoint that was checked and may be read. */
export interface FoundCheckpoint {
  /** The path of its `step-N`, with the model's and the training's files. */
  readonly directory: string;
  readonly state: TrainingState;
  readonly files: readonly string[];
}

/**
 * The checkpoint to resume from, or undefined when `directory` has none at all (a run killed before its first one begins
 * anew). When there are some and none is whole, that is an error.
 */
export async function findTrainingCheckpoint(
  directory: string,
  warn: (message: string) => void,
): Promise<FoundCheckpoint | undefined> {
  const training = join(directory, "training");
  const problems: string[] = [];
  for (const name of await candidates(training)) {
    const path = join(training, name);
    try {
      return await openCheckpoint(path);
    } catch (cause) {
      if (!(cause instanceof CheckpointError)) throw cause;
      problems.push(cause.message);
      warn(`${cause.message} Trying the checkpoint before it.`);
    }
  }
  if (problems.length === 0) return undefined;
  throw new CheckpointError({
    what: `none of the ${problems.length} training checkpoints is whole; the newest: ${problems[0]}`,
    where: training,
    hint: "Restore the directory from a copy, or train again without resuming.",
  });
}

/** Names of checkpoints: the one `latest` names, then the others from the newest to the oldest. */
async function candidates(training: string): Promise<readonly string[]> {
  let names: string[];
  try {
    names = await readdir(training);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return [];
    throw new CheckpointError({
      what: `the training checkpoints cannot be listed (${code ?? "unknown"})`,
      where: training,
      hint: "Check that the directory may be read.",
      cause,
    });
  }
  const newestFirst = names
    .flatMap((name) => stepOfName(name) ?? [])
    .sort((a, b) => b - a)
    .map(stepName);
  const latest = await readFile(join(training, latestName), "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
  if (latest === undefined || !newestFirst.includes(latest)) return newestFirst;
  return [latest, ...newestFirst.filter((name) => name !== latest)];
}

async function openCheckpoint(path: string): Promise<FoundCheckpoint> {
  const manifestPath = join(path, manifestName);
  let text: string;
  try {
    text = await readFile(manifestPath, "utf8");
  } catch (cause) {
    throw unreadable(manifestPath, cause);
  }
  const manifest = parseManifest(text, manifestPath);
  if (stepName(manifest.state.step) !== basename(path))
    throw new CheckpointError({
      what: `the manifest is of step ${manifest.state.step}`,
      where: manifestPath,
      hint: "Give the directory its own name back.",
    });
  for (const [name, expected] of Object.entries(manifest.files)) {
    const file = join(path, name);
    let got;
    try {
      got = await measureFile(file);
    } catch (cause) {
      throw unreadable(file, cause);
    }
    if (got.bytes !== expected.bytes)
      throw damaged(`the file has ${got.bytes} bytes, its manifest says ${expected.bytes}`, file);
    if (got.sha256 !== expected.sha256)
      throw damaged("the file's content is not what its manifest says (SHA-256 differs)", file);
  }
  return { directory: path, state: manifest.state, files: Object.keys(manifest.files) };
}

function unreadable(file: string, cause: unknown): CheckpointError {
  const { code } = cause as NodeJS.ErrnoException;
  return damaged(
    code === "ENOENT" ? "the file is missing" : `the file cannot be read (${code ?? "unknown"})`,
    file,
    cause,
  );
}

function damaged(what: string, where: string, cause?: unknown): CheckpointError {
  return new CheckpointError({
    what,
    where,
    hint: "Delete this step's directory, or restore the file.",
    cause,
  });
}
