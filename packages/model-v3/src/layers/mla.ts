/**
 * Multi-head latent attention. In: x [N, D]. Out: [N, D]. Keys and values of all heads come from one latent c [r] per token,
 * which with one shared rotary key [dr] is all that a cache holds. Two equal forms: `naive` expands keys and values for
 * every visible token (long inputs, training), `absorbed` folds that expansion into query and output, so that scores meet
 * the cache itself (decoding). Source: arXiv 2405.04434 §2.1; checkpoint layout as in DeepSeek's code.
 */
import {
  attention,
  broadcastTo,
  concatenate,
  dotGeneral,
  latentAttention,
  multiplyDims,
  reshape,
  slice,
  transpose,
} from "@millrace/graph";
import type { Dim, Tensor } from "@millrace/graph";
import type { LayerScope } from "./layer-scope.ts";
import { linear } from "./linear.ts";
import { latentEps, norm } from "./norm.ts";
import { rotate, rotateShared, softmaxScale } from "./rope.ts";
import type { Sequence } from "./sequence.ts";
import { attentionOptions, visibleRows } from "./sequence.ts";

/** Which of the two equal forms. */
export const attentionForms = ["naive", "absorbed"] as const;
export type AttentionForm = (typeof attentionForms)[number];

/** Queries of a call, split. */
interface Queries {
  readonly nope: Tensor; // [B, T, H, dn]
  readonly rope: Tensor; // [B, T, H, dr], rotated
}

/** What is visible of earlier tokens and of these. */
interface Latents {
  readonly c: Tensor; // [B, S, r]
  readonly kRope: Tensor; // [B, S, dr], rotated
}

/** `scope` is the layer's (`layers.3`): the cache belongs to it, the parameters to its `self_attn`. */
export function mla(scope: LayerScope, x: Tensor, sequence: Sequence, form: AttentionForm): Tensor {
  const self = scope.at("self_attn");
  return self.declare(() => {
    const queries = queriesOf(self, x, sequence);
    const latents = latentsOf(scope, x, sequence);
    const heads =
      form === "naive"
        ? expanded(self, queries, latents, sequence)
        : absorbed(self, queries, latents, sequence); // [B, T, H, dv]
    const [batch, tokens, count, width] = heads.shape as [Dim, Dim, number, number];
    const joined = reshape(heads, [multiplyDims(batch, tokens), count * width]); // [N, H*dv]
    return linear(self.at("o_proj"), joined, { powerOfTwoInput: true }); // [N, D]
  });
}

function queriesOf(self: LayerScope, x: Tensor, { batch, tokens, tables }: Sequence): Queries {
  const { numAttentionHeads, qkNopeHeadDim: dn, qkRopeHeadDim: dr, qLoraRank } = self.config;
  const low = (): Tensor =>
    norm(self.at("q_a_layernorm"), linear(self.at("q_a_proj"), x), latentEps); // [N, rq]
  const q = qLoraRank === null ? linear(self.at("q_proj"), x) : linear(self.at("q_b_proj"), low()); // [N, H*(dn+dr)]
  const heads = reshape(q, [batch, tokens, numAttentionHeads, dn + dr]); // [B, T, H, dn+dr]
  return {
    nope: slice(heads, 3, 0, dn), // [B, T, H, dn]
    rope: rotate(slice(heads, 3, dn, dr), tables), // [B, T, H, dr]
  };
}

function latentsOf(scope: LayerScope, x: Tensor, sequence: Sequence): Latents {
  const self = scope.at("self_attn");
  const { kvLoraRank: r, qkRopeHeadDim: dr } = scope.config;
  const { batch, tokens, tables } = sequence;
  const joined = linear(self.at("kv_a_proj_with_mqa"), x); // [N, r+dr]
  const latent = norm(self.at("kv_a_layernorm"), slice(joined, 1, 0, r), latentEps); // [N, r]
  const c = reshape(latent, [batch, tokens, r]); // [B, T, r]
  const key = reshape(slice(joined, 1, r, dr), [batch, tokens, dr]); // [B, T, dr]
  const kRope = rotateShared(key, tables); // [B, T, dr]
  scope.tap(`mla.${scope.path}.c_kv`, c);
  scope.tap(`mla.${scope.path}.k_rope`, kRope);
  return {
    c: visibleRows(scope, sequence, "c_kv", c), // [B, S, r]
    kRope: visibleRows(scope, sequence, "k_rope", kRope), // [B, S, dr]
  };
}

/** Keys and values of every head, made of the latents: [B, T, H, dv]. */
function expanded(self: LayerScope, q: Queries, { c, kRope }: Latents, sequence: Sequence): Tensor {
  const { numAttentionHeads: heads, qkNopeHeadDim: dn, qkRopeHeadDim: dr } = self.config;
  const { vHeadDim: dv, kvLoraRank: r } = self.config;
  const [batch, visible] = c.shape as [Dim, Dim];
  const rows = reshape(c, [multiplyDims(batch, visible), r]); // [B*S, r]
  const kv = linear(self.at("kv_b_proj"), rows); // [B*S, H*(dn+dv)]
  const split = reshape(kv, [batch, visible, heads, dn + dv]); // [B, S, H, dn+dv]
  const shared = broadcastTo(kRope, [batch, visible, heads, dr], [0, 1, 3]); // [B, S, H, dr]
  const k = concatenate([slice(split, 3, 0, dn), shared], 3); // [B, S, H, dn+dr]
  const v = slice(split, 3, dn, dv); // [B, S, H, dv]
  const query = concatenate([q.nope, q.rope], 3); // [B, T, H, dn+dr]
  return attention(query, k, v, attentionOptions(sequence, softmaxScale(self.config))); // [B, T, H, dv]
}

/** The same without keys and values: `kv_b_proj`'s key half turns the query, its value half the result. */
function absorbed(self: LayerScope, q: Queries, { c, kRope }: Latents, sequence: Sequence): Tensor {
  const { numAttentionHeads: heads, qkNopeHeadDim: dn, vHeadDim: dv, kvLoraRank: r } = self.config;
  const weight = self.at("kv_b_proj").parameter("weight"); // [H*(dn+dv), r]
  const perHead = reshape(weight, [heads, dn + dv, r]); // [H, dn+dv, r]
  const wK = slice(perHead, 1, 0, dn); // [H, dn, r]
  const wV = slice(perHead, 1, dn, dv); // [H, dv, r]
  const byHead = { lhsBatch: [2], rhsBatch: [0], lhsContract: [3] };
  const turned = dotGeneral(q.nope, wK, { ...byHead, rhsContract: [1] }); // [H, B, T, r]
  const query = transpose(turned, [1, 2, 0, 3]); // [B, T, H, r]
  const options = attentionOptions(sequence, softmaxScale(self.config));
  const mixed = latentAttention(query, q.rope, c, kRope, options); // [B, T, H, r]
  const out = dotGeneral(mixed, wV, { ...byHead, rhsContract: [2] }); // [H, B, T, dv]
  return transpose(out, [1, 2, 0, 3]); // [B, T, H, dv]
}
