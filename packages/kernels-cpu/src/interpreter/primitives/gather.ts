/**
 * Sums at computed positions. In: indices and rows. Out: for each index the sum of its rows, added in their order. Integers
 * wrap at 32 bits.
 */
import { elementCount, isFloat } from "@millrace/graph";
import type { Primitive } from "./primitive.ts";

/** Indices outside the result are dropped. */
export const scatterAdd: Primitive = ({ inputs: [indices, updates], outputs: [output] }) => {
  const [size, ...rest] = output!.shape as [number, ...number[]];
  const width = elementCount(rest);
  const wraps = !isFloat(output!.dtype);
  const result = new Float64Array(size * width);
  indices!.data.forEach((row, n) => {
    if (row < 0 || row >= size) return;
    for (let i = 0; i < width; i++) {
      const at = row * width + i;
      const sum = result[at]! + updates!.data[n * width + i]!;
      result[at] = wraps ? sum | 0 : sum;
    }
  });
  return [result];
};
