/**
 * The models that the page offers. In: a name. Out: a configuration over bytes, and the batches it is trained with. All have
 * latent attention, routed experts and an MTP module; they differ in width and depth only.
 */
import { countParameters, type ModelConfig, preset } from "@millrace/model-v3";
import { defaultSettings, formatCount } from "@millrace/trainer";

export interface ModelSize {
  readonly config: ModelConfig;
  /** Sequences per step. */
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly learningRate: number;
  readonly biasUpdateSpeed: number;
}

export const sizeNames = ["minimal", "tiny", "small"] as const;
export type SizeName = (typeof sizeNames)[number];

/** One layer: few kernels, for processors that play the graphics card, where compiling a kernel takes longer than running it. */
function minimal(): ModelSize {
  const config: ModelConfig = {
    ...preset("tiny"),
    hiddenSize: 32,
    moeIntermediateSize: 24,
    numHiddenLayers: 1,
    firstKDenseReplace: 0,
    nRoutedExperts: 4,
    numExpertsPerTok: 2,
    nGroup: 2,
    topkGroup: 1,
    numAttentionHeads: 2,
    numKeyValueHeads: 2,
    qLoraRank: null,
    kvLoraRank: 16,
    qkNopeHeadDim: 8,
    qkRopeHeadDim: 8,
    vHeadDim: 16,
    maxPositionEmbeddings: 192,
    initializerRange: 0.1,
  };
  return {
    config,
    batchSize: 1,
    sequenceLength: 64,
    learningRate: 5e-3,
    biasUpdateSpeed: 0.01,
  };
}

function presetSize(name: "tiny" | "small"): ModelSize {
  const config = preset(name);
  const {
    batchSize,
    sequenceLength,
    learningRate,
    biasUpdateSpeed = 0.01,
  } = defaultSettings(config, name);
  return { config, batchSize, sequenceLength, learningRate, biasUpdateSpeed };
}

/** The model of that name. */
export function modelSize(name: SizeName): ModelSize {
  if (name === "minimal") return minimal();
  // The preset's own settings are for tests, which want steadiness more than speed. Past the length that it is trained with, a
  // model writes badly.
  return name === "tiny"
    ? { ...presetSize(name), batchSize: 4, sequenceLength: 160, learningRate: 3e-3 }
    : presetSize(name);
}

/** Its name with what it is made of. */
export function describeSize(name: SizeName): string {
  const { config } = modelSize(name);
  const layers = config.numHiddenLayers;
  const parameters = formatCount(countParameters(config).totalWithMtp);
  return `${name}: ${layers} ${layers === 1 ? "layer" : "layers"}, ${parameters}`;
}
