/**
 * Every parameter of a model. In: a ModelConfig. Out: name, shape, initial values and what may train it, in
 * the order of the layers. Names are the checkpoint's own; only routed experts differ: their matrices are
 * one stacked parameter with `*` in the place of the expert, whose slice e is the checkpoint's tensor e.
 */
import { isMoeLayer, keyValueHeads } from "./config.ts";
import type { ModelConfig } from "./config.ts";

/** How a parameter starts. */
export type Initializer =
  | { readonly kind: "normal"; readonly std: number }
  | { readonly kind: "ones" }
  | { readonly kind: "zeros" };

/** What a parameter is for; only `projection` matrices are quantised in FP8 checkpoints and training. */
export type ParameterRole = "embedding" | "head" | "norm" | "projection" | "router" | "router_bias";

export interface ParameterSpec {
  readonly name: string;
  /** `[out, in]` for matrices, `[experts, out, in]` for stacked ones. */
  readonly shape: readonly number[];
  readonly init: Initializer;
  /** False for the router bias, which the balancing rule moves and no gradient reaches. */
  readonly trainable: boolean;
  readonly role: ParameterRole;
  /** Index of the layer, MTP modules included; null outside the layers. */
  readonly layer: number | null;
  /** Number of stacked experts; 0 for a parameter that is one tensor of the checkpoint. */
  readonly experts: number;
}

/** A checkpoint tensor that repeats a parameter. */
export interface ParameterAlias {
  readonly name: string;
  readonly of: string;
}

interface Builder {
  add(name: string, role: ParameterRole, shape: readonly number[]): void;
  /** The three matrices of a feed-forward layer; `experts` stacks that many. */
  feedForward(name: string, width: number, experts?: number): void;
}

function builder(config: ModelConfig, layer: number | null, into: ParameterSpec[]): Builder {
  const prefix = layer === null ? "" : `model.layers.${layer}.`;
  const normal: Initializer = { kind: "normal", std: config.initializerRange };
  const push = (
    name: string,
    role: ParameterRole,
    shape: readonly number[],
    experts: number,
  ): void => {
    const init: Initializer =
      role === "norm" ? { kind: "ones" } : role === "router_bias" ? { kind: "zeros" } : normal;
    const trainable = role !== "router_bias";
    into.push({ name: `${prefix}${name}`, shape, init, trainable, role, layer, experts });
  };
  return {
    add: (name, role, shape) => push(name, role, shape, 0),
    feedForward(name, width, experts = 0) {
      const stack = experts > 0 ? [experts] : [];
      push(`${name}.gate_proj.weight`, "projection", [...stack, width, config.hiddenSize], experts);
      push(`${name}.up_proj.weight`, "projection", [...stack, width, config.hiddenSize], experts);
      push(`${name}.down_proj.weight`, "projection", [...stack, config.hiddenSize, width], experts);
    },
  };
}

/** All parameters: embedding, main layers, final norm, head, then MTP modules. */
export function parameterTable(config: ModelConfig): ParameterSpec[] {
  const { vocabSize, hiddenSize, numHiddenLayers, numNextnPredictLayers } = config;
  const table: ParameterSpec[] = [];
  const outside = builder(config, null, table);
  outside.add("model.embed_tokens.weight", "embedding", [vocabSize, hiddenSize]);
  for (let layer = 0; layer < numHiddenLayers; layer++) addBlock(config, layer, table);
  outside.add("model.norm.weight", "norm", [hiddenSize]);
  if (!config.tieWordEmbeddings) outside.add("lm_head.weight", "head", [vocabSize, hiddenSize]);
  for (let k = 0; k < numNextnPredictLayers; k++) {
    const layer = numHiddenLayers + k;
    const module = builder(config, layer, table);
    module.add("enorm.weight", "norm", [hiddenSize]);
    module.add("hnorm.weight", "norm", [hiddenSize]);
    module.add("eh_proj.weight", "projection", [hiddenSize, 2 * hiddenSize]);
    addBlock(config, layer, table);
    module.add("shared_head.norm.weight", "norm", [hiddenSize]);
  }
  return table;
}

