/**
 * The narrow float formats, bit for bit. In: a double, or a bit pattern. Out: the other. Rounding is to
 * nearest, ties to even, once and directly from the double. Kernels hold f32 in registers, so what they
 * store is the rounding of an f32; a double that is not an f32 may round differently here and there.
 *
 * | format | sign-exponent-mantissa, bias | too large      | NaN encodes as (any sign)          |
 * | f16    | 1-5-10, 15                   | infinity       | 0x7e00                             |
 * | bf16   | 1-8-7, 127                   | infinity       | 0x7fc0                             |
 * | e4m3fn | 1-4-3, 7, no infinities      | ±448           | 0x7f, the only NaN beside 0xff     |
 * | e5m2   | 1-5-2, 15                    | infinity       | 0x7f                               |
 *
 * Source: IEEE 754-2019 and "FP8 Formats for Deep Learning" (arXiv 2209.05433); e4m3fn saturates as the
 * conversion instruction of the GPUs does that DeepSeek-V3 was trained on.
 */
import type { FloatDType } from "./dtype.ts";

/** A float format narrower than f32. */
export type NarrowFloatDType = Exclude<FloatDType, "f32">;

interface Format {
  readonly width: 8 | 16;
  readonly mantissaBits: number;
  readonly bias: number;
  /** Magnitude code for everything that rounds past the largest finite value. */
  readonly overflow: number;
  readonly nan: number;
}

const formats: Record<NarrowFloatDType, Format> = {
  f16: { width: 16, mantissaBits: 10, bias: 15, overflow: 0x7c00, nan: 0x7e00 },
  bf16: { width: 16, mantissaBits: 7, bias: 127, overflow: 0x7f80, nan: 0x7fc0 },
  e4m3fn: { width: 8, mantissaBits: 3, bias: 7, overflow: 0x7e, nan: 0x7f },
  e5m2: { width: 8, mantissaBits: 2, bias: 15, overflow: 0x7c, nan: 0x7f },
};

// Scratch for reading the bits of one number; written before every read, so it carries no state.
const f64 = /* @__PURE__ */ new Float64Array(1);
const f64Words = /* @__PURE__ */ new Uint32Array(f64.buffer);
const f32 = /* @__PURE__ */ new Float32Array(f64.buffer, 0, 1);
const highWord = /* @__PURE__ */ highWordIndex();

function highWordIndex(): 0 | 1 {
  f64[0] = 1;
  return f64Words[1] === 0 ? 0 : 1;
}

/** Exponent of the largest power of two not above `value > 0`; -1023 for subnormal doubles. */
function exponentOf(value: number): number {
  f64[0] = value;
  return (((f64Words[highWord] as number) >>> 20) & 0x7ff) - 1023;
}

/** `2 ** exponent`, exact and without the cost of a general power, for -1022 to 1023. */
function powerOfTwo(exponent: number): number {
  f64Words[1 - highWord] = 0;
  f64Words[highWord] = (exponent + 1023) << 20;
  return f64[0] as number;
}

// Adding and taking away 2^52 leaves no fraction bits, and the addition rounds ties to even.
const integerOnly = 2 ** 52;

/** The bit pattern of `dtype` nearest to `value`; see the table above for what overflows and for NaN. */
export function encodeFloat(dtype: NarrowFloatDType, value: number): number {
  const { width, mantissaBits, bias, overflow, nan } = formats[dtype];
  if (value !== value) return nan;
  const sign = value < 0 || Object.is(value, -0) ? 1 << (width - 1) : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Infinity) return sign | overflow;
  const exponent = Math.max(exponentOf(magnitude), 1 - bias);
  if (exponent > bias + 1) return sign | overflow;
  // `units` counts steps of the format at this exponent, its leading one included; that one (or a carry
  // out of rounding) adds itself to the exponent field, which is why the field starts one lower.
  const units = magnitude * powerOfTwo(mantissaBits - exponent) + integerOnly - integerOnly;
  const code = ((exponent + bias - 1) << mantissaBits) + units;
  return sign | Math.min(code, overflow);
}

function decodeSlowly(dtype: NarrowFloatDType, bits: number): number {
  const { width, mantissaBits, bias, nan } = formats[dtype];
  const sign = bits & (1 << (width - 1)) ? -1 : 1;
  const magnitude = bits & ((1 << (width - 1)) - 1);
  const field = magnitude >>> mantissaBits;
  const mantissa = magnitude & ((1 << mantissaBits) - 1);
  if (dtype === "e4m3fn") {
    if (magnitude === nan) return NaN;
  } else if (field === (1 << (width - 1 - mantissaBits)) - 1) {
    return mantissa === 0 ? sign * Infinity : NaN;
  }
  if (field === 0) return sign * mantissa * powerOfTwo(1 - bias - mantissaBits);
  return sign * ((1 << mantissaBits) + mantissa) * powerOfTwo(field - bias - mantissaBits);
}

function decodeTable(dtype: "e4m3fn" | "e5m2"): Float32Array {
  return Float32Array.from({ length: 256 }, (_, code) => decodeSlowly(dtype, code));
}

const e4m3fnValues = /* @__PURE__ */ decodeTable("e4m3fn");
const e5m2Values = /* @__PURE__ */ decodeTable("e5m2");

/** The value of a bit pattern. Exact: every value of these formats is an f32. */
export function decodeFloat(dtype: NarrowFloatDType, bits: number): number {
  switch (dtype) {
    case "bf16":
      f64Words[0] = bits << 16;
      return f32[0] as number;
    case "e4m3fn":
      return e4m3fnValues[bits & 0xff] as number;
    case "e5m2":
      return e5m2Values[bits & 0xff] as number;
    case "f16":
      return decodeSlowly("f16", bits);
  }
}

/** The value of `dtype` nearest to `value`, ties to even. */
export function roundFloat(dtype: FloatDType, value: number): number {
  return dtype === "f32" ? Math.fround(value) : decodeFloat(dtype, encodeFloat(dtype, value));
}

/** Decodes a whole array; exact. */
export function decodeFloats(dtype: NarrowFloatDType, bits: ArrayLike<number>): Float32Array {
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = decodeFloat(dtype, bits[i] as number);
  return out;
}

/** Encodes a whole array, one rounding per element. */
export function encodeFloats(
  dtype: NarrowFloatDType,
  values: ArrayLike<number>,
): Uint8Array | Uint16Array {
  const { width } = formats[dtype];
  const out = width === 8 ? new Uint8Array(values.length) : new Uint16Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = encodeFloat(dtype, values[i] as number);
  return out;
}

/** Largest finite value of each float format. */
export const largestFinite: Readonly<Record<FloatDType, number>> = {
  f32: 3.4028234663852886e38,
  f16: 65504,
  bf16: 3.3895313892515355e38,
  e4m3fn: 448,
  e5m2: 57344,
};

/**
 * The smallest power of two not below `value`, within what a ue8m0 scale holds: 2^-127 to 2^127. Zero and
 * negative values give 2^-127, larger ones 2^127; NaN stays NaN.
 */
export function roundUpToPowerOfTwo(value: number): number {
  if (value !== value) return NaN;
  if (value <= 2 ** -127) return 2 ** -127;
  if (value >= 2 ** 127) return 2 ** 127;
  const exponent = exponentOf(value);
  const floor = powerOfTwo(exponent);
  return floor === value ? value : powerOfTwo(exponent + 1);
}
