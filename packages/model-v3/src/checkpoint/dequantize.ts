/**
 * Block-scaled FP8 weights to f32. In: codes [rows, columns] and one f32 scale per block. Out: code times
 * scale, one f32 multiplication each, so every implementation gives the same bits. Blocks at the right and
 * lower edge are smaller. Knows no names and no files.
 */
import { ShapeError, decodeFloats } from "@millrace/graph";
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
