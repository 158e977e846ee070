/**
 * `millrace train`: its options and their meaning. In: the command line. Out: a checked set of options for
 * `train-run.ts`, which holds the run itself.
 */
import { type Command, Option } from "commander";

import type { CliContext } from "../context.ts";
import {
  adapterOption,
  badUsage,
  byteCount,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  numberIn,
  type Preset,
  presets,
  profileOption,
  relaxedSimdOption,
  revectorizeOption,
  threadsOption,
  wholeNumber,
  withExamples,
} from "../options.ts";

export const precisions = ["f32", "bf16", "fp8"] as const;

export interface TrainOptions extends DeviceOptions {
  readonly preset?: Preset;
  readonly config?: string;
  readonly data: readonly string[];
  readonly out: string;
  readonly steps?: number;
  readonly precision?: (typeof precisions)[number];
  readonly batchSize?: number;
  readonly sequenceLength?: number;
  readonly learningRate?: number;
  readonly tokenizer?: string;
  readonly seed?: number;
  readonly resume?: boolean;
  readonly memoryLimit?: number;
}

export function addTrain(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("train")
      .description(
        "Train a model on text files and write checkpoint, metrics and report to a directory.",
      )
      .addOption(
        new Option("--preset <name>", "a model that comes with the program (default: tiny)")
          .choices(presets)
          .conflicts("config"),
      )
      .option("--config <file>", "a Hugging Face config.json; a tokenizer.json beside it is used")
      .requiredOption("--data <glob...>", "text files to train on; quote globs")
      .requiredOption("--out <dir>", "where the run goes")
      .option(
        "--steps <n>",
        "optimizer steps in total (default: tiny 300, small 1500, others 1000)",
        wholeNumber(1),
      )
      .addOption(
        new Option("--precision <name>", "format of the matrix products (default: f32)").choices(
          precisions,
        ),
      )
      .option(
        "--seed <s>",
        "of the initial weights and the order of the data (default: 0)",
        wholeNumber(0, Number.MAX_SAFE_INTEGER),
      )
      .option(
        "--batch-size <n>",
        "sequences per step (default: tiny 16, small 3, others 4)",
        wholeNumber(1),
      )
      .option(
        "--sequence-length <n>",
        "tokens per sequence (default: tiny 64, small 192, others up to 256)",
        wholeNumber(1),
      )
      .option(
        "--learning-rate <x>",
        "after the warm-up, before the cosine (default: tiny 0.0005, small 0.0025, others by width)",
        numberIn("a number above 0", (value) => value > 0),
      )
      .option(
        "--tokenizer <file>",
        "a tokenizer.json, or its folder (default: the one beside --config, else bytes)",
      )
      .option(
        "--memory-limit <size>",
        "such as 512MiB or 2GB: layers are recomputed in the backward pass until a step fits (default: what the device offers)",
        byteCount,
      )
      .option(
        "--resume",
        "go on from the last whole checkpoint in --out, if any; what is not named stays as it was begun",
      )
      .addOption(deviceOption())
      .addOption(adapterOption())
      .addOption(threadsOption())
      .addOption(relaxedSimdOption())
      .addOption(revectorizeOption())
      .addOption(profileOption("three steady steps, the third to the fifth")),
    [
      'train --preset tiny --data "docs/**/*.md" --out run',
      "train --config my/config.json --data a.txt b.txt --out run --steps 2000 --precision bf16",
      'train --preset tiny --data "docs/**/*.md" --out run --resume',
    ],
  ).action(async (options: TrainOptions, command: Command) => {
    for (const pattern of options.data)
      if (pattern === "") badUsage(command, "option '--data <glob...>' has an empty pattern.");
    checkDevice(command, options);
    const { runTrain } = await import("./train-run.ts");
    await runTrain(options, context);
  });
}
