/**
 * What a model's programs take. In: a configuration. Out: for each graph the bytes of its arena and of its state, from the plan
 * itself: the numbers a backend then allocates. Nothing is allocated here.
 */
import { buildProgram, dtypes, stateBytes } from "@millrace/graph";
import type { ModelConfig, WeightFormat } from "@millrace/model-v3";

import { type GraphName, graphNames } from "./graph-names.ts";
import { declareModelGraph } from "./model-graphs.ts";

export interface PlanMemory {
  /** Inputs, outputs and temporaries of one run. */
  readonly arenaBytes: number;
  /** Parameters, and caches or moments; training is in f32. */
  readonly stateBytes: number;
  /** What the plan was made for, in words. */
  readonly sizes: string;
}

/** Larger than any device, so that a plan is made for every model. */
const unlimited = {
  dtypes,
  alignment: 64,
  maxBytes: Infinity,
  maxBuffersPerKernel: 64,
  arrayBytes: 0,
};

export function planMemory(
  config: ModelConfig,
  weights: WeightFormat = "f32",
): Record<GraphName, PlanMemory> {
  const entries = graphNames.map((name) => {
    const { graph, sizes } = declareModelGraph(config, name, undefined, weights);
    const { program } = buildProgram(graph, unlimited);
    const { arenaBytes } = program;
    return [name, { arenaBytes, stateBytes: stateBytes(program), sizes }] as const;
  });
  return Object.fromEntries(entries) as Record<GraphName, PlanMemory>;
}
