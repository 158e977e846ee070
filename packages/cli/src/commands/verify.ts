/**
 * `millrace verify`: its options and their meaning. In: the command line. Out: a checked set of options for
 * `verify-run.ts`, which holds the run itself.
 */
import type { Command } from "commander";

import { type CliContext, CommandFailed } from "../context.ts";
import {
  adapterOption,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  profileOption,
  relaxedSimdOption,
  revectorizeOption,
  threadsOption,
  withExamples,
} from "../options.ts";

export interface VerifyOptions extends DeviceOptions {
  readonly json?: boolean;
}

export function addVerify(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("verify")
      .description("Recompute the expected tensors of a case and compare, a row per tensor.")
      .argument("<case-dir>", "directory with expected.safetensors, and config and weights if any")
      .option("--json", "one JSON object on stdout")
      .addOption(deviceOption())
      .addOption(adapterOption())
      .addOption(threadsOption())
      .addOption(relaxedSimdOption())
      .addOption(revectorizeOption())
      .addOption(profileOption("every run")),
    ["verify golden/v3-base", "verify golden/train-step --device interpreter --json"],
  ).action(async (directory: string, options: VerifyOptions, command: Command) => {
    checkDevice(command, options);
    const { runVerify } = await import("./verify-run.ts");
    if (!(await runVerify(directory, options, context))) throw new CommandFailed();
  });
}
