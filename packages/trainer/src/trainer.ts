/**
 * The training loop. In: a configuration, a backend, packed tokens, a directory. Out: a trained store, and in the directory
 * checkpoints, `metrics.jsonl` and a report. No maths: a step is one program. All that a step depends on is the state in the
 * last checkpoint and its number, so a run killed at any moment and resumed gives the same bits as one never killed.
 */
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";

import {
  AttributeError,
  type Backend,
  compile,
  type CompiledProgram,
  hostTensor,
  InputError,
  type Store,
} from "@millrace/graph";
import { configToJson, declareInit, type ModelConfig, type Precision } from "@millrace/model-v3";

import { checkResumable, type JsonValue, type TrainingState } from "./checkpoint/manifest.ts";
import { removeLeftovers, saveTrainingCheckpoint } from "./checkpoint/save.ts";
import { restoreState, writeModelState, writeMomentState } from "./checkpoint/store-state.ts";
import { createBatchSource, heldOutBatches } from "./data/batch.ts";
import type { TokenDataset } from "./data/token-dataset.ts";
import { evaluate, type HeldOutResult, loadsOf } from "./evaluate.ts";
import { fitTrainStep } from "./fit-train-step.ts";
import { expectPositions } from "./loss/mtp.ts";
import { openMetricsFile } from "./metrics-file.ts";
import {
  createProgressLine,
  maxViolation,
  type MetricsRecord,
  type ProgressStream,
} from "./metrics.ts";
import { learningRateAt, type Schedule, scheduleOver } from "./optimizer/schedule.ts";
import { metricsName, openRunDirectory, reportName } from "./run-directory.ts";
import { writeRunReport } from "./run-report.ts";
import { declareEvaluation } from "./train-step.ts";

/** What fixes the bits of a run, besides its data. */
export interface TrainingSettings {
  readonly steps: number;
  /** Sequences per step. */
  readonly batchSize: number;
  readonly sequenceLength: number;
  /** Learning rate of the constant stretch of the schedule. */
  readonly learningRate: number;
  /** What the linear layers compute in; "f32" unless told. */
  readonly precision?: Precision | undefined;
  /** Of the initial weights and the order of the data; 0 unless told. */
  readonly seed?: number | undefined;
  /** Unless told, `scheduleOver(steps, learningRate)`. */
  readonly schedule?: Schedule | undefined;
  /** Unless told, 0.3. */
  readonly mtpLossWeight?: number | undefined;
  /** Unless told, 0.001. */
  readonly biasUpdateSpeed?: number | undefined;
}

export interface TrainOptions {
  readonly config: ModelConfig;
  readonly backend: Backend;
  readonly dataset: TokenDataset;
  readonly settings: TrainingSettings;
  readonly directory: string;
  /** Go on from the last whole checkpoint in `directory`. */
  readonly resume?: boolean | undefined;
  /** Steps between checkpoints; a tenth of the run, 10 to 500, unless told. One is made at the end in any case. */
  readonly checkpointEvery?: number | undefined;
  /** Steps between evaluations; a tenth of the run unless told. The last step is evaluated on all held-out text. */
  readonly evaluateEvery?: number | undefined;
  /** Batches of an evaluation on the way; 8 unless told. */
  readonly heldOutBatches?: number | undefined;
  /** Files to keep with the model: the tokenizer's. */
  readonly beside?: ReadonlyMap<string, Uint8Array> | undefined;
  /** Where the model and the moments live; one of its own unless given, disposed at the end. */
  readonly store?: Store | undefined;
  /** Most bytes that a step may take, parameters and moments included; what the device offers unless told. */
  readonly memoryLimit?: number | undefined;
  readonly progress: ProgressStream;
  /** Aborted: the step is finished, a checkpoint is made, and `train` returns. */
  readonly signal?: AbortSignal | undefined;
  /** Title of the report. */
  readonly title?: string | undefined;
}

export interface TrainResult {
  /** Steps finished. */
  readonly step: number;
  /** True when `signal` ended the run early. */
  readonly interrupted: boolean;
  /** Every step's, those before a resume included. */
  readonly records: readonly MetricsRecord[];
  /** Of the last step; undefined when interrupted or when there is too little held-out text. */
  readonly heldOut: HeldOutResult | undefined;
  /** As the last checkpoint has it. */
  readonly state: TrainingState;
}

