/**
 * Values on the host: what goes into a program and comes out. In: dtype, shape and elements. Out: one flat,
 * row-major typed array in the dtype's storage form (narrow floats as bit patterns).
 */
import type { DType } from "./dtype.ts";
import { ShapeError } from "./errors.ts";
import { decodeFloat, encodeFloat } from "./float-formats.ts";

export type HostArray =
  | Float32Array
  | Uint16Array
  | Uint8Array
  | Int16Array
  | Int8Array
  | Int32Array
  | Uint32Array
  | BigInt64Array;

/** Row-major values of one tensor, in storage form. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: HostArray;
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** What is wrong with a value whose data are not those of its dtype and shape; undefined when nothing is. */
export function dataProblem({ dtype, shape, data }: HostTensor): string | undefined {
  const kind = (array: unknown): string => Object.prototype.toString.call(array).slice(8, -1);
  const wanted = kind(hostArray(dtype, 0));
  const count = elementCount(shape);
  if (kind(data) === wanted && data.length === count) return undefined;
  const got = ArrayBuffer.isView(data) ? `${kind(data)}(${data.length})` : kind(data);
  return `${dtype}[${shape.join(", ")}] is stored in ${wanted}(${count}), its data are ${got}`;
}

/** A typed array of `length` zero elements in the storage form of `dtype`. */
export function hostArray(dtype: DType, length: number): HostArray;
/** A view of `length` elements over `buffer` from `byteOffset`. */
export function hostArray(
  dtype: DType,
  length: number,
  buffer: ArrayBufferLike,
  byteOffset: number,
): HostArray;
export function hostArray(
  dtype: DType,
  length: number,
  buffer?: ArrayBufferLike,
  byteOffset = 0,
): HostArray {
  const make = <A>(type: {
    new (length: number): A;
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
  }): A => (buffer === undefined ? new type(length) : new type(buffer, byteOffset, length));
  switch (dtype) {
    case "f32":
      return make(Float32Array);
    case "f16":
    case "bf16":
      return make(Uint16Array);
    case "e4m3fn":
    case "e5m2":
    case "u8":
    case "bool":
      return make(Uint8Array);
    case "i16":
      return make(Int16Array);
    case "i8":
      return make(Int8Array);
    case "i32":
      return make(Int32Array);
    case "u32":
      return make(Uint32Array);
    case "i64":
      return make(BigInt64Array);
  }
  dtype satisfies never;
}

/** Packs plain numbers (or booleans as 0 and 1) into a tensor, rounding to `dtype`. */
export function hostTensor(
  dtype: DType,
  shape: readonly number[],
  values: ArrayLike<number>,
): HostTensor {
  const count = elementCount(shape);
  if (values.length !== count)
    throw new ShapeError({
      what: `${values.length} values for a tensor of shape [${shape.join(", ")}], which holds ${count}`,
      where: "hostTensor",
      hint: "Pass as many values as the shape has elements.",
    });
  const data = hostArray(dtype, count);
  for (let i = 0; i < count; i++) storeElement(dtype, data, i, values[i] as number);
  return { dtype, shape, data };
}

/** Element `i` as a number; narrow floats decoded, `i64` as a double. */
export function loadElement(dtype: DType, data: HostArray, i: number): number {
  const raw = data[i] as number | bigint;
  switch (dtype) {
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2":
      return decodeFloat(dtype, raw as number);
    case "i64":
      return Number(raw);
    default:
      return raw as number;
  }
}

/** Stores `value` as element `i`, rounded to nearest even for floats and wrapped for integers. */
export function storeElement(dtype: DType, data: HostArray, i: number, value: number): void {
  switch (dtype) {
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2":
      data[i] = encodeFloat(dtype, value);
      return;
    case "i64":
      (data as BigInt64Array)[i] = BigInt(Math.trunc(value));
      return;
    case "bool":
      data[i] = value === 0 ? 0 : 1;
      return;
    default:
      data[i] = value;
  }
}

/** All elements as doubles, in row-major order. */
export function toNumbers(tensor: HostTensor): Float64Array {
  const out = new Float64Array(tensor.data.length);
  for (let i = 0; i < out.length; i++) out[i] = loadElement(tensor.dtype, tensor.data, i);
  return out;
}
