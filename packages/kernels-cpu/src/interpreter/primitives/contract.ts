/**
 * Matrix products by three loops. In: operands as doubles. Out: sums of products in doubles, in the order of the contracted
 * axes. The file of the same name in graph's declare stage says what each op means.
 */
import { InternalError, elementCount } from "@millrace/graph";
import { offsetsAlong, otherAxes } from "../offsets.ts";
import type { InterpreterValue } from "../value.ts";
import type { Primitive } from "./primitive.ts";

type DotAttrs = Readonly<
  Record<"lhsContract" | "rhsContract" | "lhsBatch" | "rhsBatch", readonly number[]>
>;

/** Batch axes, then free axes of lhs, then of rhs. */
export const dotGeneral: Primitive = ({ attrs, inputs: [lhs, rhs], outputs: [output] }) => {
  const { lhsContract, rhsContract, lhsBatch, rhsBatch } = attrs as unknown as DotAttrs;
  const free = (value: InterpreterValue, taken: readonly number[]): Int32Array =>
    offsetsAlong(value.shape, otherAxes(value.shape.length, taken));
  const lhsBatches = offsetsAlong(lhs!.shape, lhsBatch);
  const rhsBatches = offsetsAlong(rhs!.shape, rhsBatch);
  const rows = free(lhs!, [...lhsContract, ...lhsBatch]);
  const columns = free(rhs!, [...rhsContract, ...rhsBatch]);
  const lhsDepth = offsetsAlong(lhs!.shape, lhsContract);
  const rhsDepth = offsetsAlong(rhs!.shape, rhsContract);
  const result = new Float64Array(elementCount(output!.shape));
  const [x, y] = [lhs!.data, rhs!.data];
  let at = 0;
  for (let b = 0; b < lhsBatches.length; b++)
    for (let r = 0; r < rows.length; r++)
      for (let c = 0; c < columns.length; c++) {
        const row = lhsBatches[b]! + rows[r]!;
        const column = rhsBatches[b]! + columns[c]!;
        let sum = 0;
        for (let d = 0; d < lhsDepth.length; d++)
          sum += x[row + lhsDepth[d]!]! * y[column + rhsDepth[d]!]!;
        result[at++] = sum;
      }
  return [result];
};

/** First and last row of each group, checked to cover all rows in order. */
function groupsOf(
  offsets: InterpreterValue,
  rows: number,
  where: string,
): readonly (readonly [number, number])[] {
  const { data } = offsets;
  if (data[0] !== 0 || data.at(-1) !== rows || data.some((row, i) => i > 0 && row < data[i - 1]!))
    throw new InternalError({
      what: `offsets [${data.join(", ")}] do not run from 0 to ${rows}`,
      where,
    });
  return Array.from({ length: data.length - 1 }, (_, group) => [data[group]!, data[group + 1]!]);
}

/** Row r of group e: the product of x[r] with each row of w[e]. */
export const raggedDot: Primitive = ({ inputs: [x, w, offsets], where }) => {
  const [rows, depth] = x!.shape as [number, number];
  const columns = w!.shape[1]!;
  const result = new Float64Array(rows * columns);
  groupsOf(offsets!, rows, where).forEach(([first, end], group) => {
    for (let r = first; r < end; r++)
      for (let c = 0; c < columns; c++) {
        let sum = 0;
        for (let d = 0; d < depth; d++)
          sum += x!.data[r * depth + d]! * w!.data[(group * columns + c) * depth + d]!;
        result[r * columns + c] = sum;
      }
  });
  return [result];
};

/** Group e: the sum over its rows of a[r, m] * b[r, n]. */
export const raggedOuter: Primitive = ({ inputs: [a, b, offsets], where }) => {
  const [rows, height] = a!.shape as [number, number];
  const width = b!.shape[1]!;
  const groups = groupsOf(offsets!, rows, where);
  const result = new Float64Array(groups.length * height * width);
  groups.forEach(([first, end], group) => {
    for (let r = first; r < end; r++)
      for (let m = 0; m < height; m++)
        for (let n = 0; n < width; n++) {
          const at = (group * height + m) * width + n;
          result[at] = result[at]! + a!.data[r * height + m]! * b!.data[r * width + n]!;
        }
  });
  return [result];
};
