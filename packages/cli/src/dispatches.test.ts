// How many dispatches a training step takes on a GPU, which is what limits small models there. Counted for a card of today; no GPU
// is needed for that.
import { buildProgram } from "@millrace/graph";
import { desktopCapabilities, graphCapabilities, planDispatches } from "@millrace/kernels-wgsl";
import { preset } from "@millrace/model-v3";
import { expect, it } from "vitest";

import { declareModelGraph } from "./model-graphs.ts";

it("a training step has fewer than 300 dispatches for each pair of layers", () => {
  const config = preset("small");
  const { graph } = declareModelGraph(config, "train", "small");
  const { program } = buildProgram(graph, graphCapabilities(desktopCapabilities));
  const dispatches = planDispatches(program);
  // Embedding, losses and the optimizer count too; the prediction of later tokens has a layer of its own.
  const layers = config.numHiddenLayers + config.numNextnPredictLayers;
  expect(dispatches.length).toBeGreaterThan(100);
  expect((dispatches.length / layers) * 2).toBeLessThan(300);
  // One for each parameter: moments, decay and the step are one kernel.
  const updates = dispatches.filter(({ label }) => label.startsWith("optimizer."));
  expect(new Set(updates.map(({ label }) => label)).size).toBe(updates.length);
  expect(updates.length).toBeGreaterThan(50);
});
