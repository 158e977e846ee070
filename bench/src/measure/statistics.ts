/**
 * Medians and spreads. In: one value for each round of a run. Out: what the tables say of them. Ratios are taken round by
 * round, since a shared machine's speed drifts: both sides of a ratio then saw the same machine.
 */
import { InputError } from "@millrace/graph";

/** A median with the smallest and largest value beside it. */
export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The middle value; the mean of the two middle ones of an even number. */
export function median(values: readonly number[]): number {
  if (values.length === 0)
    throw new InputError({
      what: "there is no median of no values",
      where: "bench",
      hint: "Measure at least one round.",
    });
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

/** The spread of a[i] / b[i] over the rounds that both have. */
export function ratioOf(a: readonly number[], b: readonly number[]): Spread {
  const rounds = Math.min(a.length, b.length);
  return spreadOf(Array.from({ length: rounds }, (_, i) => a[i]! / b[i]!));
}

/** The same spread in another unit. */
export function scaled({ median: middle, low, high }: Spread, by: number): Spread {
  return { median: middle * by, low: low * by, high: high * by };
}
