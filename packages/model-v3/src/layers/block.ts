/**
 * One transformer block: attention and feed-forward, each on a normalised copy of the residual stream and added to it. In:
 * [N, D]. Out: [N, D], and the routing where the layer has experts. Knows attention by its configuration's name only.
 */
import { add } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import { isMoeLayer } from "../config.ts";
import { groupedAttention } from "./grouped-attention.ts";
import type { LayerScope } from "./layer-scope.ts";
import { mla } from "./mla.ts";
import type { AttentionForm } from "./mla.ts";
import { mlp } from "./mlp.ts";
import { moe } from "./moe.ts";
import type { Routing } from "./moe.ts";
import { norm } from "./norm.ts";
import type { Sequence } from "./sequence.ts";

export interface BlockResult {
  /** The residual stream after the block, [N, D]. */
  readonly residual: Tensor;
  readonly routing: Routing | undefined;
}

/** Block `layer`; `scope` is `layers.<layer>`. */
export function block(
  scope: LayerScope,
  layer: number,
  x: Tensor,
  sequence: Sequence,
  form: AttentionForm,
): BlockResult {
  return scope.declare(() => {
    const normed = norm(scope.at("input_layernorm"), x); // [N, D]
    const attended =
      scope.config.attention === "mla"
        ? mla(scope, normed, sequence, form)
        : groupedAttention(scope, normed, sequence); // [N, D]
    const middle = add(x, attended); // [N, D]
    const { output, routing } = feedForward(
      scope.at("mlp"),
      layer,
      norm(scope.at("post_attention_layernorm"), middle),
    ); // [N, D]
    const residual = add(middle, output); // [N, D]
    scope.tap(`attn.layers.${layer}.output`, attended);
    scope.tap(`mlp.layers.${layer}.output`, output);
    scope.tap(`hidden.layers.${layer}`, residual);
    if (routing) {
      scope.tap(`router.layers.${layer}.scores`, routing.scores);
      scope.tap(`router.layers.${layer}.topk_indices`, routing.indices);
      scope.tap(`router.layers.${layer}.topk_weights`, routing.weights);
    }
    return { residual, routing };
  });
}

function feedForward(
  scope: LayerScope,
  layer: number,
  x: Tensor,
): { readonly output: Tensor; readonly routing: Routing | undefined } {
  if (isMoeLayer(scope.config, layer)) return moe(scope, layer, x);
  return { output: mlp(scope, x), routing: undefined };
}
