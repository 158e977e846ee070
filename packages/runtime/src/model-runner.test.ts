import { compile } from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import { declareInit, declareLogits, preset } from "@millrace/model-v3";
import type { ModelConfig } from "@millrace/model-v3";
import { expect, test } from "vitest";
import { createModelRunner } from "./model-runner.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 11,
  hiddenSize: 24,
  intermediateSize: 24,
  moeIntermediateSize: 8,
  initializerRange: 0.3,
};

function expectNear(got: Float32Array, expected: Float32Array, tolerance: number): void {
  expect(got.length).toBe(expected.length);
  const errors = Array.from(got, (value, i) => Math.abs(value - expected[i]!));
  expect(Math.max(...errors)).toBeLessThan(tolerance);
}

test.each(["final_norm", "residual"] as const)(
  "prefill, decode and draft over the cache give the logits of whole sequences (%s)",
  async (mtpInput) => {
    const changed = { ...config, mtpInput };
    const backend = createWasmBackend();
    const store = backend.createStore();
    await (await compile(declareInit(changed, 5), backend, { store })).run({});
    const ids = Array.from({ length: 23 }, (_, i) => (i * i + 5 * i + 2) % config.vocabSize);
    const whole = await compile(declareLogits(changed, { batch: 1, tokens: 23 }), backend, {
      store,
    });
    const input = { dtype: "i32", shape: [1, 23], data: Int32Array.from(ids) } as const;
    const expected = await whole.run({ input_ids: input });
    const logits = expected["logits"]!.data as Float32Array;
    const mtpLogits = expected["mtp.logits"]!.data as Float32Array;

    const options = { config: changed, backend, store, maxLength: 23, prefillChunk: 9 };
    const runner = await createModelRunner({ ...options, maxDrafts: 2 });
    // Rows that a wrong start leaves behind must be neither read nor in the way.
    await runner.prefill([3, 3, 3, 3, 3, 3, 3, 3, 3], 0);
    await runner.prefill([4, 4, 4, 4], 9);
    const got: number[] = [];
    const drafted: number[] = [];
    const calls: [start: number, end: number, kind: "prefill" | "decode"][] = [
      [0, 9, "prefill"],
      [9, 12, "prefill"],
      [12, 13, "decode"],
      [13, 17, "decode"],
      [17, 19, "decode"],
      [19, 22, "decode"],
      [22, 23, "decode"],
    ];
    for (const [start, end, kind] of calls) {
      const pass = await runner[kind](ids.slice(start, end), start);
      got.push(...pass.logits);
      const next = ids.slice(start + 1, end + 1);
      if (next.length === 0) break;
      // A draft beyond the true rows, which the next true row replaces.
      const draft = await runner.draft(pass.hidden, next, start);
      drafted.push(...draft.logits);
      if (end < 22) await runner.draft(draft.hidden.slice(-config.hiddenSize), [7], end);
    }
    expectNear(Float32Array.from(got), logits, 1e-4);
    expectNear(Float32Array.from(drafted), mtpLogits, 1e-4);
    runner.dispose();
  },
);
