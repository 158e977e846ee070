/**
 * `millrace compile`: its options and their meaning. In: the command line. Out: a checked set of options for
 * `compile-run.ts`, which holds the run itself.
 */
import { type Command, Option } from "commander";

import type { CliContext } from "../context.ts";
import { type GraphName, graphNames } from "../graph-names.ts";
import {
  adapterOption,
  badUsage,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  relaxedSimdOption,
  revectorizeOption,
  threadsOption,
  withExamples,
} from "../options.ts";

export const printedForms = ["graph", "fused", "kernels", "program", "emitted"] as const;

export interface CompileOptions extends DeviceOptions {
  readonly preset?: string;
  readonly graph: GraphName;
  readonly print: (typeof printedForms)[number];
}

export function addCompile(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("compile")
      .description("Print what the compiler makes of a model, after any stage.")
      .argument("[dir]", "directory with a config.json, or the file itself")
      .option("--preset <name>", "a model that comes with the program, in place of the directory")
      .addOption(
        new Option("--graph <name>", "which of the model's graphs")
          .choices(graphNames)
          .makeOptionMandatory(),
      )
      .addOption(
        new Option("--print <form>", "which form of it")
          .choices(printedForms)
          .makeOptionMandatory(),
      )
      .addOption(deviceOption())
      .addOption(adapterOption())
      .addOption(threadsOption())
      .addOption(relaxedSimdOption())
      .addOption(revectorizeOption()),
    [
      "compile --preset tiny --graph decode --print graph",
      "compile run --graph train --print program",
    ],
  ).action(async (directory: string | undefined, options: CompileOptions, command: Command) => {
    if ((directory === undefined) === (options.preset === undefined))
      badUsage(command, "either a directory or '--preset <name>' is needed, not both.");
    if (options.preset !== undefined) {
      const { presetNames } = await import("@millrace/model-v3");
      if (!(presetNames as readonly string[]).includes(options.preset))
        badUsage(
          command,
          `option '--preset <name>' argument '${options.preset}' is invalid. Allowed choices are ${presetNames.join(", ")}.`,
        );
    }
    checkDevice(command, options);
    const { runCompile } = await import("./compile-run.ts");
    await runCompile(directory, options, context);
  });
}
