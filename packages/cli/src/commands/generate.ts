/**
 * `millrace generate`: its options and their meaning. In: the command line. Out: a checked set of options for
 * `generate-run.ts`, which holds the run itself.
 */
import { type Command, Option } from "commander";

import type { CliContext } from "../context.ts";
import {
  adapterOption,
  badUsage,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  numberIn,
  profileOption,
  relaxedSimdOption,
  revectorizeOption,
  speculation,
  threadsOption,
  tokenIds,
  wholeNumber,
  type WeightChoice,
  weightsOption,
  withExamples,
} from "../options.ts";

export interface GenerateOptions extends DeviceOptions {
  readonly prompt?: string;
  readonly promptIds?: readonly number[];
  readonly maxTokens: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly seed: number;
  readonly weights: WeightChoice;
  readonly speculative: number | "off";
  readonly json?: boolean;
}

export function addGenerate(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("generate")
      .summary("Continue a prompt with the model in a directory.")
      .description(
        "Continue a prompt with the model in a directory. Its generation_config.json, where it has one, says how to sample and which tokens end the text; options override it.",
      )
      .argument("<dir>", "a checkpoint in Hugging Face layout, such as the --out of a training")
      .addOption(new Option("--prompt <text>", "text to continue").conflicts("promptIds"))
      .addOption(
        new Option("--prompt-ids <ids>", "token ids to continue, such as 1,2,3").argParser(
          tokenIds,
        ),
      )
      .option("--max-tokens <n>", "tokens to add at most", wholeNumber(1), 128)
      .option(
        "--temperature <t>",
        "0 takes the likeliest token; 1 samples as the model says (default: the model's, else 0)",
        numberIn("a number from 0", (value) => value >= 0),
      )
      .option(
        "--top-p <p>",
        "sample from the likeliest tokens that hold this share (default: the model's, else 1)",
        numberIn("a number above 0 and at most 1", (value) => value > 0 && value <= 1),
      )
      .option(
        "--top-k <k>",
        "sample from the k likeliest tokens (default: the model's, else all)",
        wholeNumber(1),
      )
      .option(
        "--min-p <p>",
        "sample from tokens at least this fraction as likely as the likeliest (default: the model's, else 0)",
        numberIn("a number from 0 to 1", (value) => value >= 0 && value <= 1),
      )
      .option("--seed <s>", "of the sampling", wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
      .option(
        "--speculative <k>",
        "tokens that the MTP module drafts at a time, or off",
        speculation,
        "off",
      )
      .option("--json", "one JSON object on stdout: tokens, text, drafted, accepted, speeds")
      .addOption(weightsOption())
      .addOption(deviceOption())
      .addOption(adapterOption())
      .addOption(threadsOption())
      .addOption(relaxedSimdOption())
      .addOption(revectorizeOption())
      .addOption(profileOption("every run, of prompt and tokens")),
    [
      'generate run --prompt "interface " --max-tokens 64',
      "generate run --prompt-ids 1,2,3 --temperature 0.8 --top-p 0.95 --seed 7",
      'generate run --prompt "interface " --speculative 1 --json',
    ],
  ).action(async (directory: string, options: GenerateOptions, command: Command) => {
    if (options.prompt === undefined && options.promptIds === undefined)
      badUsage(command, "one of '--prompt <text>' and '--prompt-ids <ids>' is needed.");
    checkDevice(command, options);
    const { runGenerate } = await import("./generate-run.ts");
    await runGenerate(directory, options, context);
  });
}
