/**
 * The narrow float formats in WGSL, bit for bit as graph's `float-formats.ts` defines them. `decode_f(code)` widens, exactly;
 * `encode_f(x)` rounds to the nearest code, ties to even; `round_f(x)` gives the nearest value. All in integers, because
 * a device may flush small numbers to zero and round conversions as it likes.
 */
import type { NarrowFloatDType } from "@millrace/graph";
import type { LibraryFunction } from "./library.ts";

interface Format {
  readonly width: 8 | 16;
  readonly mantissaBits: number;
  readonly bias: number;
  /** Magnitude code of everything too large. */
  readonly overflow: number;
  readonly nan: number;
}

const formats: Readonly<Record<Exclude<NarrowFloatDType, "bf16">, Format>> = {
  f16: { width: 16, mantissaBits: 10, bias: 15, overflow: 0x7c00, nan: 0x7e00 },
  e4m3fn: { width: 8, mantissaBits: 3, bias: 7, overflow: 0x7e, nan: 0x7f },
  e5m2: { width: 8, mantissaBits: 2, bias: 15, overflow: 0x7c, nan: 0x7f },
};

const hex = (value: number): string => `0x${value.toString(16)}u`;

/** What is not a number, or infinite, as bits of an f32. */
function specials(dtype: string, { mantissaBits, overflow }: Format): string {
  // Named by `let`, since an expression of constants may not be infinite or NaN in WGSL.
  if (dtype === "e4m3fn") return `if (m == 0x7fu) { bits = 0x7fc00000u; }`;
  const payload = `((m & ${hex((1 << mantissaBits) - 1)}) << ${23 - mantissaBits}u)`;
  return `if (m >= ${hex(overflow)}) { bits = 0x7f800000u | ${payload}; }`;
}

function functionsOf(dtype: keyof typeof formats): readonly LibraryFunction[] {
  const format = formats[dtype];
  const { width, mantissaBits, bias, overflow, nan } = format;
  const signBit = 1 << (width - 1);
  const shift = 23 - mantissaBits;
  const smallestNormal = 2 ** (1 - bias);
  const rebias = (127 - bias) << 23;
  return [
    {
      name: `decode_${dtype}`,
      text: `
fn decode_${dtype}(code: u32) -> f32 {
  let m = code & ${hex(signBit - 1)};
  let value = bitcast<f32>((m << ${shift}u) + ${hex(rebias)});
  // Without its exponent a small number was read as half of itself and half of the smallest normal one.
  var bits = bitcast<u32>(select(value, value * 2.0f - ${smallestNormal}f, m < ${hex(1 << mantissaBits)}));
  ${specials(dtype, format)}
  return bitcast<f32>(bits | ((code & ${hex(signBit)}) << ${32 - width}u));
}`,
    },
    {
      name: `encode_${dtype}`,
      text: `
fn encode_${dtype}(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  let m = bits & 0x7fffffffu;
  if (m > 0x7f800000u) { return ${hex(nan)}; }
  let exponent = m >> 23u;
  var code = 0u;
  if (exponent >= ${hex(128 - bias)}) {
    let rounded = m + ${hex((1 << (shift - 1)) - 1)} + ((m >> ${shift}u) & 1u);
    code = min((rounded - ${hex(rebias)}) >> ${shift}u, ${hex(overflow)});
  } else if (exponent >= ${hex(127 - bias - mantissaBits)}) {
    let s = ${hex(151 - bias - mantissaBits)} - exponent;
    let units = (m & 0x7fffffu) | 0x800000u;
    code = (units + (1u << (s - 1u)) - 1u + ((units >> s) & 1u)) >> s;
  }
  return code | ((bits >> ${32 - width}u) & ${hex(signBit)});
}`,
    },
    {
      name: `round_${dtype}`,
      calls: [`decode_${dtype}`, `encode_${dtype}`],
      text: `
fn round_${dtype}(x: f32) -> f32 {
  return decode_${dtype}(encode_${dtype}(x));
}`,
    },
  ];
}

const bf16: readonly LibraryFunction[] = [
  {
    name: "decode_bf16",
    text: `
fn decode_bf16(code: u32) -> f32 {
  return bitcast<f32>(code << 16u);
}`,
  },
  {
    name: "encode_bf16",
    text: `
fn encode_bf16(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0x7fc0u; }
  return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}`,
  },
  {
    name: "round_bf16",
    calls: ["encode_bf16"],
    text: `
fn round_bf16(x: f32) -> f32 {
  return bitcast<f32>(encode_bf16(x) << 16u);
}`,
  },
];

export const floatFormatFunctions: readonly LibraryFunction[] = [
  ...functionsOf("f16"),
  ...functionsOf("e4m3fn"),
  ...functionsOf("e5m2"),
  ...bf16,
];
