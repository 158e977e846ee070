/**
 * What a configuration costs. In: a ModelConfig. Out: parameters, cache per token, FLOPs per token. Pure
 * arithmetic over the parameter table; nothing is allocated.
 */
import { scaleShape } from "./checkpoint/dequantize.ts";
import type { AttentionKind, ModelConfig } from "./config.ts";
import { attentionKinds, keyValueHeads } from "./config.ts";
import type { ParameterSpec } from "./parameters.ts";
import { checkpointShape, parameterTable } from "./parameters.ts";

export interface ParameterCounts {
  /** The main model, without MTP modules. */
  readonly total: number;
  /** What one token passes: of routed experts num_experts_per_tok, embedding and head in full. */
  readonly activated: number;
  /**
   * Values of the checkpoint as distributed: with MTP modules, their copies of embedding and head, and the
   * block scales of FP8 weights.
   */
  readonly totalWithMtp: number;
  /** `activated`, with MTP modules; embedding and head are shared, so they count once. */
  readonly activatedWithMtp: number;
}

export interface ModelCosts {
  readonly parameters: ParameterCounts;
  /** BF16, all main layers: this model's own sizes under each kind of attention. */
  readonly cacheBytesPerToken: Readonly<Record<AttentionKind, number>>;
  /** Of one decoded token: two per activated matrix element, and attention over `contextLength`. */
  readonly flopsPerToken: number;
}

function elements(spec: ParameterSpec): number {
  return spec.shape.reduce((product, size) => product * size, 1);
}

function activeElements(spec: ParameterSpec, config: ModelConfig): number {
  return spec.experts === 0
    ? elements(spec)
    : (elements(spec) / spec.experts) * config.numExpertsPerTok;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** Parameter counts of a configuration. */
export function countParameters(config: ModelConfig): ParameterCounts {
  const table = parameterTable(config);
  const isMain = (spec: ParameterSpec): boolean =>
    spec.layer === null || spec.layer < config.numHiddenLayers;
  const main = table.filter(isMain);
  const modules = table.filter((spec) => !isMain(spec));
  const total = sum(main.map(elements));
  const activated = sum(main.map((spec) => activeElements(spec, config)));
  const copies = 2 * config.vocabSize * config.hiddenSize * config.numNextnPredictLayers;
  return {
    total,
    activated,
    totalWithMtp: total + sum(modules.map(elements)) + copies + blockScales(config, table),
    activatedWithMtp: activated + sum(modules.map((spec) => activeElements(spec, config))),
  };
}

/** Block scales beside the FP8 weights of a quantised checkpoint. */
function blockScales(config: ModelConfig, table: readonly ParameterSpec[]): number {
  const block = config.quantizationConfig?.weightBlockSize;
  if (!block) return 0;
  const quantized = table.filter(({ role }) => role === "projection");
  return sum(
    quantized.map((spec) => {
      const [rows, columns] = scaleShape(checkpointShape(spec), block);
      return rows * columns * Math.max(spec.experts, 1);
    }),
  );
}

/** Key-value heads of the GQA that MLA is compared with: eight, or the next smaller divisor. */
function comparedGroups(config: ModelConfig): number {
  if (config.attention === "gqa") return keyValueHeads(config);
  let groups = Math.min(8, config.numAttentionHeads);
  while (config.numAttentionHeads % groups !== 0) groups--;
  return groups;
}

/** Cached values per token and layer under one kind of attention. */
export function cachedValues(config: ModelConfig, attention: AttentionKind): number {
  if (attention === "mla") return config.kvLoraRank + config.qkRopeHeadDim;
  const groups = attention === "gqa" ? comparedGroups(config) : keyValueHeads(config, attention);
  return groups * (config.qkNopeHeadDim + config.vHeadDim);
}

/** Bytes of cache per token over all main layers, two bytes a value. */
export function cacheBytesPerToken(config: ModelConfig): Record<AttentionKind, number> {
  return Object.fromEntries(
    attentionKinds.map((kind) => [kind, 2 * config.numHiddenLayers * cachedValues(config, kind)]),
  ) as Record<AttentionKind, number>;
}

/**
 * FLOPs of one token through the main model: two per element of every matrix it passes (the embedding is
 * a lookup and costs none), and scores and weighted sums over `contextLength` earlier tokens.
 */
export function flopsPerToken(config: ModelConfig, contextLength = 0): number {
  const { numAttentionHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config;
  const matrices = parameterTable(config).filter(
    ({ layer, role }) =>
      (layer === null || layer < config.numHiddenLayers) &&
      role !== "norm" &&
      role !== "router_bias" &&
      role !== "embedding",
  );
  const tiedHead = config.tieWordEmbeddings ? config.vocabSize * config.hiddenSize : 0;
  const products = sum(matrices.map((spec) => activeElements(spec, config))) + tiedHead;
  const queryWidth = config.attention === "mla" ? qkNopeHeadDim + qkRopeHeadDim : qkNopeHeadDim;
  const attention = config.numHiddenLayers * numAttentionHeads * (queryWidth + vHeadDim);
  return 2 * (products + attention * contextLength);
}

/** Everything `millrace inspect` says of a configuration, but for the plan's memory. */
export function inspectConfig(config: ModelConfig): ModelCosts {
  return {
    parameters: countParameters(config),
    cacheBytesPerToken: cacheBytesPerToken(config),
    flopsPerToken: flopsPerToken(config),
  };
}
