/**
 * A model small enough to be run hundreds of times in a test, and commands run in place. In: arguments, or changes to the
 * model's files. Out: what a command printed and its status; files by name. For tests only; it is not published.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

import { hostTensor, type HostTensor } from "@millrace/graph";
import {
  memoryDirectory,
  type ModelConfig,
  preset,
  saveParameters,
  writeSafetensors,
} from "@millrace/model-v3";

import { runCli } from "../src/program.ts";

export interface Finished {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process. */
export async function run(...args: readonly string[]): Promise<Finished> {
  let stdout = "";
  let stderr = "";
  const status = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { status, stdout, stderr };
}

/** One dense and one MoE layer, one MTP module. */
export const smallConfig: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 264,
  hiddenSize: 8,
  intermediateSize: 12,
  moeIntermediateSize: 6,
  nRoutedExperts: 4,
  numExpertsPerTok: 2,
  nGroup: 2,
  topkGroup: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  qLoraRank: 6,
  kvLoraRank: 4,
  qkNopeHeadDim: 4,
  qkRopeHeadDim: 2,
  vHeadDim: 4,
  maxPositionEmbeddings: 16,
};

export type Files = Map<string, Uint8Array>;

/** Numbers between -0.25 and 0.25 that do not repeat soon. */
function weights(shape: readonly number[], seed: number): HostTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Array.from({ length: count }, (_, i) => (((i + seed) * 0.618) % 1) * 0.5 - 0.25);
  return hostTensor("f32", shape, values);
}

/** The files of a checkpoint, in shards of at most `maxShardBytes` where that is given. */
export async function modelFiles(
  config: ModelConfig = smallConfig,
  maxShardBytes?: number,
): Promise<Files> {
  const files: Files = new Map();
  await saveParameters(
    memoryDirectory("model", files),
    config,
    ({ shape, name }) => weights(shape, name.length),
    maxShardBytes === undefined ? {} : { maxShardBytes },
  );
  return files;
}

/** A safetensors file. */
export async function tensorFile(
  tensors: Readonly<Record<string, HostTensor>>,
): Promise<Uint8Array> {
  const files: Files = new Map();
  const file = await memoryDirectory("tensors", files).create("file");
  await writeSafetensors(
    file,
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
      name,
      dtype,
      shape,
      data: () => data,
    })),
  );
  await file.commit();
  return files.get("file")!;
}

/** `input_ids` of a dtype and shape; ids count up from `first`. */
export function inputIds(shape: readonly number[], dtype: HostTensor["dtype"] = "i64"): HostTensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return hostTensor(
    dtype,
    shape,
    Array.from({ length: count }, (_, i) => (i * 7) % 264),
  );
}

/** A tokenizer.json of single letters and one merge. */
export function tokenizerJson(): Record<string, unknown> {
  const letters = ["a", "b", "c", "d", "e"];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: 6,
        content: "<s>",
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries([...letters, "ab"].map((token, id) => [token, id])),
      merges: ["a b"],
    },
  };
}

export const encodeJson = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

export const decodeJson = (bytes: Uint8Array): Record<string, unknown> =>
  JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;

/** Puts `files` into `directory`, which has nothing else afterwards. */
export function writeFiles(directory: string, files: ReadonlyMap<string, Uint8Array>): string {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), bytes);
  }
  return directory;
}

/** The files of a folder that `writeFiles` wrote, with one of them changed. */
export function changed(
  files: ReadonlyMap<string, Uint8Array>,
  name: string,
  bytes: Uint8Array,
): Files {
  return new Map([...files, [name, bytes]]);
}

export type Header = Record<string, { dtype: unknown; shape: unknown; data_offsets: unknown }>;

/** Header and data of a safetensors file. */
export function splitTensors(bytes: Uint8Array): { header: Header; data: Uint8Array } {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  return {
    header: decodeJson(bytes.subarray(8, 8 + length)) as Header,
    data: bytes.subarray(8 + length),
  };
}

/** A safetensors file of any header, true or not; `claimed` replaces the header's true length. */
export function joinTensors(header: unknown, data: Uint8Array, claimed?: bigint): Uint8Array {
  const text = encodeJson(header);
  const bytes = new Uint8Array(8 + text.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, claimed ?? BigInt(text.length), true);
  bytes.set(text, 8);
  bytes.set(data, 8 + text.length);
  return bytes;
}

/** The last line on stderr, where the error stands; the lines before it say what was being done. */
export function lastLine({ stderr }: Finished): string {
  return stderr.trimEnd().split("\n").at(-1) ?? "";
}

/** What an unusable file must end in: status 1, nothing on stdout, one line that says what, where and the remedy. */
export function problemOf(finished: Finished): string | undefined {
  const { status, stdout, stderr } = finished;
  const line = lastLine(finished);
  if (status !== 1) return `status ${status}`;
  if (stdout !== "") return `stdout ${stdout}`;
  if (!stderr.endsWith("\n")) return "no line end";
  if (/^\s+at /m.test(stderr)) return "a stack";
  if (line.includes("internal:")) return "an internal error";
  // What at where. Remedy.
  if (!/^millrace: .+ at .+\. [A-Z].+\.$/.test(line)) return "no remedy";
  if (line.length > 2000) return `a line of ${line.length} characters`;
  return undefined;
}

export const readBytes = (path: string): Uint8Array => new Uint8Array(readFileSync(path));
