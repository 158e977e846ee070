/**
 * Options that several commands take, and parsers of option values. In: text from the command line. Out: values in their
 * domain, or commander's error, which ends in exit status 2.
 */
import { type Command, InvalidArgumentError, Option } from "commander";

/** What `--device` names. */
export const devices = ["wasm", "gpu", "interpreter"] as const;
export type Device = (typeof devices)[number];

export const presets = ["tiny", "small"] as const;
export type Preset = (typeof presets)[number];

export interface DeviceOptions {
  readonly device: Device;
  readonly adapter?: string;
}

/** `--device`, the same on every command. */
export function deviceOption(): Option {
  return new Option("--device <name>", "what computes").choices(devices).default("wasm");
}

/** `--adapter`, beside it. */
export function adapterOption(): Option {
  return new Option("--adapter <name>", "which GPU, by a part of its name (millrace doctor)");
}

/** Sizes and counts are 32-bit integers in the programs. */
const largestCount = 2 ** 31 - 1;

/** Parser of a whole number from `min` to `max`. */
export function wholeNumber(min: number, max: number = largestCount): Parser<number> {
  return (text) => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isSafeInteger(value) || value < min || value > max)
      throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Parser of a number in an interval. */
export function numberIn(
  description: string,
  isAllowed: (value: number) => boolean,
): Parser<number> {
  return (text) => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (!Number.isFinite(value) || !isAllowed(value))
      throw new InvalidArgumentError(`Expected ${description}.`);
    return value;
  };
}

/** Parser of `1,2,3`. */
export function tokenIds(text: string): readonly number[] {
  const parse = wholeNumber(0);
  try {
    return text.split(",").map((part) => parse(part.trim()));
  } catch {
    throw new InvalidArgumentError("Expected token ids separated by commas, such as 1,2,3.");
  }
}

/** Parser of a draft length or `off`. */
export function speculation(text: string): number | "off" {
  if (text === "off") return "off";
  try {
    return wholeNumber(1, 64)(text);
  } catch {
    throw new InvalidArgumentError('Expected "off" or a whole number from 1 to 64.');
  }
}

type Parser<T> = (text: string) => T;

/** Ends the command as bad usage. */
export function badUsage(command: Command, message: string): never {
  command.error(`error: ${message}`, { exitCode: 2, code: "millrace.usage" });
}

/** Examples under a command's help. */
export function withExamples(command: Command, examples: readonly string[]): Command {
  return command.addHelpText(
    "after",
    `\nExamples:\n${examples.map((example) => `  $ millrace ${example}`).join("\n")}`,
  );
}
