/**
 * The graphs a model is used through, by name. In: a configuration and a graph's name. Out: the graph as training or generation
 * would declare it, at the sizes that are given beside it.
 */
import type { Graph } from "@millrace/graph";
import {
  declareDecode,
  declarePrefill,
  formatsFor,
  type ModelConfig,
  type WeightFormat,
} from "@millrace/model-v3";
import { declareTrainStep, defaultSettings } from "@millrace/trainer";

import type { GraphName } from "./graph-names.ts";

/** Tokens of one prefill call, and of the cache, at most: what `generate` uses unless the model's context is shorter. */
const prefillTokens = 512;
const cacheLength = 4096;

export interface ModelGraph {
  readonly graph: Graph;
  /** The sizes it was declared for, in words. */
  readonly sizes: string;
}

export function declareModelGraph(
  config: ModelConfig,
  name: GraphName,
  preset?: "tiny" | "small",
  format: WeightFormat = "f32",
): ModelGraph {
  const weights = formatsFor(config, format);
  const maxLength = Math.min(cacheLength, config.maxPositionEmbeddings);
  const maxTokens = Math.min(prefillTokens, maxLength);
  switch (name) {
    case "train": {
      const { batchSize: batch, sequenceLength } = defaultSettings(config, preset);
      const graph = declareTrainStep(config, { batch, sequenceLength });
      return { graph, sizes: `${batch} sequences of ${sequenceLength} tokens` };
    }
    case "prefill": {
      const graph = declarePrefill(config, { batch: 1, maxTokens, maxLength, weights });
      return { graph, sizes: `up to ${maxTokens} tokens, ${maxLength} cached` };
    }
    case "decode": {
      const graph = declareDecode(config, { batch: 1, maxTokens: 1, maxLength, weights });
      return { graph, sizes: `1 token, ${maxLength} cached` };
    }
  }
  name satisfies never;
}
