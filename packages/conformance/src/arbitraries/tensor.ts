/**
 * Generators of values. In: dtype and shape. Out: host tensors made from a seed, so that a failing case is a few numbers and
 * not a page of elements. `edges` mixes in what arithmetic stumbles over: zeros of both signs, subnormals, the largest
 * finite values, infinities and NaN.
 */
import fc from "fast-check";
import type { DType, HostTensor } from "@millrace/graph";
import { elementCount, hostTensor, isFloat, largestFinite, threefry2x32 } from "@millrace/graph";

/** `small`: -2 to 2; `wide`: of all sizes; `edges`: a quarter of them special; `integers`: -8 to 8. */
export type ValueKind = "small" | "wide" | "edges" | "integers";

const f32Edges = [
  0,
  -0,
  1,
  -1,
  0.5,
  -1.5,
  2.5,
  NaN,
  Infinity,
  -Infinity,
  2 ** -149,
  -(2 ** -149),
  2 ** -126,
  1 + 2 ** -23,
  1 - 2 ** -24,
  16777216,
  3.4028234663852886e38,
  -3.4028234663852886e38,
];

const smallest = {
  f32: 2 ** -149,
  f16: 2 ** -24,
  bf16: 2 ** -133,
  e4m3fn: 2 ** -9,
  e5m2: 2 ** -16,
};

/** Values that a dtype treats specially. */
export function edgeValues(dtype: DType): readonly number[] {
  if (isFloat(dtype)) {
    const largest = largestFinite[dtype];
    return [...f32Edges, smallest[dtype], -smallest[dtype], largest, -largest];
  }
  switch (dtype) {
    case "bool":
      return [0, 1];
    case "u8":
      return [0, 1, 127, 128, 255];
    case "i8":
      return [0, 1, -1, 31, 127, -127, -128];
    case "i16":
      return [0, 1, -1, 32, 255, 256, 32767, -32768];
    case "u32":
      return [0, 1, 31, 32, 0x7fffffff, 0x80000000, 0xffffffff];
    default:
      return [0, 1, -1, 31, 32, 0x7fffffff, -0x80000000, -0x7fffffff];
  }
}

/** Elements from a seed: the same on every machine. */
export function seededTensor(
  dtype: DType,
  shape: readonly number[],
  seed: number,
  kind: ValueKind = "small",
): HostTensor {
  const special = edgeValues(dtype);
  const values = Array.from({ length: elementCount(shape) }, (_, i) => {
    const [bits, more] = threefry2x32(seed, 0, 0, i);
    if (kind === "edges" && more % 4 === 0) return special[bits % special.length]!;
    return element(dtype, bits, more, kind);
  });
  return hostTensor(dtype, shape, values);
}

function element(dtype: DType, bits: number, more: number, kind: ValueKind): number {
  const signed = dtype !== "u32" && dtype !== "u8" && dtype !== "bool";
  if (dtype === "bool") return bits & 1;
  if (kind === "integers") return signed ? (bits % 17) - 8 : bits % 9;
  const unit = bits / 2 ** 32;
  if (!isFloat(dtype)) {
    if (kind === "small") return signed ? (bits % 5) - 2 : bits % 3;
    if (dtype === "i8") return (bits << 24) >> 24;
    if (dtype === "i16") return (bits << 16) >> 16;
    return dtype === "u8" ? bits & 255 : dtype === "u32" ? bits : bits | 0;
  }
  if (kind === "small") return unit * 4 - 2;
  // Evenly spread exponents, within what the format holds.
  const range = Math.log2(largestFinite[dtype]);
  const exponent = (more / 2 ** 32) * 2 * range - range;
  return (bits & 1 ? 1 : -1) * (1 + unit) * 2 ** Math.floor(Math.min(exponent, range - 1));
}

/** A tensor of values of one kind, or of any. */
export function tensorArbitrary(
  dtype: DType,
  shape: readonly number[],
  kinds: readonly ValueKind[] = ["small", "wide", "edges"],
): fc.Arbitrary<HostTensor> {
  return fc
    .tuple(fc.nat(), fc.constantFrom(...kinds))
    .map(([seed, kind]) => seededTensor(dtype, shape, seed, kind));
}
