/**
 * The safetensors format. In: a ByteSource. Out: its tensors, read lazily by byte range. The header is
 * checked against the length of the file before anything is allocated for what it claims: a read either
 * stays within the file or does not happen.
 *
 * Layout: 8 bytes little-endian header length, JSON header padded with spaces, little-endian data without
 * gaps; offsets count from the end of the header. Values are viewed in place, so hosts are little-endian.
 * Source: the README of huggingface/safetensors.
 */
import { CheckpointError, InternalError, byteWidth } from "@millrace/graph";
import type { DType, HostArray } from "@millrace/graph";
import { shownValue } from "../shown-value.ts";
import type { ByteSource, WritableFile } from "./byte-source.ts";
import { decodeText, parseJson } from "./byte-source.ts";
import { findDuplicateKey } from "./duplicate-keys.ts";
import type { TensorEntry, TensorSource } from "./tensor-source.ts";
import {
  isStoredDType,
  storedDTypeOf,
  storedDTypes,
  storedWidth,
  tensorSource,
} from "./tensor-source.ts";

/** The format's own limit on the header. */
export const maxHeaderBytes = 100_000_000;

/** One opened safetensors file. */
export interface SafetensorsFile extends TensorSource {
  /** The header's `__metadata__`. */
  readonly metadata: ReadonlyMap<string, string>;
}

const brokenHint = "Copy or download the file again, or write it again with the tool that made it.";

function broken(what: string, where: string, hint: string = brokenHint): CheckpointError {
  return new CheckpointError({ what, where, hint });
}

/** Reads and checks the header; the data stays where it is until asked for. */
export async function openSafetensors(source: ByteSource): Promise<SafetensorsFile> {
  const { name, byteLength } = source;
  if (byteLength < 10)
    throw broken(`a safetensors file needs at least 10 bytes, this one has ${byteLength}`, name);
  const prefix = await source.read(0, 9);
  const claimed = new DataView(prefix.buffer, prefix.byteOffset, 8).getBigUint64(0, true);
  if (claimed > BigInt(byteLength - 8))
    throw broken(
      `the header claims ${claimed} bytes, but only ${byteLength - 8} follow its length`,
      name,
      "The file is truncated or is not safetensors; copy or download it again.",
    );
  if (claimed > BigInt(maxHeaderBytes))
    throw broken(`the header claims ${claimed} bytes; the format allows ${maxHeaderBytes}`, name);
  // Before a header of megabytes is read for nothing.
  if (prefix[8] !== 0x7b) throw broken("the header does not begin with {", name);
  const headerLength = Number(claimed);
  const header = decodeText(await source.read(8, headerLength), `${name}, header`);
  const { entries, metadata } = parseHeader(header, 8 + headerLength, byteLength, name);
  const file = tensorSource(
    name,
    entries,
    () => source,
    () => source.close(),
  );
  return { ...file, metadata };
}

function parseHeader(
  text: string,
  dataStart: number,
  fileLength: number,
  name: string,
): { entries: Map<string, TensorEntry>; metadata: Map<string, string> } {
  const header = parseJson(text, `${name}, header`) as Record<string, unknown>;
  const duplicate = findDuplicateKey(text);
  if (duplicate !== undefined) throw broken(`the header has the key ${duplicate} twice`, name);
  const entries = new Map<string, TensorEntry>();
  const metadata = new Map<string, string>();
  for (const [key, value] of Object.entries(header)) {
    if (key !== "__metadata__") {
      entries.set(key, parseEntry(value, dataStart, fileLength, `${name}, tensor ${key}`));
      continue;
    }
    if (!isRecord(value)) throw broken("__metadata__ is not an object", name);
    for (const [field, content] of Object.entries(value)) {
      if (typeof content !== "string")
        throw broken(`__metadata__ holds ${field}, which is not a string`, name);
      metadata.set(field, content);
    }
  }
  checkTiling(entries, dataStart, fileLength, name);
  return { entries, metadata };
}

