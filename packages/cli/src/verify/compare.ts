/**
 * Computed values against expected ones. In: two arrays of doubles and a rule. Out: the largest error in the rule's own
 * measure. Knows no names; which rule a tensor gets stands in `rules.ts`.
 */

/** A tensor's shape and elements, as files give them: narrow floats decoded, integers as doubles. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

/** By tensor name: what was computed. Where there are several ways to a tensor, all of them must meet it. */
export type Computed = ReadonlyMap<string, readonly Numbers[]>;

/** One more way to a tensor. */
export function addTo(computed: Map<string, Numbers[]>, name: string, value: Numbers): void {
  const known = computed.get(name);
  if (known) known.push(value);
  else computed.set(name, [value]);
}

/**
 * What an error is measured by: nothing (`absolute`), the expected element (`relative`), the largest of its row or tensor
 * (`row`, `tensor`), the root mean square of all (`rms`); `exact` wants the same bits, NaN and the sign of zero included.
 */
export type Measure = "absolute" | "relative" | "row" | "tensor" | "rms" | "exact";

export interface Rule {
  readonly measure: Measure;
  /** Largest allowed error. */
  readonly tolerance: number;
}

/** The largest error of `got`; infinite where shapes or kinds of values differ. */
export function largestError(got: Numbers, expected: Numbers, { measure }: Rule): number {
  if (got.values.length !== expected.values.length) return Infinity;
  switch (measure) {
    case "exact":
      return differences(got.values, expected.values);
    case "rms":
      return rootMeanSquareError(got.values, expected.values);
    default:
      return largestScaled(got.values, expected, measure);
  }
}

/** 0 where all bits agree, else the largest distance, infinite where a sign or NaN differs only. */
function differences(got: Float64Array, expected: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < got.length; i++) {
    if (Object.is(got[i], expected[i])) continue;
    const distance = Math.abs(got[i]! - expected[i]!);
    largest = Math.max(largest, distance > 0 ? distance : Infinity);
  }
  return largest;
}

function largestScaled(
  got: Float64Array,
  { shape, values }: Numbers,
  measure: "absolute" | "relative" | "row" | "tensor",
): number {
  const rowLength = measure === "row" ? (shape.at(-1) ?? 1) : values.length;
  let largest = 0;
  for (let start = 0; start < values.length; start += rowLength) {
    const end = start + rowLength;
    const scale = measure === "absolute" ? 1 : largestMagnitude(values, start, end);
    for (let i = start; i < end; i++) {
      const error = scaled(
        Math.abs(got[i]! - values[i]!),
        measure === "relative" ? Math.abs(values[i]!) : scale,
      );
      if (!(error <= largest)) largest = error;
      if (Number.isNaN(error)) return Infinity;
    }
  }
  return largest;
}

function scaled(distance: number, scale: number): number {
  return distance === 0 ? 0 : distance / scale;
}

function largestMagnitude(values: Float64Array, start: number, end: number): number {
  let largest = 0;
  for (let i = start; i < end; i++) largest = Math.max(largest, Math.abs(values[i]!));
  return largest;
}

function rootMeanSquareError(got: Float64Array, expected: Float64Array): number {
  let error = 0;
  let size = 0;
  for (let i = 0; i < got.length; i++) {
    error += (got[i]! - expected[i]!) ** 2;
    size += expected[i]! ** 2;
  }
  const ratio = Math.sqrt(scaled(error, size));
  return Number.isNaN(ratio) ? Infinity : ratio;
}
