/**
 * A checkpoint of one file or many. In: a directory with `model.safetensors`, or with
 * `model.safetensors.index.json` and the shards it names. Out: all tensors as one TensorSource, after
 * index and shards have been checked against each other. Writing is the reverse, the index last.
 * Source: the index layout of huggingface/transformers (`weight_map`, `metadata.total_size`).
 */
import { AttributeError, CheckpointError } from "@millrace/graph";
import { shownValue } from "../shown-value.ts";
import type { ByteSource, CheckpointDirectory } from "./byte-source.ts";
import { readJson, writeFiles } from "./byte-source.ts";
import type { SafetensorsFile, TensorToWrite } from "./safetensors.ts";
import { openSafetensors, tensorBytes, writeSafetensors } from "./safetensors.ts";
import type { TensorEntry, TensorSource } from "./tensor-source.ts";
import { tensorSource } from "./tensor-source.ts";

export const singleFile = "model.safetensors";
export const indexFile = "model.safetensors.index.json";

const incompleteHint = "Copy or download the whole checkpoint again.";

/** Opens the weights of a directory; `model.safetensors` wins where both layouts are present. */
export async function openShards(directory: CheckpointDirectory): Promise<TensorSource> {
  const single = await directory.open(singleFile);
  if (single) return openOrClose(single, () => openSafetensors(single));
  const index = await readJson(directory, indexFile);
  if (index === undefined)
    throw new CheckpointError({
      what: `there is neither ${singleFile} nor ${indexFile}`,
      where: directory.name,
      hint: "Name the folder of a checkpoint in Hugging Face layout.",
    });
  const { weightMap, totalSize } = parseIndex(index, `${directory.name}/${indexFile}`);
  const shards = new Map<string, OpenShard>();
  const close = async (): Promise<void> => {
    await Promise.all([...shards.values()].map((shard) => shard.source.close()));
  };
  try {
    for (const file of new Set(weightMap.values())) {
      const source = await directory.open(file);
      if (!source)
        throw new CheckpointError({
          what: `the shard ${file}, which ${indexFile} names, is missing`,
          where: directory.name,
          hint: "Copy or download that file too.",
        });
      const tensors = await openOrClose(source, () => openSafetensors(source));
      shards.set(file, { source, tensors });
    }
    return joinShards(directory.name, weightMap, totalSize, shards, close);
  } catch (error) {
    await close();
    throw error;
  }
}

interface OpenShard {
  readonly source: ByteSource;
  readonly tensors: SafetensorsFile;
}

async function openOrClose<T>(
  source: { close(): Promise<void> },
  open: () => Promise<T>,
): Promise<T> {
  try {
    return await open();
  } catch (error) {
    await source.close();
    throw error;
  }
}

function parseIndex(
  index: unknown,
  where: string,
): { weightMap: Map<string, string>; totalSize: number | undefined } {
  const invalid = (what: string): CheckpointError =>
    new CheckpointError({ what, where, hint: incompleteHint });
  const isObject = (value: unknown): value is Record<string, unknown> =>
    typeof value === "object" && value !== null && !Array.isArray(value);
  if (!isObject(index) || !isObject(index["weight_map"]))
    throw invalid("the index has no weight_map object");
  const weightMap = new Map<string, string>();
  for (const [tensor, file] of Object.entries(index["weight_map"])) {
    // A file name only: an index must not reach outside its own folder.
    if (typeof file !== "string" || !/^[^/\\\0]+\.safetensors$/.test(file))
      throw invalid(
        `weight_map gives ${shownValue(file)} for ${tensor}, not a .safetensors file name`,
      );
    weightMap.set(tensor, file);
  }
  const metadata = index["metadata"];
  const totalSize = isObject(metadata) ? metadata["total_size"] : undefined;
  if (totalSize !== undefined && !(Number.isSafeInteger(totalSize) && (totalSize as number) >= 0))
    throw invalid(`metadata.total_size is ${shownValue(totalSize)}, not a number of bytes`);
  return { weightMap, totalSize: totalSize as number | undefined };
}

