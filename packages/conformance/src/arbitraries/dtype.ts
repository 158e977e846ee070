/**
 * Generators of element types. In: which are allowed. Out: fast-check arbitraries that shrink towards f32.
 */
import fc from "fast-check";
import type { DType, FloatDType } from "@millrace/graph";
import { dtypes, isFloat } from "@millrace/graph";

/** Any of `allowed`, by default every dtype that kernels compute with (all but i64). */
export function dtypeArbitrary(
  allowed: readonly DType[] = dtypes.filter((dtype) => dtype !== "i64"),
): fc.Arbitrary<DType> {
  return fc.constantFrom(...allowed);
}

/** A float format among `allowed`. */
export function floatDTypeArbitrary(allowed: readonly DType[] = dtypes): fc.Arbitrary<FloatDType> {
  return fc.constantFrom(...allowed.filter(isFloat));
}
