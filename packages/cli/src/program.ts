/**
 * Arguments to commands, errors to exit statuses. In: arguments and streams. Out: 0, 1 (an error, one line on stderr) or
 * 2 (bad usage). Importing this imports no model code; each command imports what it needs when it runs.
 */
import { readFileSync } from "node:fs";

import { Command, CommanderError, Help } from "commander";

import { addCompile } from "./commands/compile.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addGenerate } from "./commands/generate.ts";
import { addInspect } from "./commands/inspect.ts";
import { addLogits } from "./commands/logits.ts";
import { addTrain } from "./commands/train.ts";
import { addVerify } from "./commands/verify.ts";
import { type CliContext, CommandFailed } from "./context.ts";

/** Runs one command line and returns the exit status; never throws and never exits. */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  try {
    await createProgram(context).parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    return report(error, context);
  }
}

function createProgram(context: CliContext): Command {
  const program = new Command("millrace");
  program
    .description("Train, run and look into DeepSeek-V3 models on this machine.")
    .version(packageVersion())
    .exitOverride()
    .showHelpAfterError('See "millrace --help".')
    .configureHelp({
      optionDescription: (option) =>
        option.mandatory && option.defaultValue === undefined
          ? `(required) ${Help.prototype.optionDescription(option)}`
          : Help.prototype.optionDescription(option),
    })
    .configureOutput({
      writeOut: (text) => void context.stdout.write(text),
      writeErr: (text) => void context.stderr.write(text),
      getOutHelpWidth: () => context.stdout.columns || 100,
      getErrHelpWidth: () => context.stderr.columns || 100,
      outputError: (text, write) => write(text.replace(/^error: /, "millrace: ")),
    })
    .addHelpText(
      "after",
      `
Examples:
  $ millrace train --preset tiny --data "docs/**/*.md" --out run
  $ millrace generate run --prompt "Once upon" --max-tokens 64 --speculative 1
  $ millrace doctor

Run "millrace <command> --help" for a command's options and examples.`,
    );
  for (const add of [
    addTrain,
    addGenerate,
    addLogits,
    addVerify,
    addInspect,
    addCompile,
    addDoctor,
  ])
    add(program, context);
  for (const command of program.commands)
    command.showHelpAfterError(`See "millrace ${command.name()} --help".`);
  return program;
}

async function report(error: unknown, { stderr }: CliContext): Promise<number> {
  if (error instanceof CommandFailed) return error.exitCode;
  // Commander has printed its errors. Help that was asked for is no error; help for want of a command is.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  const { InternalError, MillraceError } = await import("@millrace/graph");
  if (error instanceof MillraceError) {
    stderr.write(`millrace: ${oneLine(error.message)}\n`);
    if (error instanceof InternalError) stderr.write(`${error.stack ?? ""}\n`);
    return 1;
  }
  stderr.write(
    `millrace: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  return 1;
}

/**
 * A message as one line of a terminal. Names in it may come from damaged files: what controls the terminal is shown as a
 * space, and of what is very long the middle is left out, since the remedy stands at the end.
 */
function oneLine(message: string): string {
  const line = message.replaceAll(/[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ");
  return line.length <= 2000 ? line : `${line.slice(0, 1000)} … ${line.slice(-900)}`;
}

function packageVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
