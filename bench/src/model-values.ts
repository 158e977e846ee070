/**
 * A model's parameters and tokens, the same for every contestant. In: a configuration. Out: values by name, made of the name;
 * matrices as far from zero as the configuration's initial values would be.
 */
import type { ModelConfig, ParameterSpec } from "@millrace/model-v3";
import { parameterTable } from "@millrace/model-v3";
import { integers, seedOf, uniform } from "./numbers.ts";

export const LEARNING_RATE = 1e-3;
/** Steps whose losses are compared. */
export const COMPARED_STEPS = 4;

/** First values of one parameter. */
export function parameterValues(
  config: ModelConfig,
  spec: ParameterSpec,
): Float32Array<ArrayBuffer> {
  const count = spec.shape.reduce((product, size) => product * size, 1);
  if (spec.role === "norm") return new Float32Array(count).fill(1);
  if (spec.role === "router_bias") return new Float32Array(count);
  return uniform(seedOf(spec.name), count, config.initializerRange * Math.sqrt(3));
}

/** Token ids [batch, tokens + 1]. */
export function tokenRows(
  config: ModelConfig,
  batch: number,
  tokens: number,
): Int32Array<ArrayBuffer> {
  return integers(seedOf("tokens"), batch * (tokens + 1), config.vocabSize);
}

/** Elements of all matrices that one token meets: its experts' only; of embeddings the head alone. */
export function activeElements(config: ModelConfig): number {
  const active = parameterTable(config)
    .filter(({ role }) => role === "projection" || role === "router" || role === "head")
    .map((spec) => {
      const count = spec.shape.reduce((product, size) => product * size, 1);
      return spec.experts === 0 ? count : (count / spec.experts) * config.numExpertsPerTok;
    });
  return active.reduce((sum, count) => sum + count, 0);
}

/** Operations of one token's forward pass that sees `visible` tokens on average: two per matrix element, and attention. */
export function forwardFlops(config: ModelConfig, visible: number): number {
  const { numHiddenLayers, numAttentionHeads, qkNopeHeadDim, qkRopeHeadDim, vHeadDim } = config;
  const queryWidth = config.attention === "mla" ? qkNopeHeadDim + qkRopeHeadDim : qkNopeHeadDim;
  const attention = numHiddenLayers * numAttentionHeads * (queryWidth + vHeadDim);
  return 2 * (activeElements(config) + attention * visible);
}

/** Operations of one training step by the model: forward once, backward twice, whatever is recomputed. */
export function trainingFlops(config: ModelConfig, batch: number, tokens: number): number {
  return 3 * batch * tokens * forwardFlops(config, (tokens + 1) / 2);
}
