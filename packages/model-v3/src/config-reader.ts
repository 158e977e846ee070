/**
 * Reads typed values out of untrusted JSON. In: an object and the name of its file. Out: the value of a
 * key, or a CheckpointError with file, key, what was found, and what to write instead.
 */
import { CheckpointError } from "@millrace/graph";
import { shownValue } from "./shown-value.ts";

export interface IntegerBounds {
  readonly min: number;
  readonly max: number;
}

/** Access to the keys of one JSON object. A missing key, or null, gives the fallback. */
export interface ConfigReader {
  readonly where: string;
  has(key: string): boolean;
  raw(key: string): unknown;
  /** An integer within bounds; required when there is no fallback. */
  integer(key: string, bounds: IntegerBounds, fallback?: number): number;
  /** A finite number from `min` up; required when there is no fallback. */
  number(key: string, min: number, fallback?: number): number;
  boolean(key: string, fallback: boolean): boolean;
  choice<T extends string>(key: string, choices: readonly T[], fallback: T): T;
  /** The nested object under `key`, or undefined. */
  nested(key: string): ConfigReader | undefined;
  error(key: string, what: string, hint: string): CheckpointError;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function configReader(json: unknown, where: string, path = ""): ConfigReader {
  if (!isObject(json))
    throw new CheckpointError({
      what: `${path === "" ? "the configuration" : path} is not a JSON object`,
      where,
      hint: "Use the file of this name from a checkpoint in Hugging Face layout.",
    });
  const raw = (key: string): unknown => (Object.hasOwn(json, key) ? json[key] : undefined);
  const has = (key: string): boolean => raw(key) !== undefined && raw(key) !== null;
  const nameOf = (key: string): string => (path === "" ? key : `${path}.${key}`);
  const error = (key: string, what: string, hint: string): CheckpointError =>
    new CheckpointError({ what: `${nameOf(key)} ${what}`, where, hint });
  const checked = <T>(
    key: string,
    fallback: T | undefined,
    isValid: (value: unknown) => boolean,
    expected: string,
  ): T => {
    if (!has(key)) {
      if (fallback !== undefined) return fallback;
      throw error(key, "is missing", `Add it: ${expected}.`);
    }
    if (!isValid(raw(key)))
      throw error(key, `is ${shownValue(raw(key))}`, `Set it to ${expected}.`);
    return raw(key) as T;
  };
  return {
    where,
    has,
    raw,
    error,
    integer: (key, { min, max }, fallback) =>
      checked(
        key,
        fallback,
        (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
        `an integer from ${min} to ${max}`,
      ),
    number: (key, min, fallback) =>
      checked(
        key,
        fallback,
        (value) => Number.isFinite(value) && (value as number) >= min,
        `a number not below ${min}`,
      ),
    boolean: (key, fallback) =>
      checked(key, fallback, (value) => typeof value === "boolean", "true or false"),
    choice: (key, choices, fallback) =>
      checked(
        key,
        fallback,
        (value) => (choices as readonly unknown[]).includes(value),
        `one of ${choices.map((choice) => `"${choice}"`).join(", ")}`,
      ),
    nested: (key) => (has(key) ? configReader(raw(key), where, nameOf(key)) : undefined),
  };
}
