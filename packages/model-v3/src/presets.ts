/**
 * Named configurations. In: a name. Out: a ModelConfig: `tiny` for tests, `small` for the quickstart (both
 * over the byte tokenizer), and the published models, whose numbers are those of their config.json.
 * Source: the tables in the DeepSeek-V3 and V2 reports.
 */
import { AttributeError } from "@millrace/graph";
import type { ModelConfig, YarnScaling } from "./config.ts";
import { byteTokenizer } from "./tokenizer.ts";

export const presetNames = ["tiny", "small", "v3-671b", "v2-lite", "v2"] as const;
export type PresetName = (typeof presetNames)[number];

function yarn(mscale: number): YarnScaling {
  return {
    type: "yarn",
    factor: 40,
    originalMaxPositionEmbeddings: 4096,
    betaFast: 32,
    betaSlow: 1,
    mscale,
    mscaleAllDim: mscale,
  };
}

function v3(): ModelConfig {
  return {
    modelType: "deepseek_v3",
    vocabSize: 129280,
    hiddenSize: 7168,
    intermediateSize: 18432,
    moeIntermediateSize: 2048,
    numHiddenLayers: 61,
    numNextnPredictLayers: 1,
    firstKDenseReplace: 3,
    moeLayerFreq: 1,
    nRoutedExperts: 256,
    nSharedExperts: 1,
    numExpertsPerTok: 8,
    nGroup: 8,
    topkGroup: 4,
    scoringFunc: "sigmoid",
    topkMethod: "noaux_tc",
    routedScalingFactor: 2.5,
    normTopkProb: true,
    auxLossAlpha: 0.0001,
    seqAux: true,
    numAttentionHeads: 128,
    numKeyValueHeads: 128,
    qLoraRank: 1536,
    kvLoraRank: 512,
    qkNopeHeadDim: 128,
    qkRopeHeadDim: 64,
    vHeadDim: 128,
    ropeTheta: 10000,
    ropeScaling: yarn(1),
    maxPositionEmbeddings: 163840,
    rmsNormEps: 1e-6,
    initializerRange: 0.02,
    tieWordEmbeddings: false,
    bosTokenId: 0,
    eosTokenId: 1,
    torchDtype: "bfloat16",
    quantizationConfig: {
      quantMethod: "fp8",
      fmt: "e4m3",
      activationScheme: "dynamic",
      weightBlockSize: [128, 128],
    },
    attention: "mla",
    balance: "loss_free",
    mtpInput: "final_norm",
    mtpOrder: "embedding_first",
  };
}

function v2(): ModelConfig {
  return {
    ...v3(),
    modelType: "deepseek_v2",
    vocabSize: 102400,
    hiddenSize: 5120,
    intermediateSize: 12288,
    moeIntermediateSize: 1536,
    numHiddenLayers: 60,
    numNextnPredictLayers: 0,
    firstKDenseReplace: 1,
    nRoutedExperts: 160,
    nSharedExperts: 2,
    numExpertsPerTok: 6,
    nGroup: 8,
    topkGroup: 3,
    scoringFunc: "softmax",
    topkMethod: "group_limited_greedy",
    routedScalingFactor: 16,
    normTopkProb: false,
    auxLossAlpha: 0.001,
    ropeScaling: yarn(0.707),
    bosTokenId: 100000,
    eosTokenId: 100001,
    quantizationConfig: null,
    balance: "auxiliary",
  };
}

function v2Lite(): ModelConfig {
  return {
    ...v2(),
    hiddenSize: 2048,
    intermediateSize: 10944,
    moeIntermediateSize: 1408,
    numHiddenLayers: 27,
    nRoutedExperts: 64,
    nGroup: 1,
    topkGroup: 1,
    topkMethod: "greedy",
    routedScalingFactor: 1,
    numAttentionHeads: 16,
    numKeyValueHeads: 16,
    qLoraRank: null,
  };
}

/** What the two presets that train here share: bytes as tokens, f32 weights, no YaRN. */
function trainable(): ModelConfig {
  const { vocabSize, bosTokenId, eosTokenId } = byteTokenizer();
  return {
    ...v3(),
    vocabSize,
    bosTokenId,
    eosTokenId,
    ropeScaling: null,
    torchDtype: "float32",
    quantizationConfig: null,
    firstKDenseReplace: 1,
  };
}

function tiny(): ModelConfig {
  return {
    ...trainable(),
    hiddenSize: 64,
    intermediateSize: 128,
    moeIntermediateSize: 32,
    numHiddenLayers: 2,
    nRoutedExperts: 8,
    numExpertsPerTok: 2,
    nGroup: 4,
    topkGroup: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
    qLoraRank: 48,
    kvLoraRank: 32,
    qkNopeHeadDim: 16,
    qkRopeHeadDim: 8,
    vHeadDim: 16,
    maxPositionEmbeddings: 512,
    initializerRange: 0.08,
  };
}

/**
 * Chosen by what reaches the lowest held-out loss in three minutes on one core: narrower than one would think, since more
 * text then goes by. Narrow models want larger initial weights than 0.02.
 */
function small(): ModelConfig {
  return {
    ...trainable(),
    hiddenSize: 96,
    intermediateSize: 256,
    moeIntermediateSize: 48,
    numHiddenLayers: 4,
    nRoutedExperts: 16,
    numExpertsPerTok: 4,
    nGroup: 4,
    topkGroup: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
    qLoraRank: 64,
    kvLoraRank: 32,
    qkNopeHeadDim: 16,
    qkRopeHeadDim: 8,
    vHeadDim: 16,
    maxPositionEmbeddings: 1024,
    initializerRange: 0.07,
  };
}

const presets: Record<PresetName, () => ModelConfig> = {
  tiny,
  small,
  "v3-671b": v3,
  "v2-lite": v2Lite,
  v2,
};

/** The configuration of that name. */
export function preset(name: string): ModelConfig {
  if (Object.hasOwn(presets, name)) return presets[name as PresetName]();
  throw new AttributeError({
    what: `there is no preset "${name}"`,
    where: "preset",
    hint: `Choose one of ${presetNames.join(", ")}.`,
  });
}
