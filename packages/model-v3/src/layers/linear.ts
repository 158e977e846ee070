/**
 * Linear layers, without bias as everywhere in these models. In: x [N, K] and the scope that holds `weight` [M, K]. Out:
 * [N, M]. The precision says which product that is; embedding, head, gate, norms and attention stay f32 in all of them
 * (arXiv 2412.19437 §3.3).
 */
import {
  bf16Linear,
  bf16RaggedDot,
  fp8Linear,
  fp8RaggedDot,
  linear as f32Linear,
  raggedDot,
} from "@millrace/graph";
import type { Fp8Options, Tensor } from "@millrace/graph";
import type { LayerScope } from "./layer-scope.ts";
import { timesExperts, timesWeight } from "./weight.ts";

/** What the operands of projections are rounded to on their way into a product; weights are f32 masters. */
export const precisions = ["f32", "bf16", "fp8"] as const;
export type Precision = (typeof precisions)[number];

/** The two products of a precision. */
export interface Products {
  /** x [N, K] times w [M, K]: [N, M]. */
  readonly linear: (x: Tensor, w: Tensor, options?: Fp8Options) => Tensor;
  /** Rows offsets[e] to offsets[e+1] of x [R, K] times w[e], w [E, M, K]: [R, M]. */
  readonly ragged: (x: Tensor, w: Tensor, offsets: Tensor, options?: Fp8Options) => Tensor;
}

const productsOf: Readonly<Record<Precision, Products>> = {
  f32: {
    linear: (x, w) => f32Linear(x, w),
    ragged: (x, w, offsets) => raggedDot(x, w, offsets),
  },
  bf16: {
    linear: (x, w) => bf16Linear(x, w),
    ragged: (x, w, offsets) => bf16RaggedDot(x, w, offsets),
  },
  fp8: { linear: fp8Linear, ragged: fp8RaggedDot },
};

/**
 * The products of a precision. Layers ask for power-of-two scales in the three places where FP8 training wants them; without
 * `powerOfTwoScales` they get ordinary ones there too, as in DeepSeek's inference code.
 */
export function productsFor(precision: Precision, powerOfTwoScales = true): Products {
  const { linear: product, ragged } = productsOf[precision];
  return powerOfTwoScales
    ? { linear: product, ragged }
    : { linear: (x, w) => product(x, w), ragged: (x, w, offsets) => ragged(x, w, offsets) };
}

/** x [N, K] times the scope's `weight` [M, K]. */
export function linear(scope: LayerScope, x: Tensor, options?: Fp8Options): Tensor {
  return scope.declare(() => {
    const weight = scope.weight("weight"); // [M, K]
    if (weight.format === "f32") return scope.products.linear(x, weight.codes, options); // [N, M]
    return timesWeight(x, weight); // [N, M]
  });
}

/** One matrix per expert: rows offsets[e] to offsets[e+1] of x [R, K] times `weight[e]`, `weight` [E, M, K]. */
export function expertLinear(
  scope: LayerScope,
  x: Tensor,
  offsets: Tensor,
  options?: Fp8Options,
): Tensor {
  return scope.declare(() => {
    const weight = scope.weight("weight"); // [E, M, K]
    if (weight.format === "f32") return scope.products.ragged(x, weight.codes, offsets, options); // [R, M]
    return timesExperts(x, weight, offsets); // [R, M]
  });
}

/** A product that stays f32 in every precision: gate and head. */
export function exactLinear(scope: LayerScope, x: Tensor): Tensor {
  return scope.declare(() => f32Linear(x, scope.parameter("weight"))); // [N, M]
}
