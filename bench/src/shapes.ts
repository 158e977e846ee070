/**
 * The models that are trained and run here. In: whether to be quick. Out: configurations: the V3 small shape, a dense model of
 * equal work for those that have no experts, and a dense model whose weights take a billion bytes.
 */
import type { ModelConfig } from "@millrace/model-v3";
import { preset } from "@millrace/model-v3";

/** Without YaRN, MTP modules and groups of experts: what every contestant can follow. */
function plain(): ModelConfig {
  return { ...preset("small"), numNextnPredictLayers: 0, maxPositionEmbeddings: 4096 };
}

/** Hidden 256, 4 layers, 16 experts of which 4, one shared: 7.5 million parameters. */
export function v3Small(): ModelConfig {
  return {
    ...plain(),
    hiddenSize: 256,
    intermediateSize: 512,
    moeIntermediateSize: 128,
    numHiddenLayers: 4,
    firstKDenseReplace: 0,
    nRoutedExperts: 16,
    numExpertsPerTok: 4,
    nGroup: 4,
    topkGroup: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 4,
    qLoraRank: 128,
    kvLoraRank: 64,
    qkNopeHeadDim: 32,
    qkRopeHeadDim: 16,
    vHeadDim: 32,
    initializerRange: 0.04,
  };
}

/** Multi-head attention and feed-forward layers only, with the work of `v3Small` per token. */
export function denseSmall(): ModelConfig {
  return {
    ...v3Small(),
    attention: "mha",
    nRoutedExperts: 0,
    nSharedExperts: 0,
    topkMethod: "greedy",
    qkNopeHeadDim: 64,
    qkRopeHeadDim: 64,
    vHeadDim: 64,
    intermediateSize: 448,
  };
}

/** A Llama in our names: rotary over the whole head, dense layers, no bias anywhere. */
export function denseLarge(quick: boolean): ModelConfig {
  const sizes = quick
    ? { hiddenSize: 256, intermediateSize: 704, numHiddenLayers: 2, vocabSize: 512, heads: 4 }
    : { hiddenSize: 2048, intermediateSize: 5632, numHiddenLayers: 4, vocabSize: 16384, heads: 32 };
  const { heads, ...rest } = sizes;
  const width = rest.hiddenSize / heads;
  return {
    ...denseSmall(),
    ...rest,
    numAttentionHeads: heads,
    numKeyValueHeads: heads,
    qkNopeHeadDim: width,
    qkRopeHeadDim: width,
    vHeadDim: width,
    initializerRange: 0.02,
  };
}

/** For the compiler's time only: nothing of it runs. */
export function tinyLayers(): ModelConfig {
  return { ...preset("tiny"), numNextnPredictLayers: 0 };
}
