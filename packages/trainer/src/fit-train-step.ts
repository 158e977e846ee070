/**
 * A training step that fits into memory. In: a configuration, a backend and the most bytes that the step may take.
 * Out: the step with the fewest recomputed layers that fits. Plans, runs nothing. Source: arXiv 1604.06174.
 */
import { type Backend, DeviceError, type Graph, planProgram, stateBytes } from "@millrace/graph";
import type { ModelConfig } from "@millrace/model-v3";

import { declareTrainStep, type TrainStepOptions } from "./train-step.ts";

export interface FittedTrainStep {
  readonly graph: Graph;
  /** Layers whose insides the backward pass computes once more. */
  readonly recomputedLayers: number;
  /** Parameters, moments and everything a step holds at its peak. */
  readonly bytes: number;
  /** What of it is neither parameter nor moment: it lies in one piece. */
  readonly arenaBytes: number;
}

/** Throws DeviceError when the step does not fit with every layer recomputed either. */
export async function fitTrainStep(
  config: ModelConfig,
  options: Omit<TrainStepOptions, "recomputedLayers">,
  { capabilities, cache }: Pick<Backend, "capabilities" | "cache">,
  maxBytes: number = capabilities.maxBytes,
): Promise<FittedTrainStep> {
  const layers = config.numHiddenLayers + config.numNextnPredictLayers;
  const unlimited = {
    capabilities: { ...capabilities, maxBytes: Infinity, maxBlockBytes: Infinity },
    ...(cache && { cache }),
  };
  const attempt = async (recomputedLayers: number): Promise<FittedTrainStep> => {
    const graph = declareTrainStep(config, { ...options, recomputedLayers });
    const { program } = await planProgram(graph, unlimited);
    const { arenaBytes } = program;
    return { graph, recomputedLayers, bytes: arenaBytes + stateBytes(program), arenaBytes };
  };
  const { maxBlockBytes = Infinity } = capabilities;
  const fits = ({ bytes, arenaBytes }: FittedTrainStep): boolean =>
    bytes <= maxBytes && arenaBytes <= maxBlockBytes;
  const plain = await attempt(0);
  if (fits(plain)) return plain;
  let best = await attempt(layers);
  if (!fits(best))
    throw new DeviceError({
      what:
        best.bytes > maxBytes
          ? `a step takes ${best.bytes} bytes with every layer recomputed, ${maxBytes} are allowed${maxBytes === capabilities.maxBytes ? " by the device" : ""}`
          : `a step takes ${best.arenaBytes} bytes beside its states with every layer recomputed, ${maxBlockBytes} are allowed in one piece by the device`,
      where: "training",
      hint: "Use fewer or shorter sequences per step, or a smaller model.",
    });
  // Between one that is too few and one that is enough.
  let tooFew = 0;
  while (best.recomputedLayers - tooFew > 1) {
    const middle = await attempt(Math.floor((best.recomputedLayers + tooFew) / 2));
    if (fits(middle)) best = middle;
    else tooFew = middle.recomputedLayers;
  }
  return best;
}
