// A whole optimizer step, forward to update: losses and parameters have the same bits, however many threads compute them and however many
// memories the state is divided among.
import { compile, hostTensor } from "@millrace/graph";
import { createWasmBackend, type WasmBackendOptions } from "@millrace/kernels-cpu";
import { declareInit, preset } from "@millrace/model-v3";
import { expect, it } from "vitest";

import { declareTrainStep } from "./train-step.ts";

const config = preset("tiny");

/** Losses of two steps, and all states after them. */
async function twoSteps(
  { batch, sequenceLength }: { readonly batch: number; readonly sequenceLength: number },
  options: WasmBackendOptions,
): Promise<ReadonlyMap<string, unknown>> {
  const graph = declareTrainStep(config, { batch, sequenceLength });
  const ids = Int32Array.from({ length: batch * (sequenceLength + 1) }, (_, i) => (i * 7919) % 256);
  const backend = createWasmBackend({ divideFrom: 0, ...options });
  const store = backend.createStore();
  await (await compile(declareInit(config, 0), backend, { store })).run({});
  const step = await compile(graph, backend, { store });
  if (options.memoryBytes !== undefined)
    expect(store.bytes).toBeGreaterThan(2 * options.memoryBytes);
  const results = new Map<string, unknown>();
  for (const number of [1, 2]) {
    const outputs = await step.run({
      input_ids: hostTensor("i32", [batch, sequenceLength + 1], ids),
      learning_rate: hostTensor("f32", [], [0.01]),
      step: hostTensor("i32", [], [number]),
    });
    for (const [name, { data }] of Object.entries(outputs)) results.set(`${name} ${number}`, data);
  }
  for (const { name } of store.specs) results.set(name, (await store.read(name)).data);
  step.dispose();
  store.dispose();
  backend.dispose();
  expect(results.size).toBeGreaterThan(100);
  return results;
}

it("with 1, 2, 3 and 4 threads", async () => {
  const size = { batch: 2, sequenceLength: 24 };
  const expected = await twoSteps(size, { threads: 1 });
  for (const threads of [2, 3, 4]) expect(await twoSteps(size, { threads })).toEqual(expected);
}, 120_000);

it("in one memory and in several, with 1 and 2 threads", async () => {
  const size = { batch: 1, sequenceLength: 12 };
  const expected = await twoSteps(size, { threads: 1 });
  for (const threads of [1, 2])
    expect(await twoSteps(size, { threads, memoryBytes: 1_200_000 })).toEqual(expected);
}, 120_000);
