/**
 * Multi-head, grouped-query and multi-query attention: what MLA is compared with. In: x [N, D]. Out: [N, D]. They differ in
 * how many key-value heads there are: one per query head, one per group, one. The last `qk_rope_head_dim` elements of a
 * head of `qk_nope_head_dim` are rotated. The cache holds keys and values. Sources: arXiv 1706.03762, 2305.13245, 1911.02150.
 */
import { attention, concatenate, multiplyDims, reshape, slice } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import { keyValueHeads } from "../config.ts";
import type { LayerScope } from "./layer-scope.ts";
import { linear } from "./linear.ts";
import { rotate, softmaxScale } from "./rope.ts";
import type { Sequence } from "./sequence.ts";
import { attentionOptions, visibleRows } from "./sequence.ts";

/** `scope` is the layer's (`layers.3`): the cache belongs to it, the parameters to its `self_attn`. */
export function groupedAttention(scope: LayerScope, x: Tensor, sequence: Sequence): Tensor {
  const { numAttentionHeads: heads, qkNopeHeadDim: dk, vHeadDim: dv } = scope.config;
  const { batch, tokens } = sequence;
  const groups = keyValueHeads(scope.config);
  const self = scope.at("self_attn");
  return self.declare(() => {
    const q = reshape(linear(self.at("q_proj"), x), [batch, tokens, heads, dk]); // [B, T, H, dk]
    const k = reshape(linear(self.at("k_proj"), x), [batch, tokens, groups, dk]); // [B, T, G, dk]
    const v = reshape(linear(self.at("v_proj"), x), [batch, tokens, groups, dv]); // [B, T, G, dv]
    const out = attention(
      rotateEnd(self, q, sequence), // [B, T, H, dk]
      visibleRows(scope, sequence, "k", rotateEnd(self, k, sequence)), // [B, S, G, dk]
      visibleRows(scope, sequence, "v", v), // [B, S, G, dv]
      attentionOptions(sequence, softmaxScale(self.config)),
    ); // [B, T, H, dv]
    const joined = reshape(out, [multiplyDims(batch, tokens), heads * dv]); // [N, H*dv]
    return linear(self.at("o_proj"), joined, { powerOfTwoInput: true }); // [N, D]
  });
}

/** Rotates the end of each head of x [B, T, H, dk]. */
function rotateEnd(self: LayerScope, x: Tensor, { tables }: Sequence): Tensor {
  const { qkNopeHeadDim: dk, qkRopeHeadDim: dr } = self.config;
  const turned = rotate(slice(x, 3, dk - dr, dr), tables); // [B, T, H, dr]
  return dk === dr ? turned : concatenate([slice(x, 3, 0, dk - dr), turned], 3); // [B, T, H, dk]
}
