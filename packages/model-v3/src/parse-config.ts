/**
 * Hugging Face's `config.json` in both directions. In: the file of a V3 or V2 checkpoint, untrusted. Out: a
 * ModelConfig whose sizes fit each other, or a CheckpointError that names the key and the remedy. Keys that
 * a file leaves out get the family's default, except the sizes of the model: those are required.
 * Source: the config.json files published with DeepSeek-V3, V2 and V2-Lite.
 */
import { checkSizes } from "./config-sizes.ts";
import { configReader } from "./config-reader.ts";
import type { ConfigReader } from "./config-reader.ts";
import {
  attentionKinds,
  balances,
  modelTypes,
  mtpInputs,
  mtpOrders,
  scoringFuncs,
  topkMethods,
  weightDTypes,
} from "./config.ts";
import type { ModelConfig, QuantizationConfig, YarnScaling } from "./config.ts";
import { shownValue } from "./shown-value.ts";

const size = { min: 1, max: 2 ** 31 - 1 };
const layers = { min: 1, max: 256 };
const experts = { min: 0, max: 4096 };

/** Checks a parsed `config.json`; `where` names its file in messages. */
export function parseConfig(json: unknown, where: string): ModelConfig {
  const read = configReader(json, where);
  const modelType = parseModelType(read);
  const isV3 = modelType === "deepseek_v3";
  rejectUnsupported(read);
  const own = read.nested("millrace") ?? configReader({}, where, "millrace");
  const rope = read.has("rope_scaling") ? undefined : read.nested("rope_parameters");
  const numAttentionHeads = read.integer("num_attention_heads", size);
  const nRoutedExperts = read.integer("n_routed_experts", experts, 0);
  const topkMethod = read.choice("topk_method", topkMethods, isV3 ? "noaux_tc" : "greedy");
  const moe = nRoutedExperts > 0;
  const config: ModelConfig = {
    modelType,
    vocabSize: read.integer("vocab_size", size),
    hiddenSize: read.integer("hidden_size", size),
    intermediateSize: read.integer("intermediate_size", size),
    moeIntermediateSize: read.integer("moe_intermediate_size", size, moe ? undefined : 1),
    numHiddenLayers: read.integer("num_hidden_layers", layers),
    numNextnPredictLayers: read.integer("num_nextn_predict_layers", { min: 0, max: 64 }, 0),
    firstKDenseReplace: read.integer("first_k_dense_replace", { ...layers, min: 0 }, 0),
    moeLayerFreq: read.integer("moe_layer_freq", layers, 1),
    nRoutedExperts,
    nSharedExperts: read.integer("n_shared_experts", experts, 0),
    numExpertsPerTok: read.integer("num_experts_per_tok", experts, moe ? undefined : 0),
    nGroup: read.integer("n_group", { ...experts, min: 1 }, 1),
    topkGroup: read.integer("topk_group", { ...experts, min: 1 }, 1),
    scoringFunc: read.choice("scoring_func", scoringFuncs, isV3 ? "sigmoid" : "softmax"),
    topkMethod,
    routedScalingFactor: read.number("routed_scaling_factor", 0, isV3 ? 2.5 : 1),
    normTopkProb: read.boolean("norm_topk_prob", isV3),
    auxLossAlpha: read.number("aux_loss_alpha", 0, isV3 ? 0.0001 : 0.001),
    seqAux: read.boolean("seq_aux", true),
    numAttentionHeads,
    numKeyValueHeads: read.integer("num_key_value_heads", size, numAttentionHeads),
    qLoraRank: read.has("q_lora_rank") ? read.integer("q_lora_rank", size) : null,
    kvLoraRank: read.integer("kv_lora_rank", size),
    qkNopeHeadDim: read.integer("qk_nope_head_dim", size),
    qkRopeHeadDim: read.integer("qk_rope_head_dim", size),
    vHeadDim: read.integer("v_head_dim", size),
    ropeTheta: (rope?.has("rope_theta") ? rope : read).number("rope_theta", 1, 10000),
    ropeScaling: parseRopeScaling(read, rope ?? read.nested("rope_scaling")),
    maxPositionEmbeddings: read.integer("max_position_embeddings", size, isV3 ? 4096 : 2048),
    rmsNormEps: read.number("rms_norm_eps", 0, 1e-6),
    initializerRange: read.number("initializer_range", 0, 0.02),
    tieWordEmbeddings: read.boolean("tie_word_embeddings", false),
    bosTokenId: parseTokenId(read, "bos_token_id"),
    eosTokenId: parseTokenId(read, "eos_token_id"),
    torchDtype: read.choice(read.has("dtype") ? "dtype" : "torch_dtype", weightDTypes, "bfloat16"),
    quantizationConfig: parseQuantization(read),
    attention: own.choice("attention", attentionKinds, "mla"),
    balance: own.choice("balance", balances, topkMethod === "noaux_tc" ? "loss_free" : "auxiliary"),
    mtpInput: own.choice("mtp_input", mtpInputs, "final_norm"),
    mtpOrder: own.choice("mtp_order", mtpOrders, "embedding_first"),
  };
  checkSizes(config, where);
  return config;
}

