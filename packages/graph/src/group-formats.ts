/**
 * Weights in 8 or 4 bits on the host. In: f32 values [..., K]. Out: whole numbers with one bf16 scale for each group of neighbours of
 * the last axis, and back. Symmetric, to nearest, ties to even: the scale makes a group's largest magnitude 127 or 7. It is rounded
 * first, so codes make up for that.
 * Source: arXiv 1712.05877, 2103.13630. Codes of 4 bits are the number plus 8, two to a byte, the earlier in the lower half.
 */
import { decodeFloats, encodeFloats } from "./float-formats.ts";
import { AttributeError, ShapeError } from "./errors.ts";
import { elementCount } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";

/** Bits of a code. */
export type GroupBits = 8 | 4;

export interface GroupCodes {
  /** i8 [..., K], or u8 [..., K / 2]. */
  readonly codes: HostTensor;
  /** bf16 [..., K / group]. */
  readonly scales: HostTensor;
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return rest < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/** Rounds f32 values to whole numbers of `bits` with a scale for each `group` neighbours of the last axis. */
export function encodeGroups(tensor: HostTensor, bits: GroupBits, group = 32): GroupCodes {
  const { dtype, shape, data } = tensor;
  const width = shape.at(-1) ?? 0;
  if (dtype !== "f32" || width === 0 || width % group !== 0)
    throw new ShapeError({
      what: `${dtype}[${shape.join(", ")}] is not f32 values in whole groups of ${group}`,
      where: "encodeGroups",
      hint: "Its last axis must be a multiple of the group.",
    });
  if (!Number.isInteger(group) || group < 32 || group % 32 !== 0)
    throw new AttributeError({
      what: `the group is ${group}`,
      where: "encodeGroups",
      hint: "Give 32, 64 or 128.",
    });
  const values = data as Float32Array;
  const largest = bits === 8 ? 127 : 7;
  const count = elementCount(shape);
  const wanted = new Float32Array(count / group);
  for (let g = 0; g < wanted.length; g++) {
    let amax = 0;
    for (let i = g * group; i < (g + 1) * group; i++) {
      const magnitude = Math.abs(values[i]!);
      // A value that is no number makes its whole group none, as it would any sum.
      if (magnitude > amax || magnitude !== magnitude) amax = magnitude;
    }
    wanted[g] = amax / largest;
  }
  const stored = encodeFloats("bf16", wanted);
  const scales = decodeFloats("bf16", stored);
  const wide = new Int8Array(count);
  for (let g = 0; g < scales.length; g++) {
    const scale = scales[g]!;
    if (!(scale > 0)) continue;
    for (let i = g * group; i < (g + 1) * group; i++)
      wide[i] = Math.min(largest, Math.max(-largest, roundToEven(values[i]! / scale)));
  }
  const scaleShape = [...shape.slice(0, -1), width / group];
  const scalesTensor: HostTensor = { dtype: "bf16", shape: scaleShape, data: stored };
  if (bits === 8) return { codes: { dtype: "i8", shape, data: wide }, scales: scalesTensor };
  const packed = new Uint8Array(count / 2);
  for (let i = 0; i < packed.length; i++)
    packed[i] = (wide[2 * i]! + 8) | ((wide[2 * i + 1]! + 8) << 4);
  const packedShape = [...shape.slice(0, -1), width / 2];
  return { codes: { dtype: "u8", shape: packedShape, data: packed }, scales: scalesTensor };
}

/** Values f32 [..., K] of what `encodeGroups` made: code times scale, rounded once. */
export function decodeGroups({ codes, scales }: GroupCodes): HostTensor {
  const packed = codes.dtype === "u8";
  const count = elementCount(codes.shape) * (packed ? 2 : 1);
  const factors = decodeFloats("bf16", scales.data as Uint16Array);
  const group = count / factors.length;
  const data = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const code = packed
      ? (((codes.data[i >> 1] as number) >> (4 * (i % 2))) & 15) - 8
      : (codes.data[i] as number);
    data[i] = code * factors[Math.floor(i / group)]!;
  }
  const last = codes.shape.at(-1)! * (packed ? 2 : 1);
  return { dtype: "f32", shape: [...codes.shape.slice(0, -1), last], data };
}
