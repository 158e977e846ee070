/**
 * What one training checkpoint is made of. In: the JSON of `manifest.json`. Out: the step, the state that is not a
 * tensor, and size and SHA-256 of every file beside it, so that a damaged checkpoint is seen before it is used.
 * Its own content has a SHA-256 too. Knows no files.
 */
import { createHash } from "node:crypto";

import { CheckpointError } from "@millrace/graph";

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };

/** Everything about a run that is not a tensor. */
export interface TrainingState {
  /** Optimizer steps finished; also the data cursor, since batches are a function of the step. */
  readonly step: number;
  readonly seed: number;
  /** `TokenDataset.fingerprint` of the data trained on. */
  readonly dataFingerprint: string;
  /** Options that must stay the same for a resumed run to give the same bits. */
  readonly options: Readonly<Record<string, JsonValue>>;
}

export interface ManifestFile {
  readonly bytes: number;
  readonly sha256: string;
}

export interface Manifest {
  readonly state: TrainingState;
  /** Every file of the checkpoint but the manifest, by name. */
  readonly files: Readonly<Record<string, ManifestFile>>;
}

export const manifestName = "manifest.json";
const format = "millrace-training-checkpoint";
const version = 1;

export function formatManifest(manifest: Manifest): string {
  const { state, files } = manifest;
  return `${JSON.stringify({ format, version, digest: digest(state, files), state, files }, null, 2)}\n`;
}

/** Reads `text`; `where` is the file's path for errors. */
export function parseManifest(text: string, where: string): Manifest {
  try {
    return checkedManifest(text, where);
  } catch (cause) {
    // What is nested too deeply to be written out again was never written by us.
    if (cause instanceof RangeError)
      throw broken("the manifest is nested too deeply", where, cause);
    throw cause;
  }
}

function checkedManifest(text: string, where: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw broken("the manifest is not JSON", where, cause);
  }
  const root = asRecord(value, "the manifest", where);
  if (root["format"] !== format)
    throw broken(
      `the manifest's format is ${JSON.stringify(root["format"])}, expected "${format}"`,
      where,
    );
  if (root["version"] !== version)
    throw new CheckpointError({
      what: `the manifest has version ${JSON.stringify(root["version"])}, this program reads version ${version}`,
      where,
      hint: "Resume with the version of Millrace that wrote it.",
    });
  if (root["digest"] !== digest(root["state"], root["files"]))
    throw broken("the manifest was changed after it was written (SHA-256 differs)", where);
  const state = asRecord(root["state"], "state", where);
  const { step, seed, dataFingerprint } = state;
  if (!isCount(step)) throw broken("state.step is not a whole number", where);
  if (!Number.isSafeInteger(seed)) throw broken("state.seed is not a whole number", where);
  if (typeof dataFingerprint !== "string")
    throw broken("state.dataFingerprint is not a text", where);
  const options = asRecord(state["options"], "state.options", where);
  const files: Record<string, ManifestFile> = {};
  for (const [name, entry] of Object.entries(asRecord(root["files"], "files", where))) {
    // Names go into paths; nothing may lead out of the checkpoint's directory.
    if (!/^[\w][\w.-]*$/.test(name))
      throw broken(`${JSON.stringify(name)} is not a file name`, where);
    const { bytes, sha256 } = asRecord(entry, `files["${name}"]`, where);
    if (!isCount(bytes) || typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
      throw broken(`files["${name}"] lacks a size or a SHA-256`, where);
    files[name] = { bytes, sha256 };
  }
  return {
    state: {
      step,
      seed: seed as number,
      dataFingerprint,
      options: options as Record<string, JsonValue>,
    },
    files,
  };
}

/**
 * Compares the state a checkpoint was written with to the one a resumed run asks for; a difference would silently give
 * another run, so it is an error that names it.
 */
export function checkResumable(
  saved: TrainingState,
  wanted: Omit<TrainingState, "step">,
  where: string,
): void {
  const differences = differencesOf(
    { seed: saved.seed, ...saved.options },
    { seed: wanted.seed, ...wanted.options },
  );
  if (differences.length > 0)
    throw new CheckpointError({
      what: `the run was begun with other options: ${listed(differences)}`,
      where,
      hint: "Resume with the options it was begun with, or train into another directory.",
    });
  if (saved.dataFingerprint !== wanted.dataFingerprint)
    throw new CheckpointError({
      what: "the training data or the tokenizer changed since the run was begun",
      where,
      hint: "Resume with the same files, or train into another directory.",
    });
}

type Options = Readonly<Record<string, unknown>>;

/** What differs, down to the innermost names. */
function differencesOf(saved: Options, wanted: Options, prefix = ""): readonly string[] {
  const names = new Set([...Object.keys(saved), ...Object.keys(wanted)]);
  return [...names].sort().flatMap((name) => {
    const [before, now] = [saved[name], wanted[name]];
    if (isRecord(before) && isRecord(now)) return differencesOf(before, now, `${prefix}${name}.`);
    const [old, other] = [canonicalJson(before), canonicalJson(now)];
    return old === other ? [] : [`${prefix}${name} was ${old}, is ${other}`];
  });
}

function listed(differences: readonly string[]): string {
  const rest = differences.length > 8 ? `; and ${differences.length - 8} more` : "";
  return `${differences.slice(0, 8).join("; ")}${rest}`;
}

function digest(state: unknown, files: unknown): string {
  return createHash("sha256")
    .update(canonicalJson([state, files]))
    .digest("hex");
}

/** JSON with the keys of every object in order. */
function canonicalJson(value: unknown): string {
  if (value === undefined) return "not set";
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function asRecord(value: unknown, what: string, where: string): Record<string, unknown> {
  if (!isRecord(value)) throw broken(`${what} is not an object`, where);
  return value;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function broken(what: string, where: string, cause?: unknown): CheckpointError {
  return new CheckpointError({
    what,
    where,
    hint: "Delete this checkpoint and resume from an earlier one.",
    cause,
  });
}
