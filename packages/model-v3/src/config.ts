/**
 * The model's configuration, and what follows from it alone. In: nothing; `parse-config.ts` makes one of a
 * `config.json`, `presets.ts` has some. Names are Hugging Face's keys, camelCased; the last four have none
 * there and stand under `millrace` in the file.
 */

export const attentionKinds = ["mla", "mha", "gqa", "mqa"] as const;
/** `mla`, or one of the baselines it is compared with. */
export type AttentionKind = (typeof attentionKinds)[number];

export const modelTypes = ["deepseek_v3", "deepseek_v2"] as const;
export const scoringFuncs = ["sigmoid", "softmax"] as const;
export const topkMethods = ["noaux_tc", "greedy", "group_limited_greedy"] as const;
export const balances = ["loss_free", "auxiliary"] as const;
export const mtpInputs = ["final_norm", "residual"] as const;
export const mtpOrders = ["embedding_first", "hidden_first"] as const;
export const weightDTypes = ["float32", "bfloat16", "float16"] as const;

/** YaRN, the only rope scaling of these families. */
export interface YarnScaling {
  readonly type: "yarn";
  readonly factor: number;
  readonly originalMaxPositionEmbeddings: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly mscale: number;
  readonly mscaleAllDim: number;
}

/** FP8 weights with one scale per block. */
export interface QuantizationConfig {
  readonly quantMethod: "fp8";
  readonly fmt: "e4m3";
  readonly activationScheme: "dynamic";
  readonly weightBlockSize: readonly [number, number];
}

/** A checked configuration. Zero routed experts means that every layer is dense. */
export interface ModelConfig {
  readonly modelType: (typeof modelTypes)[number];
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly moeIntermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numNextnPredictLayers: number;
  readonly firstKDenseReplace: number;
  readonly moeLayerFreq: number;
  readonly nRoutedExperts: number;
  readonly nSharedExperts: number;
  readonly numExpertsPerTok: number;
  readonly nGroup: number;
  readonly topkGroup: number;
  readonly scoringFunc: (typeof scoringFuncs)[number];
  readonly topkMethod: (typeof topkMethods)[number];
  readonly routedScalingFactor: number;
  readonly normTopkProb: boolean;
  readonly auxLossAlpha: number;
  readonly seqAux: boolean;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  /** Null: one `q_proj` in place of `q_a_proj` and `q_b_proj`. */
  readonly qLoraRank: number | null;
  readonly kvLoraRank: number;
  readonly qkNopeHeadDim: number;
  readonly qkRopeHeadDim: number;
  readonly vHeadDim: number;
  readonly ropeTheta: number;
  readonly ropeScaling: YarnScaling | null;
  readonly maxPositionEmbeddings: number;
  readonly rmsNormEps: number;
  readonly initializerRange: number;
  readonly tieWordEmbeddings: boolean;
  readonly bosTokenId: number | null;
  readonly eosTokenId: number | null;
  readonly torchDtype: (typeof weightDTypes)[number];
  readonly quantizationConfig: QuantizationConfig | null;
  readonly attention: AttentionKind;
  /** How experts are kept equally loaded: by the router bias, or by a loss as in earlier MoEs. */
  readonly balance: (typeof balances)[number];
  /** Which hidden state feeds the first MTP module: after the final norm, or the residual stream. */
  readonly mtpInput: (typeof mtpInputs)[number];
  /** Which half of `eh_proj`'s input comes first. */
  readonly mtpOrder: (typeof mtpOrders)[number];
}

/** True where layer `layer` has routed experts. MTP modules follow the main layers' rule. */
export function isMoeLayer(config: ModelConfig, layer: number): boolean {
  return (
    config.nRoutedExperts > 0 &&
    layer >= config.firstKDenseReplace &&
    layer % config.moeLayerFreq === 0
  );
}

/** Key-value heads that are cached: one latent counts as none for MLA. */
export function keyValueHeads(
  config: ModelConfig,
  attention: AttentionKind = config.attention,
): number {
  switch (attention) {
    case "mla":
      return 0;
    case "mha":
      return config.numAttentionHeads;
    case "gqa":
      return config.numKeyValueHeads;
    case "mqa":
      return 1;
  }
}
