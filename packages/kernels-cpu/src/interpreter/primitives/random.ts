/**
 * Random bits. In: a key. Out: element i, counted row-major, is the hash of counter (0, i), its two words combined by xor.
 */
import { elementCount, threefry2x32 } from "@millrace/graph";
import type { Primitive } from "./primitive.ts";

export const randomBits: Primitive = ({ inputs: [key], outputs: [output] }) => {
  const [key0, key1] = key!.data as unknown as [number, number];
  const result = new Float64Array(elementCount(output!.shape));
  for (let i = 0; i < result.length; i++) {
    const [x0, x1] = threefry2x32(key0, key1, 0, i);
    result[i] = (x0 ^ x1) >>> 0;
  }
  return [result];
};
