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

/** What `--weights` names. */
export const weightFormats = ["f32", "f16", "bf16", "e4m3fn", "int8", "int4"] as const;
export type WeightFormat = (typeof weightFormats)[number];
export type WeightChoice = "stored" | WeightFormat;
export const weightChoices: readonly WeightChoice[] = ["stored", ...weightFormats];

/** `--weights`, for commands that load a model. */
export function weightsOption(): Option {
  return new Option("--weights <format>", "of matrices in memory; stored: as read")
    .choices(weightChoices)
    .default("stored");
}

export interface DeviceOptions {
  readonly device: Device;
  readonly adapter?: string;
  readonly threads?: number;
  readonly relaxedSimd?: "on" | "off";
  readonly revectorize?: "on" | "off";
  readonly profile?: string;
}

/** `--device`, the same on every command. */
export function deviceOption(): Option {
  return new Option("--device <name>", "what computes").choices(devices).default("wasm");
}

/** `--adapter`, beside it. */
export function adapterOption(): Option {
  return new Option("--adapter <name>", "which GPU, by a part of its name (millrace doctor)");
}

/** `--threads`, beside it. */
export function threadsOption(): Option {
  return new Option(
    "--threads <n>",
    "of --device wasm; 1 shares no memory (default: the processors, at most 8)",
  ).argParser(wholeNumber(1, 256));
}

/** `--relaxed-simd`, beside it. */
export function relaxedSimdOption(): Option {
  return new Option(
    "--relaxed-simd <choice>",
    "of --device wasm; off: the same bits on any machine (default: on where it is)",
  ).choices(["on", "off"]);
}

/** `--revectorize`, beside it. */
export function revectorizeOption(): Option {
  return new Option(
    "--revectorize <choice>",
    "of --device wasm; pairs of 128-bit registers as 256-bit ones, by an experimental flag of V8 (default: on where it is)",
  ).choices(["on", "off"]);
}

/** `--profile`; `what` says which runs are measured. */
export function profileOption(what: string): Option {
  return new Option(
    "--profile <file.json>",
    `measure ${what}: a Chrome trace in the file, a table of the kernels on stderr`,
  );
}

/** Ends the command if options do not go together with `--device`. */
export function checkDevice(command: Command, options: DeviceOptions): void {
  const { device, adapter, threads, relaxedSimd, revectorize, profile } = options;
  const onlyFor = (only: Device, value: unknown, option: string): void => {
    if (value !== undefined && device !== only)
      badUsage(command, `option '${option}' is for --device ${only}, not for ${device}.`);
  };
  onlyFor("gpu", adapter, "--adapter <name>");
  onlyFor("wasm", threads, "--threads <n>");
  onlyFor("wasm", relaxedSimd, "--relaxed-simd <choice>");
  onlyFor("wasm", revectorize, "--revectorize <choice>");
  if (profile === "") badUsage(command, "option '--profile <file.json>' names no file.");
  if (profile !== undefined && device === "interpreter")
    badUsage(
      command,
      "option '--profile <file.json>' measures --device wasm and gpu, not the interpreter.",
    );
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

const units: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** Parser of an amount of memory: bytes, or with a unit such as 512MiB or 2GB. */
export function byteCount(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?) ?([kmgt]i?)?b?$/i.exec(text.trim()) ?? [];
  const bytes = Math.floor(Number(digits) * units[(unit ?? "").toLowerCase()]!);
  if (digits === undefined || !Number.isSafeInteger(bytes) || bytes < 1)
    throw new InvalidArgumentError("Expected an amount of memory, such as 512MiB or 2GB.");
  return bytes;
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