function addBlock(config: ModelConfig, layer: number, table: ParameterSpec[]): void {
  const { hiddenSize, moeIntermediateSize, nRoutedExperts, nSharedExperts } = config;
  const block = builder(config, layer, table);
  block.add("input_layernorm.weight", "norm", [hiddenSize]);
  addAttention(config, block);
  block.add("post_attention_layernorm.weight", "norm", [hiddenSize]);
  if (!isMoeLayer(config, layer)) {
    block.feedForward("mlp", config.intermediateSize);
    return;
  }
  block.add("mlp.gate.weight", "router", [nRoutedExperts, hiddenSize]);
  if (config.topkMethod === "noaux_tc")
    block.add("mlp.gate.e_score_correction_bias", "router_bias", [nRoutedExperts]);
  block.feedForward("mlp.experts.*", moeIntermediateSize, nRoutedExperts);
  if (nSharedExperts > 0)
    block.feedForward("mlp.shared_experts", nSharedExperts * moeIntermediateSize);
}

function addAttention(config: ModelConfig, block: Builder): void {
  const { hiddenSize, numAttentionHeads: heads, qLoraRank, kvLoraRank, vHeadDim } = config;
  const { qkNopeHeadDim, qkRopeHeadDim } = config;
  const add = (name: string, shape: readonly number[]): void =>
    block.add(`self_attn.${name}.weight`, shape.length === 1 ? "norm" : "projection", shape);
  if (config.attention !== "mla") {
    // The baselines rotate the last qk_rope_head_dim of qk_nope_head_dim elements of a head.
    const groups = keyValueHeads(config);
    add("q_proj", [heads * qkNopeHeadDim, hiddenSize]);
    add("k_proj", [groups * qkNopeHeadDim, hiddenSize]);
    add("v_proj", [groups * vHeadDim, hiddenSize]);
    add("o_proj", [hiddenSize, heads * vHeadDim]);
    return;
  }
  const queries = heads * (qkNopeHeadDim + qkRopeHeadDim);
  if (qLoraRank === null) {
    add("q_proj", [queries, hiddenSize]);
  } else {
    add("q_a_proj", [qLoraRank, hiddenSize]);
    add("q_a_layernorm", [qLoraRank]);
    add("q_b_proj", [queries, qLoraRank]);
  }
  add("kv_a_proj_with_mqa", [kvLoraRank + qkRopeHeadDim, hiddenSize]);
  add("kv_a_layernorm", [kvLoraRank]);
  add("kv_b_proj", [heads * (qkNopeHeadDim + vHeadDim), kvLoraRank]);
  add("o_proj", [hiddenSize, heads * vHeadDim]);
}

/** Name of the checkpoint tensor that holds slice `expert` of a stacked parameter. */
export function expertName(spec: ParameterSpec, expert: number): string {
  return spec.name.replace("*", String(expert));
}

/** The checkpoint tensors that make up a parameter, in the order of its slices. */
export function checkpointNames(spec: ParameterSpec): string[] {
  if (spec.experts === 0) return [spec.name];
  return Array.from({ length: spec.experts }, (_, expert) => expertName(spec, expert));
}

/** Shape of each checkpoint tensor of a parameter. */
export function checkpointShape(spec: ParameterSpec): readonly number[] {
  return spec.experts === 0 ? spec.shape : spec.shape.slice(1);
}

/** Tensors that checkpoints repeat: the embedding and head of each MTP module, and a tied head. */
export function parameterAliases(config: ModelConfig): ParameterAlias[] {
  const head = config.tieWordEmbeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  const aliases: ParameterAlias[] = [];
  if (config.tieWordEmbeddings) aliases.push({ name: "lm_head.weight", of: head });
  for (let k = 0; k < config.numNextnPredictLayers; k++) {
    const layer = `model.layers.${config.numHiddenLayers + k}`;
    aliases.push({ name: `${layer}.embed_tokens.weight`, of: "model.embed_tokens.weight" });
    aliases.push({ name: `${layer}.shared_head.head.weight`, of: head });
  }
  return aliases;
}
