import { decodeFloat, hostTensor } from "@millrace/graph";
import { expect, test } from "vitest";
import { dequantizeBlocks, scaleShape } from "./dequantize.ts";

function codes(rows: number, columns: number) {
  const data = Uint8Array.from({ length: rows * columns }, (_, i) => (i * 37) % 127);
  return { dtype: "e4m3fn" as const, shape: [rows, columns], data };
}

test.each([
  [1, 1],
  [127, 129],
  [128, 128],
  [129, 127],
  [256, 300],
])("%d x %d: every value is its code times its block's scale, in f32", (rows, columns) => {
  const [down, across] = scaleShape([rows, columns]);
  const factors = Array.from({ length: down * across }, (_, i) => 0.1 + i / 7);
  const weight = codes(rows, columns);
  const got = dequantizeBlocks(weight, hostTensor("f32", [down, across], factors));
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const scale = Math.fround(factors[(row >> 7) * across + (column >> 7)] as number);
      const code = weight.data[row * columns + column] as number;
      const want = Math.fround(decodeFloat("e4m3fn", code) * scale);
      if (got.data[row * columns + column] !== want) expect.fail(`at ${row}, ${column}`);
    }
  expect(got.shape).toEqual([rows, columns]);
});

test("scales of another shape are refused", () => {
  expect(() => dequantizeBlocks(codes(129, 2), hostTensor("f32", [1, 1], [1]))).toThrow(
    /scales f32 \[1, 1\]; expected.*\[2, 1\].*one scale per block/,
  );
  expect(() => dequantizeBlocks(codes(2, 2), hostTensor("bf16", [1, 1], [1]))).toThrow(/bf16/);
});