function parseModelType(read: ConfigReader): ModelConfig["modelType"] {
  if (read.has("model_type")) return read.choice("model_type", modelTypes, "deepseek_v3");
  const architectures = read.raw("architectures");
  for (const name of Array.isArray(architectures) ? (architectures as unknown[]) : []) {
    if (name === "DeepseekV3ForCausalLM") return "deepseek_v3";
    if (name === "DeepseekV2ForCausalLM") return "deepseek_v2";
  }
  throw read.error("model_type", "is missing", 'Set it to "deepseek_v3" or "deepseek_v2".');
}

/** Options that would change the result and that these layers do not have. */
function rejectUnsupported(read: ConfigReader): void {
  read.choice("hidden_act", ["silu"], "silu");
  if (read.boolean("attention_bias", false))
    throw read.error("attention_bias", "is true", "Set it to false; no layer here has biases.");
  if (!read.boolean("rope_interleave", true))
    throw read.error(
      "rope_interleave",
      "is false",
      "Permute the rotary rows of the weights into pairs (2i, 2i+1) and set it to true.",
    );
}

/** An id, null, or the first of a list (further end tokens belong to generation_config.json). */
function parseTokenId(read: ConfigReader, key: string): number | null {
  const raw = read.raw(key);
  const first: unknown = Array.isArray(raw) ? raw[0] : raw;
  if (first === undefined || first === null) return null;
  return configReader({ [key]: first }, read.where).integer(key, { min: 0, max: size.max });
}

function parseRopeScaling(read: ConfigReader, rope: ConfigReader | undefined): YarnScaling | null {
  if (!rope) return null;
  const typeKey = rope.has("type") ? "type" : "rope_type";
  const type = rope.choice(typeKey, ["yarn", "default"], "default");
  if (type === "default") {
    if (rope.has("factor"))
      throw rope.error(typeKey, "is missing", 'Set it to "yarn", or remove factor.');
    return null;
  }
  const longest = read.integer("max_position_embeddings", size, 4096);
  const scaling: YarnScaling = {
    type,
    factor: rope.number("factor", 1),
    originalMaxPositionEmbeddings: rope.integer("original_max_position_embeddings", size, longest),
    betaFast: rope.number("beta_fast", 0, 32),
    betaSlow: rope.number("beta_slow", 0, 1),
    mscale: rope.number("mscale", 0, 1),
    mscaleAllDim: rope.number("mscale_all_dim", 0, 0),
  };
  if (scaling.betaSlow <= 0 || scaling.betaFast <= scaling.betaSlow)
    throw rope.error(
      "beta_fast",
      `is ${scaling.betaFast} and beta_slow ${scaling.betaSlow}`,
      "Both must be positive, beta_fast the larger; 32 and 1 are usual.",
    );
  return scaling;
}

function parseQuantization(read: ConfigReader): QuantizationConfig | null {
  const quantization = read.nested("quantization_config");
  if (!quantization) return null;
  const block = quantization.raw("weight_block_size") ?? [128, 128];
  const isBlock =
    Array.isArray(block) &&
    block.length === 2 &&
    block.every((side) => Number.isSafeInteger(side) && side > 0 && side <= size.max);
  if (!isBlock)
    throw quantization.error(
      "weight_block_size",
      `is ${shownValue(block)}`,
      "Set it to two positive integers, usually [128, 128].",
    );
  return {
    quantMethod: quantization.choice("quant_method", ["fp8"], "fp8"),
    fmt: quantization.choice("fmt", ["e4m3"], "e4m3"),
    activationScheme: quantization.choice("activation_scheme", ["dynamic"], "dynamic"),
    weightBlockSize: block as [number, number],
  };
}

function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function snakeKeys(value: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [snakeCase(key), item]));
}

/** The `config.json` of a configuration; `parseConfig` reads it back to the same. */
export function configToJson(config: ModelConfig): Record<string, unknown> {
  const { attention, balance, mtpInput, mtpOrder, ropeScaling, quantizationConfig, ...plain } =
    config;
  const version = config.modelType === "deepseek_v3" ? "V3" : "V2";
  const json: Record<string, unknown> = {
    architectures: [`Deepseek${version}ForCausalLM`],
    attention_bias: false,
    hidden_act: "silu",
    ...snakeKeys(plain),
    rope_scaling: ropeScaling && snakeKeys(ropeScaling),
    millrace: snakeKeys({ attention, balance, mtpInput, mtpOrder }),
  };
  if (config.nRoutedExperts === 0) json["n_routed_experts"] = null;
  if (quantizationConfig) json["quantization_config"] = snakeKeys(quantizationConfig);
  return json;
}