/** Trains, or goes on training, until `settings.steps` steps are done. */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const { config, backend, directory, settings, dataset, progress } = options;
  const { steps, batchSize, sequenceLength, precision = "f32" } = settings;
  checkSettings(options);
  const found = await openRunDirectory(directory, options.resume ?? false, (message) =>
    progress.write(`${message}\n`),
  );
  const state = initialState(options);
  if (found) checkSameRun(found.state, state, found.directory, progress);
  const first = found?.state.step ?? 0;
  const { seed } = state;
  const schedule = settings.schedule ?? scheduleOver(steps, settings.learningRate);

  const store = options.store ?? backend.createStore();
  const batches = createBatchSource({ tokens: dataset.train, batchSize, sequenceLength, seed });
  const heldOut = (maxBatches?: number): ReturnType<typeof heldOutBatches> =>
    heldOutBatches({ tokens: dataset.heldOut, batchSize, sequenceLength, maxBatches });
  const size = { batch: batchSize, sequenceLength };
  const { mtpLossWeight, biasUpdateSpeed } = settings;
  const fitted = await fitTrainStep(
    config,
    { ...size, precision, mtpLossWeight, biasUpdateSpeed },
    backend,
    options.memoryLimit,
  );
  if (fitted.recomputedLayers > 0)
    progress.write(
      `The backward pass recomputes ${fitted.recomputedLayers} layers to stay within ${options.memoryLimit === undefined ? "what the device holds" : `${options.memoryLimit} bytes`}.\n`,
    );
  const step = await compile(fitted.graph, backend, { store });
  const evaluation = await compile(declareEvaluation(config, size), backend, { store });
  const metrics = openMetricsFile(join(directory, metricsName), first);
  const line = createProgressLine({
    stream: progress,
    totalSteps: steps,
    firstStep: first,
    now: () => performance.now(),
  });
  const records = [...metrics.earlier];
  const report = (): Promise<void> =>
    writeRunReport(join(directory, reportName), { ...options, state, records, backend });
  let done = first;
  let saved = found ? first : -1;
  const save = async (): Promise<void> => {
    if (saved === done) return;
    await saveTrainingCheckpoint(directory, {
      state: { ...state, step: done },
      writeModel: (into) => writeModelState(into, config, store, options.beside ?? new Map()),
      writeTraining: (into) => writeMomentState(into, config, store),
    });
    saved = done;
    await report();
  };
  const checkpointEvery =
    options.checkpointEvery ?? Math.min(500, Math.max(10, Math.ceil(steps / 10)));
  const evaluateEvery = options.evaluateEvery ?? Math.max(1, Math.ceil(steps / 10));
  let last: HeldOutResult | undefined;
  try {
    if (found) {
      // A kill while the last checkpoint made room leaves what no later one would remove.
      await removeLeftovers(directory);
      await restoreState(found.directory, config, store);
      line.note(`Resuming from step ${first}.`);
    } else {
      await initialize(config, seed, backend, store);
    }
    const stopped = (): boolean => options.signal?.aborted === true;
    while (done < steps && !stopped()) {
      const number = done + 1;
      const begun = performance.now();
      const learningRate = learningRateAt(number, schedule);
      const { inputIds, width } = batches.batchAt(done);
      const outputs = await step.run({
        input_ids: hostTensor("i32", [batchSize, width], inputIds),
        learning_rate: hostTensor("f32", [], [learningRate]),
        step: hostTensor("i32", [], [number]),
      });
      const seconds = (performance.now() - begun) / 1000;
      done = number;
      const measured = recordOf(number, outputs, saved);
      const final = done === steps;
      last = undefined;
      if (final || done % evaluateEvery === 0)
        last = await evaluate(
          evaluation,
          heldOut(final ? undefined : (options.heldOutBatches ?? 8)),
          dataset,
        );
      const record: MetricsRecord = {
        ...measured,
        learningRate,
        tokensPerSecond: batches.tokensPerBatch / seconds,
        ...(last && {
          heldOutLoss: last.loss,
          heldOutMtpLoss: last.mtpLoss,
          heldOutBitsPerByte: last.bitsPerByte,
          maxVioGlobal: last.maxVioGlobal,
        }),
      };
      records.push(record);
      metrics.append(record);
      line.show(record);
      if (final || done % checkpointEvery === 0) await save();
      // A program runs without giving way; this lets signals in between steps.
      await setImmediate();
    }
    const interrupted = done < steps;
    if (interrupted) {
      await save();
      line.note(`Stopped after step ${done}; a checkpoint was saved. Go on with --resume.`);
    } else if (first === steps) {
      last = await evaluate(evaluation, heldOut(), dataset);
      await report();
    }
    return {
      step: done,
      interrupted,
      records,
      heldOut: interrupted ? undefined : last,
      state: { ...state, step: done },
    };
  } finally {
    line.finish();
    metrics.close();
    step.dispose();
    evaluation.dispose();
    if (!options.store) store.dispose();
  }
}

