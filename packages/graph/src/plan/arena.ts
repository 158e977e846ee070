/**
 * Places buffers in one arena. In: sizes and the steps between which each must keep its contents. Out: an offset each and the
 * bytes in total: the peak, known before anything runs. Largest first, at the lowest free place.
 */

export interface Lifetime {
  readonly bytes: number;
  /** First and last step, inclusive; -1 is before the first, `Infinity` after the last. */
  readonly from: number;
  readonly to: number;
}

export function placeInArena(
  lifetimes: readonly Lifetime[],
  alignment: number,
): { readonly offsets: readonly number[]; readonly bytes: number } {
  const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;
  const offsets = lifetimes.map(() => 0);
  // What has been placed, by offset: a row for each number, as every further buffer looks at all of them.
  const placed = {
    from: new Float64Array(lifetimes.length),
    to: new Float64Array(lifetimes.length),
    offset: new Float64Array(lifetimes.length),
    end: new Float64Array(lifetimes.length),
  };
  const rows = Object.values(placed);
  let count = 0;
  let total = 0;
  const order = lifetimes
    .map((_, i) => i)
    .toSorted((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || a - b);
  for (const i of order) {
    const { bytes, from, to } = lifetimes[i]!;
    const size = aligned(bytes);
    let offset = 0;
    for (let j = 0; j < count; j++) {
      if (placed.to[j]! < from || placed.from[j]! > to) continue;
      if (placed.offset[j]! >= offset + size) break;
      offset = Math.max(offset, placed.end[j]!);
    }
    offsets[i] = offset;
    total = Math.max(total, offset + size);
    let at = count;
    while (at > 0 && placed.offset[at - 1]! > offset) at--;
    for (const row of rows) row.copyWithin(at + 1, at, count);
    placed.from[at] = from;
    placed.to[at] = to;
    placed.offset[at] = offset;
    placed.end[at] = offset + size;
    count++;
  }
  return { offsets, bytes: total };
}
