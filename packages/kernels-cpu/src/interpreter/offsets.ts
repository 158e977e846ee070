/**
 * Positions in row-major tensors. In: a shape and some of its axes. Out: the position of every combination of their indices,
 * in row-major order of the axes as listed, with all other indices 0. Offsets of disjoint axes add.
 */

/** Offsets of all indices of `axes` in a tensor of `shape`. */
export function offsetsAlong(shape: readonly number[], axes: readonly number[]): Int32Array {
  const strides = shape.map((_, axis) =>
    shape.slice(axis + 1).reduce((product, size) => product * size, 1),
  );
  let offsets = new Int32Array(1);
  for (const axis of axes) {
    const size = shape[axis]!;
    const next = new Int32Array(offsets.length * size);
    for (let i = 0, at = 0; i < offsets.length; i++)
      for (let j = 0; j < size; j++) next[at++] = offsets[i]! + j * strides[axis]!;
    offsets = next;
  }
  return offsets;
}

/** The axes of a tensor of `rank` that are not in `axes`, ascending. */
export function otherAxes(rank: number, axes: readonly number[]): readonly number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !axes.includes(axis));
}
