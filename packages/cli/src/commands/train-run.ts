/**
 * The run behind `millrace train`. In: checked options. Out: a directory with checkpoints, metrics and a report. A resumed run takes
 * from its checkpoint whatever the command line leaves open. Ctrl-C saves a checkpoint and ends; twice ends at once.
 */
import { basename, dirname, join, resolve } from "node:path";

import type { Backend } from "@millrace/graph";
import type { DefaultSettings, TrainingSettings } from "@millrace/trainer";
import type { JsonValue, TrainResult } from "@millrace/trainer/node";

import { CommandFailed, type CliContext } from "../context.ts";
import { withProfiledBackend } from "../profile-runs.ts";
import type { TrainOptions } from "./train.ts";

export async function runTrain(options: TrainOptions, context: CliContext): Promise<void> {
  const { CheckpointError } = await import("@millrace/graph");
  const { preset } = await import("@millrace/model-v3");
  const { readConfig, readTokenizer } = await import("@millrace/model-v3/node");
  const { defaultSettings, formatCount } = await import("@millrace/trainer");
  const trainer = await import("@millrace/trainer/node");
  const { stderr } = context;

  // What is wrong with a checkpoint is said when it is resumed from, below.
  const saved = options.resume
    ? await trainer.findTrainingCheckpoint(options.out, () => undefined)
    : undefined;
  const begun = options.preset === undefined && options.config === undefined ? saved : undefined;
  const name = options.preset ?? (options.config === undefined ? "tiny" : undefined);
  const source = options.config ?? begun?.directory;
  const config = source === undefined ? preset(name!) : await readConfig(source);
  const home = source === undefined ? undefined : await directoryOf(source);
  const tokenizerHome = options.tokenizer === undefined ? home : folderOf(options.tokenizer);
  const beside = await tokenizerFiles(tokenizerHome);
  if (options.tokenizer !== undefined && !beside.has("tokenizer.json"))
    throw new CheckpointError({
      what: "there is no tokenizer.json",
      where: options.tokenizer,
      hint: "Name a tokenizer.json, or the folder of one.",
    });
  const { byteTokenizer } = await import("@millrace/model-v3");
  const tokenizer =
    tokenizerHome === undefined ? byteTokenizer() : await readTokenizer(tokenizerHome);

  const defaults = defaultSettings(config, begun ? undefined : name);
  const settings = settingsOf(options, saved?.state.options, defaults, saved?.state.seed);
  stderr.write("Reading the text …\n");
  const dataset = await trainer.readTokenDataset(options.data, { tokenizer });
  stderr.write(
    `${formatCount(dataset.train.length)} tokens from ${dataset.documents} ${dataset.documents === 1 ? "file" : "files"}, ${formatCount(dataset.heldOut.length)} held out\n`,
  );
  const interrupt = interruptible();
  try {
    const trainOn = (backend: Backend): Promise<TrainResult> =>
      trainer.train({
        config,
        backend,
        dataset,
        settings,
        directory: options.out,
        resume: options.resume,
        beside,
        memoryLimit: options.memoryLimit,
        progress: stderr,
        signal: interrupt.signal,
        title: begun || name === undefined ? config.modelType : `${name} preset`,
      });
    // The first steps are slower: the engine is still compiling them.
    const steady = { program: "train_step", measure: 5, keep: 3 };
    const result = await withProfiledBackend(options, context, trainOn, steady);
    if (result.interrupted) throw new CommandFailed();
    const { heldOut } = result;
    const gzip = trainer.gzipBitsPerByte(dataset.heldOutText);
    if (heldOut)
      stderr.write(
        `held-out: loss ${heldOut.loss.toFixed(4)}, ${heldOut.bitsPerByte.toFixed(3)} bits per byte (gzip -9: ${gzip?.toFixed(3)})\n`,
      );
    stderr.write(
      `Wrote the model to ${options.out}, its curves to ${join(options.out, trainer.reportName)}.\n`,
    );
  } finally {
    interrupt.release();
  }
}

/** What the command line says, else what the run was begun with, else the defaults. */
function settingsOf(
  options: TrainOptions,
  saved: Readonly<Record<string, JsonValue>> | undefined,
  defaults: DefaultSettings,
  savedSeed: number | undefined,
): TrainingSettings {
  const was = (name: string): number | undefined =>
    typeof saved?.[name] === "number" ? saved[name] : undefined;
  const schedule = saved?.["schedule"] as { readonly peak?: number } | undefined;
  const precision = saved?.["precision"] as TrainingSettings["precision"];
  return {
    steps: options.steps ?? was("steps") ?? defaults.steps,
    batchSize: options.batchSize ?? was("batchSize") ?? defaults.batchSize,
    sequenceLength: options.sequenceLength ?? was("sequenceLength") ?? defaults.sequenceLength,
    learningRate: options.learningRate ?? schedule?.peak ?? defaults.learningRate,
    biasUpdateSpeed: was("biasUpdateSpeed") ?? defaults.biasUpdateSpeed,
    precision: options.precision ?? precision ?? "f32",
    seed: options.seed ?? savedSeed ?? 0,
  };
}

/** The folder of a model, named itself or by its config.json. */
async function directoryOf(source: string): Promise<string> {
  const { stat } = await import("node:fs/promises");
  return (await stat(source)).isDirectory() ? source : dirname(resolve(source));
}

/** The folder of a tokenizer.json, which may be named itself. */
function folderOf(tokenizer: string): string {
  return basename(tokenizer) === "tokenizer.json" ? dirname(resolve(tokenizer)) : tokenizer;
}

/** A tokenizer's files, to be kept with the model. */
async function tokenizerFiles(
  directory: string | undefined,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const { nodeDirectory } = await import("@millrace/model-v3/node");
  const files = new Map<string, Uint8Array>();
  if (directory === undefined) return files;
  for (const name of ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]) {
    const file = await nodeDirectory(directory).open(name);
    if (!file) continue;
    try {
      files.set(name, await file.read(0, file.byteLength));
    } finally {
      await file.close();
    }
  }
  return files;
}

/** A signal that Ctrl-C or a request to end aborts. */
function interruptible(): { readonly signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const names = ["SIGINT", "SIGTERM"] as const;
  const release = (): void => {
    for (const name of names) process.off(name, stop);
  };
  // A second signal ends the process; the last whole checkpoint stays. One key press may arrive twice, from the terminal and
  // from the process that started this one.
  let first: number | undefined;
  const stop = (name: NodeJS.Signals): void => {
    if (first !== undefined && performance.now() - first > 500) {
      release();
      process.kill(process.pid, name);
    }
    first ??= performance.now();
    controller.abort();
  };
  for (const name of names) process.on(name, stop);
  return { signal: controller.signal, release };
}