function joinShards(
  name: string,
  weightMap: ReadonlyMap<string, string>,
  totalSize: number | undefined,
  shards: ReadonlyMap<string, OpenShard>,
  close: () => Promise<void>,
): TensorSource {
  const invalid = (what: string, where: string): CheckpointError =>
    new CheckpointError({ what, where, hint: incompleteHint });
  const entries = new Map<string, TensorEntry>();
  for (const [file, shard] of shards) {
    for (const [tensor, entry] of shard.tensors.entries) {
      const named = weightMap.get(tensor);
      const where = `${name}/${file}, tensor ${tensor}`;
      if (named === undefined) throw invalid(`the tensor is not in ${indexFile}`, where);
      if (entries.has(tensor)) throw invalid("the tensor is in another shard as well", where);
      if (named !== file && !shards.get(named)?.tensors.entries.has(tensor))
        throw invalid(`${indexFile} says it is in ${named}`, where);
      entries.set(tensor, entry);
    }
  }
  for (const [tensor, file] of weightMap)
    if (!entries.has(tensor))
      throw invalid(
        `the tensor that ${indexFile} places here is missing`,
        `${name}/${file}, tensor ${tensor}`,
      );
  const bytes = [...entries.values()].reduce((sum, entry) => sum + entry.byteLength, 0);
  if (totalSize !== undefined && totalSize !== bytes)
    throw invalid(
      `metadata.total_size is ${totalSize}, the shards hold ${bytes} bytes of tensors`,
      `${name}/${indexFile}`,
    );
  return tensorSource(
    name,
    entries,
    (tensor) => (shards.get(weightMap.get(tensor) as string) as OpenShard).source,
    close,
  );
}

/** Options of `writeShards`. */
export interface WriteShardsOptions {
  /** Tensor bytes after which the next shard begins; 5 GB when not given. */
  readonly maxShardBytes?: number;
  /** Small files (config.json) that become visible together with the weights, before the index. */
  readonly beside?: ReadonlyMap<string, Uint8Array>;
}

/**
 * Writes tensors as `model.safetensors`, or as shards with an index when they are more than
 * `maxShardBytes`. Everything is finished under temporary names before anything takes its place, and files
 * of an earlier checkpoint that no longer belong are removed last.
 */
export async function writeShards(
  directory: CheckpointDirectory,
  tensors: readonly TensorToWrite[],
  options: WriteShardsOptions = {},
): Promise<void> {
  const { maxShardBytes = 5e9, beside = new Map<string, Uint8Array>() } = options;
  if (!(maxShardBytes > 0))
    throw new AttributeError({
      what: `maxShardBytes is ${maxShardBytes}`,
      where: "writeShards",
      hint: "Pass a positive number of bytes.",
    });
  const shards = splitIntoShards(tensors, maxShardBytes);
  const contents = new Map<string, readonly TensorToWrite[] | Uint8Array>(beside);
  const shardName = (i: number): string =>
    shards.length === 1
      ? singleFile
      : `model-${padded(i + 1)}-of-${padded(shards.length)}.safetensors`;
  shards.forEach((shard, i) => contents.set(shardName(i), shard));
  if (shards.length > 1) {
    const weightMap = shards.flatMap((shard, i) => shard.map(({ name }) => [name, shardName(i)]));
    const index = {
      metadata: { total_size: tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0) },
      weight_map: Object.fromEntries(weightMap) as Record<string, string>,
    };
    contents.set(indexFile, new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`));
  }
  await writeFiles(directory, contents.keys(), async (file, name) => {
    const content = contents.get(name) as readonly TensorToWrite[] | Uint8Array;
    if (content instanceof Uint8Array) await file.write(content);
    else await writeSafetensors(file, content);
  });
  const isWeights = (file: string): boolean =>
    file === singleFile || file === indexFile || /^model-\d+-of-\d+\.safetensors$/.test(file);
  for (const file of await directory.list())
    if (isWeights(file) && !contents.has(file)) await directory.remove(file);
}

function splitIntoShards(tensors: readonly TensorToWrite[], limit: number): TensorToWrite[][] {
  const shards: TensorToWrite[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    if (shards.length === 0 || bytes > room) {
      shards.push([]);
      room = limit;
    }
    (shards.at(-1) as TensorToWrite[]).push(tensor);
    room -= bytes;
  }
  return shards.length > 0 ? shards : [[]];
}

function padded(number: number): string {
  return String(number).padStart(5, "0");
}
