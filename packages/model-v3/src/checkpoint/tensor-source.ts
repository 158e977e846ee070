/**
 * Named tensors that lie in files and are read when asked for. In: a name. Out: values, or a
 * CheckpointError that names file and tensor. One safetensors file and a whole sharded checkpoint are the
 * same to a reader; what differs is where the bytes are.
 */
import { CheckpointError, decodeFloats, elementCount, hostArray } from "@millrace/graph";
import type { DType, HostArray, HostTensor } from "@millrace/graph";
import type { ByteSource } from "./byte-source.ts";

/** Element types of a safetensors header that can be read here. */
export type StoredDType =
  | "F64"
  | "F32"
  | "F16"
  | "BF16"
  | "F8_E4M3"
  | "F8_E5M2"
  | "I64"
  | "I32"
  | "U32"
  | "I16"
  | "I8"
  | "U8"
  | "BOOL";

interface Storage {
  readonly width: number;
  /** The dtype in memory; F64 has none and is read by `readNumbers` or `readBytes`. */
  readonly dtype: DType | undefined;
}

const storages: Record<StoredDType, Storage> = {
  F64: { width: 8, dtype: undefined },
  F32: { width: 4, dtype: "f32" },
  F16: { width: 2, dtype: "f16" },
  BF16: { width: 2, dtype: "bf16" },
  F8_E4M3: { width: 1, dtype: "e4m3fn" },
  F8_E5M2: { width: 1, dtype: "e5m2" },
  I64: { width: 8, dtype: "i64" },
  I32: { width: 4, dtype: "i32" },
  U32: { width: 4, dtype: "u32" },
  I16: { width: 2, dtype: "i16" },
  I8: { width: 1, dtype: "i8" },
  U8: { width: 1, dtype: "u8" },
  BOOL: { width: 1, dtype: "bool" },
};

export const storedDTypes: readonly StoredDType[] = Object.keys(storages) as StoredDType[];

export function isStoredDType(name: unknown): name is StoredDType {
  return typeof name === "string" && Object.hasOwn(storages, name);
}

export function storedWidth(dtype: StoredDType): number {
  return storages[dtype].width;
}

/** The name a safetensors header uses for one of our dtypes. */
export function storedDTypeOf(dtype: DType): StoredDType {
  return storedDTypes.find((name) => storages[name].dtype === dtype) as StoredDType;
}

/** What a header says about one tensor, checked against the file. */
export interface TensorEntry {
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Named tensors, read lazily. */
export interface TensorSource {
  /** How messages name the file or folder. */
  readonly name: string;
  readonly entries: ReadonlyMap<string, TensorEntry>;
  /** The whole tensor in its stored form. */
  read(tensor: string): Promise<HostTensor>;
  /** Elements `start` to `end` of the flattened tensor. */
  readRange(tensor: string, start: number, end: number): Promise<HostArray>;
  /** All elements as doubles, of any stored dtype, F64 included. */
  readNumbers(tensor: string): Promise<{ shape: readonly number[]; values: Float64Array }>;
  /** The stored bytes of elements `start` to `end`, copied. */
  readBytes(tensor: string, start: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** A TensorSource over checked entries; `locate` says which open file holds a tensor. */
export function tensorSource(
  name: string,
  entries: ReadonlyMap<string, TensorEntry>,
  locate: (tensor: string) => ByteSource,
  close: () => Promise<void>,
): TensorSource {
  const entryOf = (tensor: string): TensorEntry => {
    const entry = entries.get(tensor);
    if (entry) return entry;
    throw new CheckpointError({
      what: `there is no tensor ${tensor}`,
      where: name,
      hint: `It has ${entries.size} tensors; check the name, or that this is the right checkpoint.`,
    });
  };
  const source: TensorSource = {
    name,
    entries,
    close,
    async read(tensor) {
      const { dtype, shape } = entryOf(tensor);
      const data = await source.readRange(tensor, 0, elementCount(shape));
      return { dtype: memoryDType(dtype, locate(tensor).name, tensor), shape, data };
    },
    async readRange(tensor, start, end) {
      const where = locate(tensor).name;
      const dtype = memoryDType(entryOf(tensor).dtype, where, tensor);
      const bytes = await source.readBytes(tensor, start, end);
      if (dtype === "bool" && bytes.some((byte) => byte > 1))
        throw new CheckpointError({
          what: "a BOOL tensor holds a byte that is neither 0 nor 1",
          where: `${where}, tensor ${tensor}`,
          hint: "Write the file again, or store the tensor as U8.",
        });
      return hostArray(dtype, end - start, bytes.buffer, bytes.byteOffset);
    },
    async readNumbers(tensor) {
      const { dtype, shape } = entryOf(tensor);
      const bytes = await source.readBytes(tensor, 0, elementCount(shape));
      return { shape, values: toDoubles(dtype, bytes) };
    },
    async readBytes(tensor, start, end) {
      const { dtype, shape, byteOffset } = entryOf(tensor);
      const file = locate(tensor);
      const count = elementCount(shape);
      if (
        !(
          Number.isInteger(start) &&
          Number.isInteger(end) &&
          0 <= start &&
          start <= end &&
          end <= count
        )
      )
        throw new CheckpointError({
          what: `elements ${start} to ${end} were asked of a tensor that has ${count}`,
          where: `${file.name}, tensor ${tensor}`,
          hint: "Ask for a range within the tensor.",
        });
      const width = storedWidth(dtype);
      const bytes = await file.read(byteOffset + start * width, (end - start) * width);
      // Typed arrays need aligned bytes; sources may hand out any view.
      return bytes.byteOffset % width === 0 ? bytes : bytes.slice();
    },
  };
  return source;
}

function memoryDType(dtype: StoredDType, file: string, tensor: string): DType {
  const found = storages[dtype].dtype;
  if (found) return found;
  throw new CheckpointError({
    what: `${dtype} tensors cannot enter a program`,
    where: `${file}, tensor ${tensor}`,
    hint: "Store it as F32, or read it with readNumbers.",
  });
}

/** Stored bytes as doubles; i64 beyond 2^53 rounds. */
export function toDoubles(dtype: StoredDType, bytes: Uint8Array): Float64Array {
  const { dtype: memory, width } = storages[dtype];
  const length = bytes.byteLength / width;
  if (memory === undefined) return new Float64Array(bytes.buffer, bytes.byteOffset, length);
  const data = hostArray(memory, length, bytes.buffer, bytes.byteOffset);
  switch (memory) {
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2":
      return Float64Array.from(decodeFloats(memory, data as Uint8Array | Uint16Array));
    case "i64":
      return Float64Array.from(data as BigInt64Array, Number);
    default:
      return Float64Array.from(data as Float32Array);
  }
}
