/**
 * Running sums. In: a tensor and an axis. Out: at each index the sum of the elements up to there, or from there on. Integers
 * wrap at 32 bits.
 */
import { isFloat } from "@millrace/graph";
import { offsetsAlong, otherAxes } from "../offsets.ts";
import type { Primitive } from "./primitive.ts";

export const cumulativeSum: Primitive = ({ attrs, inputs: [x] }) => {
  const axis = Number(attrs["axis"]);
  const outer = offsetsAlong(x!.shape, otherAxes(x!.shape.length, [axis]));
  const along = offsetsAlong(x!.shape, [axis]);
  if (attrs["reverse"]) along.reverse();
  const wraps = !isFloat(x!.dtype);
  const result = new Float64Array(x!.data.length);
  for (const start of outer) {
    let sum = 0;
    for (const offset of along) {
      const at = start + offset;
      const before = sum;
      sum += x!.data[at]!;
      if (wraps) sum |= 0;
      result[at] = attrs["exclusive"] ? before : sum;
    }
  }
  return [result];
};
