/**
 * How far results may differ. In: a dtype, two numbers and a bound. Out: whether they agree. The only place with tolerances: what is
 * exact everywhere (integers, movement, IEEE arithmetic, rounding) is compared without one; sums and
 * transcendental functions are compared by the bounds that are worked out here.
 */
import type { DType, FloatDType } from "@millrace/graph";
import { isFloat } from "@millrace/graph";

/** A difference is allowed up to `absolute` plus `ulps` units in the last place of the expected value. */
export interface Tolerance {
  readonly ulps: number;
  readonly absolute: number;
}

/** Equal values; any NaN equals any NaN, and zeros are equal. */
export const exact: Tolerance = { ulps: 0, absolute: 0 };

/** Significant bits of each float format, the hidden one included, and the exponent of its smallest normal number. */
const formats: Record<FloatDType, { readonly bits: number; readonly minExponent: number }> = {
  f32: { bits: 24, minExponent: -126 },
  f16: { bits: 11, minExponent: -14 },
  bf16: { bits: 8, minExponent: -126 },
  e4m3fn: { bits: 4, minExponent: -6 },
  e5m2: { bits: 3, minExponent: -14 },
};

/** Distance of neighbouring values of a float format around `value`; 0 for other dtypes. */
export function unitInLastPlace(dtype: DType, value: number): number {
  if (!isFloat(dtype) || !Number.isFinite(value)) return 0;
  const { bits, minExponent } = formats[dtype];
  const magnitude = Math.abs(value);
  let exponent = magnitude > 0 ? Math.floor(Math.log2(magnitude)) : minExponent;
  // The logarithm may round up to the next power of two.
  if (2 ** exponent > magnitude) exponent--;
  return 2 ** (Math.max(exponent, minExponent) - bits + 1);
}

/** Units in the last place of f32 that a transcendental function of a backend may be off. */
export const transcendentalUlps = 16;

/** For one op on its own: `operations` is the length of the longest sum behind a result. */
export function opTolerance(
  dtype: DType,
  options: { readonly operations?: number; readonly magnitude?: number } = {},
): Tolerance {
  if (!isFloat(dtype)) return exact;
  const { operations = 1, magnitude = 0 } = options;
  // Each addition rounds once, to half a unit of a partial sum that is at most `magnitude`.
  const sums = operations * 2 ** -24 * magnitude;
  return { ulps: dtype === "f32" ? transcendentalUlps : 1, absolute: sums };
}

/** True if `actual` may stand for `expected` in a tensor of `dtype`. */
export function withinTolerance(
  dtype: DType,
  actual: number,
  expected: number,
  { ulps, absolute }: Tolerance,
): boolean {
  if (actual === expected || (actual !== actual && expected !== expected)) return true;
  if (!Number.isFinite(actual) || !Number.isFinite(expected)) return false;
  return Math.abs(actual - expected) <= absolute + ulps * unitInLastPlace(dtype, expected);
}
