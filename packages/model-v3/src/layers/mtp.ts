/**
 * A multi-token prediction module, stored as one more layer. In: the previous depth's hidden states [N, D] and the embedding
 * of the token after each of them [N, D]. Out: hidden states whose logits are those of the token after that. The published
 * weights take [embedding ; hidden], the report's formula has the halves the other way: `mtpOrder` says which.
 * Source: arXiv 2412.19437 §2.2.
 */
import { concatenate } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import { block } from "./block.ts";
import type { LayerScope } from "./layer-scope.ts";
import { linear } from "./linear.ts";
import type { AttentionForm } from "./mla.ts";
import type { Routing } from "./moe.ts";
import { norm } from "./norm.ts";
import type { Sequence } from "./sequence.ts";

export interface MtpResult {
  /** What `eh_proj` made of both halves, [N, D]. */
  readonly projected: Tensor;
  /** The residual stream after the module's block, [N, D]. */
  readonly residual: Tensor;
  /** After `shared_head.norm`, what the head takes, [N, D]. */
  readonly hidden: Tensor;
  readonly routing: readonly Routing[];
}

/** The module at layer `layer`; `scope` is `layers.<layer>`. */
export function mtpModule(
  scope: LayerScope,
  layer: number,
  input: { readonly previous: Tensor; readonly embedded: Tensor },
  sequence: Sequence,
  form: AttentionForm,
): MtpResult {
  return scope.declare(() => {
    const embedded = norm(scope.at("enorm"), input.embedded); // [N, D]
    const previous = norm(scope.at("hnorm"), input.previous); // [N, D]
    const halves =
      scope.config.mtpOrder === "embedding_first" ? [embedded, previous] : [previous, embedded];
    const projected = linear(scope.at("eh_proj"), concatenate(halves, 1)); // [N, D]
    const { residual, routing } = block(scope, layer, projected, sequence, form); // [N, D]
    const hidden = norm(scope.at("shared_head.norm"), residual); // [N, D]
    return { projected, residual, hidden, routing: routing ? [routing] : [] };
  });
}
