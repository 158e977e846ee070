/**
 * Gradient clipping by global norm. In: the gradients of all parameters. Out: their norm together, and the factor
 * that brings it down to a maximum. Adding a little to the norm keeps a zero gradient finite.
 */
import { add, div, minimum, mul, sqrt, sum, type Tensor } from "@millrace/graph";

export interface Clipping {
  /** Before clipping. */
  readonly norm: Tensor;
  /** min(1, maxNorm / (norm + 1e-6)) */
  readonly factor: Tensor;
}

export function clipByGlobalNorm(gradients: readonly Tensor[], maxNorm: number): Clipping {
  const squares = gradients.map((gradient) => sum(mul(gradient, gradient)));
  const norm = sqrt(squares.reduce((a, b) => add(a, b)));
  return { norm, factor: minimum(div(maxNorm, add(norm, 1e-6)), 1) };
}
