/**
 * The router: which experts a token goes to, and with what weight. In: x [N, D]. Out: scores [N, E], indices and weights
 * [N, K]. V3: sigmoid scores, a bias that chooses and never weighs, groups rated by their two best. V2: softmax scores,
 * plainly or over groups rated by their best. f32 always. Sources: arXiv 2412.19437 §2.1.2, 2408.15664, 2405.04434.
 */
import { groupLimitedTopK, routingWeights, sigmoid, softmax } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { LayerScope } from "./layer-scope.ts";
import { exactLinear } from "./linear.ts";

export interface Choice {
  /** Scores without the bias, [N, E]. */
  readonly scores: Tensor;
  /** Chosen experts by descending biased score, i32 [N, K]. */
  readonly indices: Tensor;
  /** Their weights, [N, K]. */
  readonly weights: Tensor;
}

/** `scope` is the MoE layer's `gate`. */
export function gate(scope: LayerScope, x: Tensor): Choice {
  const { config } = scope;
  return scope.declare(() => {
    const affinity = exactLinear(scope, x); // [N, E]
    const scores = config.scoringFunc === "sigmoid" ? sigmoid(affinity) : softmax(affinity, 1); // [N, E]
    const bias =
      config.topkMethod === "noaux_tc" ? scope.parameter("e_score_correction_bias") : undefined; // [E]
    const indices = groupLimitedTopK(scores, bias, groupsOf(config)); // [N, K]
    return { scores, indices, weights: routingWeights(scores, indices, config) }; // weights [N, K]
  });
}

function groupsOf(config: ModelConfig): Parameters<typeof groupLimitedTopK>[2] {
  const { numExpertsPerTok: k, nGroup, topkGroup } = config;
  switch (config.topkMethod) {
    case "greedy":
      return { k };
    case "noaux_tc":
      return { k, nGroup, topkGroup, groupScore: "top2_sum" };
    case "group_limited_greedy":
      return { k, nGroup, topkGroup, groupScore: "max" };
  }
}
