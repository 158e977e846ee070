/**
 * What a model's programs take. In: a configuration and what a device can do. Out: for each graph the bytes of its arena and of its
 * state, from the plan itself: the numbers a backend then allocates. Nothing is allocated here.
 */
import { buildProgram, type Capabilities, stateBytes } from "@millrace/graph";
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

export function planMemory(
  config: ModelConfig,
  device: Capabilities,
  weights: WeightFormat = "f32",
): Record<GraphName, PlanMemory> {
  // As the device would run it, were it large enough: a plan is made for every model.
  const capabilities = { ...device, maxBytes: Infinity, maxBlockBytes: Infinity };
  const entries = graphNames.map((name) => {
    const { graph, sizes } = declareModelGraph(config, name, undefined, weights);
    const { program } = buildProgram(graph, capabilities);
    const { arenaBytes } = program;
    return [name, { arenaBytes, stateBytes: stateBytes(program), sizes }] as const;
  });
  return Object.fromEntries(entries) as Record<GraphName, PlanMemory>;
}
