/**
 * Token embedding and output head. In: ids i32 [B, T], or hidden states [N, D]. Out: [N, D], or logits [N, V]. Both are one
 * parameter each for the main model and all its MTP modules, and one for everything where the head is tied. f32 always.
 */
import { convert, multiplyDims, reshape, take } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import type { LayerScope } from "./layer-scope.ts";
import { expectTokenIds } from "./sequence.ts";
import { timesWeight } from "./weight.ts";
import type { Weight } from "./weight.ts";

/** Rows of the embedding for ids i32 [B, T]: [N, D] with N = B·T. An id outside the vocabulary reads zeros. */
export function embed(scope: LayerScope, ids: Tensor): Tensor {
  const [batch, tokens] = ids.shape; // ids [B, T]
  return scope.declare(() => {
    expectTokenIds(ids);
    const flat = reshape(ids, [multiplyDims(batch!, tokens!)]); // [N]
    return convert(take(scope.parameter("weight"), flat, 0), "f32"); // [V, D] at [N]: [N, D]
  });
}

/** Logits [N, V] of hidden states [N, D] over the head's weight [V, D]. */
export function head(scope: LayerScope, weight: Weight, hidden: Tensor): Tensor {
  return scope.declare(() => timesWeight(hidden, weight)); // [N, V]
}
