/**
 * One buffer as numbers. In: a dtype, a shape and storage. Out: `get` and `set` by row-major position, in register types:
 * narrow floats widened and rounded, bool as 0 and 1, i64 by its low word. Positions are checked by whoever computes
 * them. A bool that is neither 0 nor 1 was never written, and is an error.
 */
import type { DType, HostArray } from "@millrace/graph";
import { InternalError, decodeFloat, encodeFloat, roundFloat } from "@millrace/graph";

/** Elements of one buffer for one run. */
export interface Elements {
  readonly shape: readonly number[];
  readonly get: (at: number) => number;
  readonly set: (at: number, value: number) => void;
}

/** Elements in storage form. */
export function storedElements(
  dtype: DType,
  shape: readonly number[],
  data: HostArray,
  name: string,
): Elements {
  switch (dtype) {
    case "f32":
    case "i32":
    case "u32":
    case "i16":
    case "i8":
    case "u8": {
      const plain = data as Float32Array;
      return {
        shape,
        get: (at) => plain[at] as number,
        set: (at, value) => {
          plain[at] = value;
        },
      };
    }
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2": {
      const bits = data as Uint16Array;
      return {
        shape,
        get: (at) => decodeFloat(dtype, bits[at] as number),
        set: (at, value) => {
          bits[at] = encodeFloat(dtype, value);
        },
      };
    }
    case "bool": {
      const bytes = data as Uint8Array;
      return {
        shape,
        get: (at) => {
          const byte = bytes[at] as number;
          if (byte > 1)
            throw new InternalError({ what: `element ${at} of bool buffer "${name}" is ${byte}` });
          return byte;
        },
        set: (at, value) => {
          bytes[at] = value === 0 ? 0 : 1;
        },
      };
    }
    case "i64": {
      const wide = data as BigInt64Array;
      return {
        shape,
        get: (at) => Number(BigInt.asIntN(32, wide[at] as bigint)),
        set: (at, value) => {
          wide[at] = BigInt(value);
        },
      };
    }
  }
}

/** Elements that are doubles already, as the graph interpreter holds them. */
export function wideElements(shape: readonly number[], data: Float64Array): Elements {
  return {
    shape,
    get: (at) => data[at] as number,
    set: (at, value) => {
      data[at] = value;
    },
  };
}

/** What storing a register value in `dtype` and loading it again gives; floats stay as they are if `exact`. */
export function storageRounding(dtype: DType, exact: boolean): (value: number) => number {
  switch (dtype) {
    case "f32":
    case "f16":
    case "bf16":
    case "e4m3fn":
    case "e5m2":
      return exact ? (value) => value : (value) => roundFloat(dtype, value);
    case "u8":
      return (value) => value & 255;
    case "i8":
      return (value) => (value << 24) >> 24;
    case "i16":
      return (value) => (value << 16) >> 16;
    case "bool":
      return (value) => (value === 0 ? 0 : 1);
    case "i32":
    case "i64":
      return (value) => value | 0;
    case "u32":
      return (value) => value >>> 0;
  }
}
