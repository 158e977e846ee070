/**
 * Writing a part of a value. In: a value, rows and where they start. Out: a copy with the rows replaced; rows that would fall
 * outside are dropped.
 */
import { offsetsAlong, otherAxes } from "../offsets.ts";
import type { Primitive } from "./primitive.ts";

export const updateSlice: Primitive = ({ attrs, inputs: [operand, update, start] }) => {
  const axis = Number(attrs["axis"]);
  const others = otherAxes(operand!.shape.length, [axis]);
  const result = operand!.data.slice();
  const targets = offsetsAlong(operand!.shape, others);
  const sources = offsetsAlong(update!.shape, others);
  const rows = offsetsAlong(operand!.shape, [axis]);
  offsetsAlong(update!.shape, [axis]).forEach((from, t) => {
    const row = start!.data[0]! + t;
    if (row < 0 || row >= rows.length) return;
    for (let i = 0; i < targets.length; i++)
      result[targets[i]! + rows[row]!] = update!.data[sources[i]! + from]!;
  });
  return [result];
};
