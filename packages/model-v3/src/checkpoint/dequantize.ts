/**
 * Block-scaled FP8 weights to f32. In: codes [rows, columns] and one f32 scale per block. Out: code times
 * scale, one f32 multiplication each, so every implementation gives the same bits. Blocks at the right and
 * lower edge are smaller. And back, as the graph's own quantisation does it. Knows no names and no files.
 */
import { ShapeError, decodeFloats, encodeFloats } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";

/** Shape of the scales of a weight: `[ceil(rows / block), ceil(columns / block)]`. */
export function scaleShape(
  shape: readonly number[],
  block: readonly [number, number] = [128, 128],
): readonly [number, number] {
  const [rows = 0, columns = 0] = shape;
  return [Math.ceil(rows / block[0]), Math.ceil(columns / block[1])];
}

/** Dequantises E4M3 (or E5M2) `codes` by `scales`, the checkpoint's `weight_scale_inv`. */
export function dequantizeBlocks(
  codes: HostTensor,
  scales: HostTensor,
  block: readonly [number, number] = [128, 128],
): HostTensor {
  const [rows = 0, columns = 0] = codes.shape;
  const expected = scaleShape(codes.shape, block);
  if (
    codes.shape.length !== 2 ||
    (codes.dtype !== "e4m3fn" && codes.dtype !== "e5m2") ||
    scales.dtype !== "f32" ||
    scales.shape.join() !== expected.join()
  )
    throw new ShapeError({
      what:
        `codes are ${codes.dtype} [${codes.shape.join(", ")}], scales ${scales.dtype} ` +
        `[${scales.shape.join(", ")}]; expected FP8 of two dimensions and f32 [${expected.join(", ")}]`,
      where: "dequantizeBlocks",
      hint: `Pass one scale per block of ${block.join(" x ")}.`,
    });
  const data = decodeFloats(codes.dtype, codes.data as Uint8Array);
  const factors = scales.data as Float32Array;
  for (let row = 0; row < rows; row++) {
    const scaleRow = Math.floor(row / block[0]) * expected[1];
    for (let column = 0; column < columns; column++) {
      const scale = factors[scaleRow + Math.floor(column / block[1])] as number;
      // Storing into f32 rounds the exact double product once: the f32 multiplication.
      data[row * columns + column] = (data[row * columns + column] as number) * scale;
    }
  }
  return { dtype: "f32", shape: codes.shape, data };
}

/** Smallest magnitude that a block's scale is made for. */
const smallestAmax = 1e-4;

/** E4M3 codes and block scales of f32 values: a block's largest magnitude becomes 448. */
export function quantizeBlocks(
  values: HostTensor,
  block: readonly [number, number] = [128, 128],
): { readonly codes: HostTensor; readonly scales: HostTensor } {
  const [rows = 0, columns = 0] = values.shape;
  const shape = scaleShape(values.shape, block);
  const exact = values.data as Float32Array;
  const blockAt = (row: number, column: number): number =>
    Math.floor(row / block[0]) * shape[1] + Math.floor(column / block[1]);
  const scales = new Float32Array(shape[0] * shape[1]).fill(smallestAmax);
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, at++) {
      const magnitude = Math.abs(exact[at]!);
      const b = blockAt(row, column);
      if (magnitude > scales[b]! || magnitude !== magnitude) scales[b] = magnitude;
    }
  scales.forEach((amax, b) => {
    scales[b] = amax / 448;
  });
  const scaled = new Float32Array(exact.length);
  for (let row = 0, at = 0; row < rows; row++)
    for (let column = 0; column < columns; column++, at++)
      scaled[at] = exact[at]! / scales[blockAt(row, column)]!;
  return {
    codes: { dtype: "e4m3fn", shape: values.shape, data: encodeFloats("e4m3fn", scaled) },
    scales: { dtype: "f32", shape, data: scales },
  };
}
