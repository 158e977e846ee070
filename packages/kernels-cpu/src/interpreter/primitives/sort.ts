/**
 * Orders, through the language's own stable sort. In: values or keys. Out: values in order, and where each was. NaN comes
 * last in either direction; equal values, zeros of both signs among them, keep their order.
 */
import { InternalError, elementCount } from "@millrace/graph";
import type { InterpreterValue } from "../value.ts";
import type { Primitive, PrimitiveContext } from "./primitive.ts";

/** The first `count` of each row of the last axis in order, and their indices. */
function sortRows(
  x: InterpreterValue,
  count: number,
  descending: boolean,
): readonly [Float64Array, Float64Array] {
  const size = x.shape.at(-1)!;
  const rows = elementCount(x.shape.slice(0, -1));
  const values = new Float64Array(rows * count);
  const indices = new Float64Array(rows * count);
  for (let row = 0; row < rows; row++) {
    const at = (i: number): number => x.data[row * size + i]!;
    const isNaNAt = (i: number): boolean => Number.isNaN(at(i));
    const numbers = Array.from({ length: size }, (_, i) => i);
    const ordered = numbers
      .filter((i) => !isNaNAt(i))
      .toSorted((i, j) => {
        const difference = at(i) < at(j) ? -1 : at(i) > at(j) ? 1 : 0;
        return descending ? -difference : difference;
      })
      .concat(numbers.filter(isNaNAt));
    for (let i = 0; i < count; i++) {
      indices[row * count + i] = ordered[i]!;
      values[row * count + i] = at(ordered[i]!);
    }
  }
  return [values, indices];
}

export const topK: Primitive = ({ attrs, inputs: [x] }: PrimitiveContext) =>
  sortRows(x!, Number(attrs["k"]), true);

export const sort: Primitive = ({ attrs, inputs: [x] }) =>
  sortRows(x!, x!.shape.at(-1)!, attrs["descending"] === true);

/** Outputs: permutation, inverse, offsets. */
export const countingSort: Primitive = ({ attrs, inputs: [keys], where }) => {
  const groups = Number(attrs["groups"]);
  const { data } = keys!;
  const misfit = data.find((key) => key < 0 || key >= groups);
  if (misfit !== undefined)
    throw new InternalError({ what: `key ${misfit} is not one of ${groups} groups`, where });
  const numbers = Array.from(data, (_, i) => i);
  const permutation = Float64Array.from(numbers.toSorted((i, j) => data[i]! - data[j]!));
  const inverse = new Float64Array(data.length);
  permutation.forEach((element, place) => {
    inverse[element] = place;
  });
  const offsets = Float64Array.from(
    { length: groups + 1 },
    (_, group) => data.filter((key) => key < group).length,
  );
  return [permutation, inverse, offsets];
};
