import {
  buildProgram,
  compile,
  DeviceError,
  type Graph,
  hostTensor,
  printGraph,
  stateBytes,
  toNumbers,
} from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { declareInit, type ModelConfig, type Precision, preset } from "@millrace/model-v3";
import { expect, it } from "vitest";

import { type FittedTrainStep, fitTrainStep } from "./fit-train-step.ts";
import { declareTrainStep } from "./train-step.ts";

const config: ModelConfig = { ...preset("tiny"), vocabSize: 40, numHiddenLayers: 3 };
const layers = config.numHiddenLayers + config.numNextnPredictLayers;
const sizes = { batch: 2, sequenceLength: 48 };
const backend = createWasmBackend({ threads: 1 });

const bytesOf = (graph: Graph): number => {
  const { program } = buildProgram(graph, backend.capabilities);
  return program.arenaBytes + stateBytes(program);
};
const inputs = {
  input_ids: hostTensor(
    "i32",
    [2, 49],
    Array.from({ length: 98 }, (_, i) => (i * 7 + (i >> 2)) % 40),
  ),
  learning_rate: hostTensor("f32", [], [0.01]),
  step: hostTensor("i32", [], [1]),
};

/** What one step gives, gradients included. */
async function stepOnce(
  recomputedLayers: number,
  precision: Precision,
): Promise<Map<string, ArrayLike<number>>> {
  const store = backend.createStore();
  const init = await compile(declareInit(config, 3), backend, { store });
  await init.run({});
  const graph = declareTrainStep(config, { ...sizes, precision, recomputedLayers, taps: true });
  const program = await compile(graph, backend, { store });
  const outputs = await program.run(inputs);
  program.dispose();
  init.dispose();
  store.dispose();
  return new Map(Object.entries(outputs).map(([name, tensor]) => [name, toNumbers(tensor)]));
}

it.each(["f32", "bf16", "fp8"] as const)(
  "recomputed layers change no bit in %s",
  async (precision) => {
    const plain = await stepOnce(0, precision);
    const recomputed = await stepOnce(layers, precision);
    expect([...recomputed.keys()]).toEqual([...plain.keys()]);
    for (const [name, values] of plain) expect(recomputed.get(name), name).toEqual(values);
  },
);

it("takes the fewest layers that fit, and less memory with each", async () => {
  const long = { batch: 8, sequenceLength: 128 };
  const bytes = Array.from({ length: layers + 1 }, (_, recomputedLayers) =>
    bytesOf(declareTrainStep(config, { ...long, recomputedLayers })),
  );
  for (let i = 1; i < layers; i++) expect(bytes[i]!).toBeLessThan(bytes[i - 1]!);
  const fit = (limit?: number): Promise<FittedTrainStep> =>
    fitTrainStep(config, long, backend, limit);
  const free = await fit();
  expect(free.recomputedLayers).toBe(0);
  expect(printGraph(free.graph)).toBe(printGraph(declareTrainStep(config, long)));
  const tight = await fit(bytes[1]);
  expect(tight.recomputedLayers).toBe(1);
  expect(tight.bytes).toBe(bytes[1]);
  await expect(fit(Math.min(...bytes) - 1)).rejects.toThrow(DeviceError);

  // States may lie here and there; the rest is in one piece.
  const inPieces = (maxBlockBytes: number): Promise<FittedTrainStep> =>
    fitTrainStep(config, long, { capabilities: { ...backend.capabilities, maxBlockBytes } });
  expect((await inPieces(free.arenaBytes)).recomputedLayers).toBe(0);
  expect((await inPieces(tight.arenaBytes)).recomputedLayers).toBe(1);
  await expect(inPieces(1000)).rejects.toThrow(
    /beside its states .* 1000 are allowed in one piece/,
  );
});