function parseEntry(
  value: unknown,
  dataStart: number,
  fileLength: number,
  where: string,
): TensorEntry {
  if (!isRecord(value)) throw broken("the entry is not an object", where);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isStoredDType(dtype))
    throw broken(
      `dtype ${shownValue(dtype)} cannot be read`,
      where,
      `Convert the tensor to one of ${storedDTypes.join(", ")}.`,
    );
  if (!isSizes(shape)) throw broken(`shape ${shownValue(shape)} is not a list of sizes`, where);
  if (!isSizes(offsets) || offsets.length !== 2)
    throw broken(`data_offsets ${shownValue(offsets)} are not two byte positions`, where);
  const [start, end] = offsets as [number, number];
  const available = fileLength - dataStart;
  if (start > end || end > available)
    throw broken(
      `data_offsets [${start}, ${end}] do not lie in the ${available} bytes of data that the file has`,
      where,
    );
  const byteLength = shape.reduce((product, size) => product * size, storedWidth(dtype));
  if (byteLength !== end - start)
    throw broken(
      `shape [${shape.join(", ")}] of ${dtype} takes ${byteLength} bytes, data_offsets give ${end - start}`,
      where,
    );
  return { dtype, shape, byteOffset: dataStart + start, byteLength };
}

/** The tensors must cover the data exactly: no overlap, no gap, nothing left over. */
function checkTiling(
  entries: ReadonlyMap<string, TensorEntry>,
  dataStart: number,
  fileLength: number,
  name: string,
): void {
  let position = dataStart;
  let previous = "the header";
  const inOrder = [...entries].sort(
    ([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength,
  );
  for (const [tensor, { byteOffset, byteLength }] of inOrder) {
    if (byteOffset < position)
      throw broken(`its bytes overlap those of ${previous}`, `${name}, tensor ${tensor}`);
    if (byteOffset > position)
      throw broken(
        `${byteOffset - position} bytes between ${previous} and it belong to no tensor`,
        `${name}, tensor ${tensor}`,
      );
    position = byteOffset + byteLength;
    previous = tensor;
  }
  if (position !== fileLength)
    throw broken(`${fileLength - position} bytes after ${previous} belong to no tensor`, name);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

/** A tensor to write: its header entry, and its values when their turn comes. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  data(): HostArray | Promise<HostArray>;
}

/** Bytes of a tensor's values. */
export function tensorBytes(tensor: Pick<TensorToWrite, "dtype" | "shape">): number {
  return tensor.shape.reduce((product, size) => product * size, byteWidth(tensor.dtype));
}

/**
 * Writes a safetensors file, one tensor at a time, widest dtype first so that every tensor is aligned.
 * The caller finishes and commits `file`, or discards it when this rejects.
 */
export async function writeSafetensors(
  file: WritableFile,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = { format: "pt" },
): Promise<void> {
  const inOrder = [...tensors].sort((a, b) => byteWidth(b.dtype) - byteWidth(a.dtype));
  await file.write(encodeHeader(inOrder, metadata, file.name));
  for (const tensor of inOrder) {
    const data = await tensor.data();
    if (data.byteLength !== tensorBytes(tensor))
      throw new InternalError({
        what: `${data.byteLength} bytes were given for [${tensor.shape.join(", ")}] of ${tensor.dtype}`,
        where: `${file.name}, tensor ${tensor.name}`,
      });
    await file.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
}

function encodeHeader(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>>,
  where: string,
): Uint8Array {
  const header = new Map<string, unknown>([["__metadata__", metadata]]);
  let offset = 0;
  for (const tensor of tensors) {
    if (header.has(tensor.name))
      throw new CheckpointError({
        what: `the tensor ${tensor.name} is given twice`,
        where,
        hint: "Give each tensor a name of its own; __metadata__ is taken.",
      });
    const end = offset + tensorBytes(tensor);
    header.set(tensor.name, {
      dtype: storedDTypeOf(tensor.dtype),
      shape: tensor.shape,
      data_offsets: [offset, end],
    });
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(json.byteLength / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}
