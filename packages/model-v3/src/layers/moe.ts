/**
 * Mixture of experts without dropping. In: x [N, D]. Out: [N, D], and how the tokens were routed. The N·K rows are sorted by
 * expert, each expert's rows meet its matrices in one ragged product, and the inverse permutation brings them back: every
 * size is known before the run, whatever the load, so nothing is dropped and the host is not asked. Source: arXiv 2401.06066.
 */
import {
  add,
  countingSort,
  mul,
  multiplyDims,
  permuteRows,
  repeatRows,
  reshape,
  slice,
  sub,
  sum,
  swiglu,
} from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import { gate } from "./gate.ts";
import type { Choice } from "./gate.ts";
import type { LayerScope } from "./layer-scope.ts";
import { expertLinear } from "./linear.ts";
import { mlp } from "./mlp.ts";

/** How one layer routed this call's tokens. */
export interface Routing extends Choice {
  readonly layer: number;
  /** Tokens per expert, i32 [E]. */
  readonly load: Tensor;
}

/** `scope` is the layer's `mlp`, `layer` its index. */
export function moe(
  scope: LayerScope,
  layer: number,
  x: Tensor,
): { readonly output: Tensor; readonly routing: Routing } {
  const { nRoutedExperts: experts, nSharedExperts, numExpertsPerTok: k, hiddenSize } = scope.config;
  return scope.declare(() => {
    const choice = gate(scope.at("gate"), x);
    const rows = multiplyDims(x.shape[0]!, k); // R = N*K
    const order = countingSort(reshape(choice.indices, [rows]), experts); // [R], [R], [E+1]
    const { permutation, inverse, offsets } = order;
    const sorted = permuteRows(repeatRows(x, k), permutation, inverse); // [R, D], by expert
    const results = feedForward(scope.at("experts.*"), sorted, offsets); // [R, D]
    const byToken = permuteRows(results, inverse, permutation); // [R, D], by token
    const perToken = reshape(byToken, [x.shape[0]!, k, hiddenSize]); // [N, K, D]
    const weights = reshape(choice.weights, [x.shape[0]!, k, 1]); // [N, K, 1]
    const routed = sum(mul(perToken, weights), [1]); // [N, D]
    const output = nSharedExperts > 0 ? add(routed, mlp(scope.at("shared_experts"), x)) : routed; // [N, D]
    const load = sub(slice(offsets, 0, 1, experts), slice(offsets, 0, 0, experts)); // [E]
    return { output, routing: { layer, ...choice, load } };
  });
}

/** Rows x [R, D] in the order of their experts, each through its own expert: [R, D]. */
function feedForward(scope: LayerScope, x: Tensor, offsets: Tensor): Tensor {
  return scope.declare(() => {
    const dispatched = { powerOfTwoInput: true };
    const gateRows = expertLinear(scope.at("gate_proj"), x, offsets, dispatched); // [R, I]
    const upRows = expertLinear(scope.at("up_proj"), x, offsets, dispatched); // [R, I]
    const gated = swiglu(gateRows, upRows); // [R, I]
    return expertLinear(scope.at("down_proj"), gated, offsets, { powerOfTwoGradient: true }); // [R, D]
  });
}
