// A whole optimizer step with parameters and moments in several memories: losses and parameters have the bits that one memory gives.
import { compile, hostTensor } from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { declareInit, preset } from "@millrace/model-v3";
import { expect, it } from "vitest";

import { declareTrainStep } from "./train-step.ts";

const config = preset("tiny");
const [batch, sequenceLength] = [1, 12];
const graph = declareTrainStep(config, { batch, sequenceLength });
const ids = Int32Array.from({ length: batch * (sequenceLength + 1) }, (_, i) => (i * 7919) % 256);

/** Losses of two steps, and all states after them. */
async function steps(threads: number, memoryBytes?: number): Promise<ReadonlyMap<string, unknown>> {
  const backend = createWasmBackend({
    threads,
    divideFrom: 0,
    ...(memoryBytes !== undefined && { memoryBytes }),
  });
  const store = backend.createStore();
  await (await compile(declareInit(config, 0), backend, { store })).run({});
  const step = await compile(graph, backend, { store });
  if (memoryBytes !== undefined) expect(store.bytes).toBeGreaterThan(2 * memoryBytes);
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
  return results;
}

it("gives the same bits in one memory and in several, with 1 and 2 threads", async () => {
  const expected = await steps(1);
  expect(expected.size).toBeGreaterThan(100);
  for (const threads of [1, 2]) expect(await steps(threads, 1_200_000)).toEqual(expected);
}, 120_000);
