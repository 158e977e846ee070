/**
 * Weights in narrow formats. In: a format and a matrix's sizes. Out: what is stored, and the values it stands for, which is
 * what contestants without that format multiply by. Scales belong to blocks of 128 × 128 (e4m3fn), or to groups of 32 neighbours
 * of a row (int8, int4), as checkpoints have them.
 */
import type { HostTensor } from "@millrace/graph";
import { decodeFloats, encodeFloats, InputError } from "@millrace/graph";
import type { WeightFormat } from "./case.ts";
import { uniform } from "./numbers.ts";

/** Side of a block of e4m3fn values with one scale. */
export const BLOCK = 128;
/** Neighbours of a row with one scale in the integer formats. */
export const GROUP = 32;

/** A matrix [n, k], stored. */
export interface StoredWeight {
  /** By name: `codes`, and `scales` where the format has them. */
  readonly stored: Readonly<Record<string, HostTensor>>;
  /** [n, k] in f32. */
  readonly values: Float32Array<ArrayBuffer>;
}

/** Bytes of a stored matrix, scales included. */
export function weightBytes(format: WeightFormat, n: number, k: number): number {
  switch (format) {
    case "f32":
      return n * k * 4;
    case "f16":
    case "bf16":
      return n * k * 2;
    case "e4m3fn":
      return n * k + 4 * Math.ceil(n / BLOCK) * Math.ceil(k / BLOCK);
    case "int8":
      return n * k + 2 * n * (k / GROUP);
    case "int4":
      return (n * k) / 2 + 2 * n * (k / GROUP);
  }
}

/** A matrix of values in [-scale, scale), rounded to what the format holds. */
export function storedWeight(
  format: WeightFormat,
  n: number,
  k: number,
  seed: number,
  scale: number,
): StoredWeight {
  const exact = uniform(seed, n * k, scale);
  switch (format) {
    case "f32":
      return { stored: { codes: { dtype: "f32", shape: [n, k], data: exact } }, values: exact };
    case "f16":
    case "bf16": {
      const data = encodeFloats(format, exact);
      const values = decodeFloats(format, data) as Float32Array<ArrayBuffer>;
      return { stored: { codes: { dtype: format, shape: [n, k], data } }, values };
    }
    case "e4m3fn":
      return inBlocks(exact, n, k, scale);
    case "int8":
    case "int4":
      return inGroups(format, exact, n, k, scale);
  }
}

/** All blocks have the scale that fits the largest value; 448 is the largest e4m3fn. */
function inBlocks(
  exact: Float32Array<ArrayBuffer>,
  n: number,
  k: number,
  scale: number,
): StoredWeight {
  const step = Math.fround(scale / 448);
  const data = encodeFloats(
    "e4m3fn",
    exact.map((value) => value / step),
  );
  const values = decodeFloats("e4m3fn", data).map((value) => value * step);
  const shape = [Math.ceil(n / BLOCK), Math.ceil(k / BLOCK)];
  const scales = new Float32Array(shape[0]! * shape[1]!).fill(step);
  return {
    stored: {
      codes: { dtype: "e4m3fn", shape: [n, k], data },
      scales: { dtype: "f32", shape, data: scales },
    },
    values: values,
  };
}

/** Codes are whole numbers plus 128 in a byte, or plus 8 in half a byte, the earlier one in the lower half. */
function inGroups(
  format: "int8" | "int4",
  exact: Float32Array<ArrayBuffer>,
  n: number,
  k: number,
  scale: number,
): StoredWeight {
  if (k % GROUP !== 0)
    throw new InputError({
      what: `${k} elements in a row are not whole groups of ${GROUP}`,
      where: "bench",
      hint: "Choose another size.",
    });
  const largest = format === "int8" ? 127 : 7;
  const stored = encodeFloats("bf16", Float32Array.of(scale / largest));
  const step = decodeFloats("bf16", stored)[0]!;
  const scales = new Uint16Array((n * k) / GROUP).fill(stored[0]!);
  const values = new Float32Array(n * k);
  const codes = new Uint8Array(format === "int8" ? n * k : (n * k) / 2);
  // Plain loops: a matrix has millions of elements.
  for (let i = 0; i < values.length; i++) {
    // Codes have no -0.
    const whole = Math.max(-largest, Math.min(largest, Math.round(exact[i]! / step))) | 0;
    values[i] = whole * step;
    if (format === "int8") codes[i] = whole + 128;
    else codes[i >> 1]! |= (whole + 8) << (4 * (i % 2));
  }
  return {
    stored: {
      codes: { dtype: "u8", shape: [n, format === "int8" ? k : k / 2], data: codes },
      scales: { dtype: "bf16", shape: [n, k / GROUP], data: scales },
    },
    values,
  };
}
