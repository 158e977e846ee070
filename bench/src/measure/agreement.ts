/**
 * Whether two results are the same but for rounding. In: sampled elements. Out: the largest difference, relative to the size
 * that elements have. Nothing that disagrees is timed: a fast wrong answer is no answer.
 */

/** Elements as JSON carries them: what is not a finite number is null there. */
export type Sample = readonly (number | null)[];

const isFinite = (sample: Sample): sample is readonly number[] =>
  sample.every((value) => Number.isFinite(value));

/** Root mean square. */
function sizeOf(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value * value, 0);
  return Math.sqrt(sum / Math.max(values.length, 1));
}

/** Largest |a − b| over the size of `expected`; infinite if they are not comparable or not finite. */
export function differenceOf(actual: Sample, expected: Sample): number {
  if (actual.length !== expected.length || actual.length === 0) return Infinity;
  if (!isFinite(actual) || !isFinite(expected)) return Infinity;
  const size = sizeOf(expected);
  const largest = Math.max(...actual.map((value, i) => Math.abs(value - expected[i]!)));
  if (size === 0) return largest === 0 ? 0 : Infinity;
  return largest / size;
}