async function initialize(
  config: ModelConfig,
  seed: number,
  backend: Backend,
  store: Store,
): Promise<void> {
  const program = await compile(declareInit(config, seed), backend, { store });
  await program.run({});
  program.dispose();
}

function recordOf(
  step: number,
  outputs: Awaited<ReturnType<CompiledProgram["run"]>>,
  saved: number,
): MetricsRecord {
  const scalar = (name: string): number | undefined =>
    outputs[name] && Number(outputs[name].data[0]);
  for (const name of ["total_loss", "grad_norm"])
    if (!Number.isFinite(scalar(name)))
      throw new InputError({
        what: `${name} is ${scalar(name)} in step ${step}`,
        where: "training",
        hint: `Lower the learning rate and train again${saved > 0 ? `; the checkpoint of step ${saved} is whole` : ""}.`,
      });
  const maxVioPerLayer = loadsOf(outputs).map(([, load]) => maxViolation(load));
  return {
    step,
    loss: scalar("loss")!,
    mtpLoss: scalar("mtp_loss"),
    balanceLoss: scalar("balance_loss"),
    gradNorm: scalar("grad_norm"),
    ...(maxVioPerLayer.length > 0 && { maxVio: Math.max(...maxVioPerLayer), maxVioPerLayer }),
  };
}

function initialState({ config, dataset, settings }: TrainOptions): TrainingState {
  const { steps, batchSize, sequenceLength, learningRate, precision = "f32" } = settings;
  const options: Record<string, JsonValue> = {
    // As the checkpoint's config.json will say: weights are stored as they are trained, in f32.
    model: configToJson({
      ...config,
      torchDtype: "float32",
      quantizationConfig: null,
    }) as JsonValue,
    steps,
    batchSize,
    sequenceLength,
    precision,
    schedule: settings.schedule ?? scheduleOver(steps, learningRate),
    mtpLossWeight: settings.mtpLossWeight ?? 0.3,
    biasUpdateSpeed: settings.biasUpdateSpeed ?? 0.001,
  };
  return { step: 0, seed: settings.seed ?? 0, dataFingerprint: dataset.fingerprint, options };
}

/** Refuses to go on with other options. The number of steps may change, and with it the learning rates still to come. */
function checkSameRun(
  saved: TrainingState,
  wanted: TrainingState,
  where: string,
  progress: ProgressStream,
): void {
  const { steps } = wanted.options;
  if (saved.step > Number(steps))
    throw new AttributeError({
      what: `the run has done ${saved.step} steps, more than the ${Number(steps)} asked for`,
      where,
      hint: `Ask for ${saved.step} steps or more, or train into another directory.`,
    });
  if (saved.options["steps"] === steps) {
    checkResumable(saved, wanted, where);
    return;
  }
  const { schedule = null, steps: before = null } = saved.options;
  checkResumable(
    saved,
    { ...wanted, options: { ...wanted.options, schedule, steps: before } },
    where,
  );
  progress.write(
    `The run was begun for ${Number(before)} steps and goes on for ${Number(steps)}, with the learning rates of such a run.\n`,
  );
}

function checkSettings({ config, settings, dataset }: TrainOptions): void {
  const { steps, sequenceLength, learningRate } = settings;
  const refuse = (what: string, hint: string): never => {
    throw new AttributeError({ what, where: "training settings", hint });
  };
  if (!Number.isSafeInteger(steps) || steps < 1)
    refuse(`steps is ${steps}`, "Pass a whole number from 1.");
  if (!(learningRate > 0 && Number.isFinite(learningRate)))
    refuse(`the learning rate is ${learningRate}`, "Pass a number above 0.");
  if (sequenceLength > config.maxPositionEmbeddings)
    refuse(
      `sequences of ${sequenceLength} tokens, but the model has ${config.maxPositionEmbeddings} positions`,
      "Shorten the sequences, or raise max_position_embeddings.",
    );
  expectPositions(config, sequenceLength);
  if (dataset.vocabSize > config.vocabSize)
    refuse(
      `the tokenizer has ${dataset.vocabSize} tokens, the model's vocabulary ${config.vocabSize}`,
      "Set vocab_size to the tokenizer's, or use the tokenizer that belongs to the model.",
    );
}
