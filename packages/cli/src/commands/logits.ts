/**
 * `millrace logits`: its options and their meaning. In: the command line. Out: a checked set of options for
 * `logits-run.ts`, which holds the run itself.
 */
import { type Command, Option } from "commander";

import type { CliContext } from "../context.ts";
import {
  adapterOption,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  profileOption,
  relaxedSimdOption,
  revectorizeOption,
  threadsOption,
  type WeightChoice,
  weightsOption,
  withExamples,
} from "../options.ts";

export const attentionForms = ["naive", "absorbed"] as const;

export interface LogitsOptions extends DeviceOptions {
  readonly input: string;
  readonly out: string;
  readonly weights: WeightChoice;
  readonly attention: (typeof attentionForms)[number];
}

export function addLogits(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("logits")
      .description("Compute the logits of given tokens, the MTP module's too where there is one.")
      .argument("<dir>", "a checkpoint in Hugging Face layout")
      .requiredOption("--input <file>", "safetensors file with input_ids [B, T]")
      .requiredOption("--out <file>", "safetensors file to write logits and mtp.logits to")
      .addOption(
        new Option("--attention <form>", "which of the two equal forms of the attention")
          .choices(attentionForms)
          .default("naive"),
      )
      .addOption(weightsOption())
      .addOption(deviceOption())
      .addOption(adapterOption())
      .addOption(threadsOption())
      .addOption(relaxedSimdOption())
      .addOption(revectorizeOption())
      .addOption(profileOption("the run")),
    ["logits run --input ids.safetensors --out logits.safetensors --attention absorbed"],
  ).action(async (directory: string, options: LogitsOptions, command: Command) => {
    checkDevice(command, options);
    const { runLogits } = await import("./logits-run.ts");
    await runLogits(directory, options, context);
  });
}
