/**
 * Settings for those who name none. In: a configuration. Out: sizes and a learning rate that train it on one machine. Chosen
 * by measuring the two presets; for other models by width, since wider ones want smaller rates.
 */
import type { ModelConfig } from "@millrace/model-v3";

import type { TrainingSettings } from "./trainer.ts";

export type DefaultSettings = Required<
  Pick<
    TrainingSettings,
    "steps" | "batchSize" | "sequenceLength" | "learningRate" | "biasUpdateSpeed"
  >
>;

/**
 * `tiny` is for tests, so it learns steadily rather than fast: at several times this rate two runs that differ in one rounding
 * end several per cent apart, and no precision could be told from another. Short runs need a faster bias than the
 * published 0.001: it has hundreds of steps, not hundreds of thousands.
 */
const tiny: DefaultSettings = {
  steps: 300,
  batchSize: 16,
  sequenceLength: 64,
  learningRate: 5e-4,
  biasUpdateSpeed: 0.01,
};
const small: DefaultSettings = {
  steps: 1500,
  batchSize: 3,
  sequenceLength: 192,
  learningRate: 2.5e-3,
  biasUpdateSpeed: 0.01,
};

/** Defaults for `config`; `preset` names the one it came from. */
export function defaultSettings(config: ModelConfig, preset?: "tiny" | "small"): DefaultSettings {
  if (preset === "tiny") return tiny;
  if (preset === "small") return small;
  return {
    steps: 1000,
    batchSize: 4,
    sequenceLength: Math.min(256, config.maxPositionEmbeddings),
    learningRate: Math.min(4e-3, 0.25 / config.hiddenSize),
    biasUpdateSpeed: 0.001,
  };
}
