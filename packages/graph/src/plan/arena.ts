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
  // Placed buffers in order of offset.
  const placed: number[] = [];
  let total = 0;
  const order = lifetimes
    .map((_, i) => i)
    .toSorted((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || a - b);
  for (const i of order) {
    const wanted = lifetimes[i]!;
    let offset = 0;
    for (const j of placed) {
      const other = lifetimes[j]!;
      if (other.to < wanted.from || other.from > wanted.to) continue;
      if (offsets[j]! >= offset + aligned(wanted.bytes)) break;
      offset = Math.max(offset, offsets[j]! + aligned(other.bytes));
    }
    offsets[i] = offset;
    total = Math.max(total, offset + aligned(wanted.bytes));
    const at = placed.findIndex((j) => offsets[j]! > offset);
    placed.splice(at < 0 ? placed.length : at, 0, i);
  }
  return { offsets, bytes: total };
}
