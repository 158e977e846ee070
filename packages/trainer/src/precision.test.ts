import { globSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { compile, hostTensor, toNumbers } from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { byteTokenizer, declareInit, type Precision, preset } from "@millrace/model-v3";
import { describe, expect, it } from "vitest";

import { createBatchSource, heldOutBatches } from "./data/batch.ts";
import { readTokenDataset } from "./data/text-files.ts";
import { defaultSettings } from "./defaults.ts";
import { evaluate } from "./evaluate.ts";
import { learningRateAt, scheduleOver } from "./optimizer/schedule.ts";
import { declareEvaluation, declareTrainStep } from "./train-step.ts";

const config = preset("tiny");
const { steps, batchSize, sequenceLength, learningRate, biasUpdateSpeed } = defaultSettings(
  config,
  "tiny",
);

/** Trains the tiny preset; gives the mean loss of the last 20 steps, and that of held-out text. */
async function finalLosses(
  precision: Precision,
): Promise<{ readonly training: number; readonly heldOut: number }> {
  const root = fileURLToPath(new URL("../../..", import.meta.url));
  const text = globSync("node_modules/@typescript/*/lib/lib*.d.ts", { cwd: root });
  const files = text.map((file) => join(root, file));
  const dataset = await readTokenDataset(files, { tokenizer: byteTokenizer() });
  const backend = createWasmBackend();
  const store = backend.createStore();
  const size = { batch: batchSize, sequenceLength };
  await (await compile(declareInit(config, 1), backend, { store })).run({});
  const graph = declareTrainStep(config, { ...size, precision, biasUpdateSpeed });
  const program = await compile(graph, backend, { store });
  const batches = createBatchSource({ tokens: dataset.train, batchSize, sequenceLength, seed: 1 });
  const schedule = scheduleOver(steps, learningRate);
  let training = 0;
  for (let step = 1; step <= steps; step++) {
    const { inputIds, width } = batches.batchAt(step - 1);
    const outputs = await program.run({
      input_ids: hostTensor("i32", [batchSize, width], inputIds),
      learning_rate: hostTensor("f32", [], [learningRateAt(step, schedule)]),
      step: hostTensor("i32", [], [step]),
    });
    if (step > steps - 20) training += toNumbers(outputs["loss"]!)[0]! / 20;
  }
  const evaluation = await compile(declareEvaluation(config, size), backend, { store });
  const held = heldOutBatches({ tokens: dataset.heldOut, batchSize, sequenceLength });
  const result = await evaluate(evaluation, held, dataset);
  store.dispose();
  return { training, heldOut: result!.loss };
}

describe("300 steps of the tiny preset", () => {
  it("end within 1 % of the f32 loss with --precision bf16 and fp8", async () => {
    expect(steps).toBe(300);
    const f32 = await finalLosses("f32");
    // A run that learns nothing would agree with itself.
    expect(f32.training).toBeLessThan(2.5);
    for (const precision of ["bf16", "fp8"] as const) {
      const narrow = await finalLosses(precision);
      // The products differ, so a run of the same bits would mean that the option does nothing.
      expect(narrow.training).not.toBe(f32.training);
      expect(Math.abs(narrow.training / f32.training - 1)).toBeLessThan(0.01);
      expect(Math.abs(narrow.heldOut / f32.heldOut - 1)).toBeLessThan(0.01);
    }
  }, 300_000);
});
