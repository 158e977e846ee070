import { hostTensor } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import fc from "fast-check";
import { expect, test } from "vitest";
import { attentionKinds } from "../config.ts";
import type { ModelConfig } from "../config.ts";
import { preset } from "../presets.ts";
import { declareInit } from "./init.ts";
import { declareLogits } from "./logits.ts";

const sizes = fc.record({
  hiddenSize: fc.integer({ min: 1, max: 9 }),
  intermediateSize: fc.integer({ min: 1, max: 9 }),
  moeIntermediateSize: fc.integer({ min: 1, max: 9 }),
  numHiddenLayers: fc.integer({ min: 1, max: 2 }),
  numNextnPredictLayers: fc.integer({ min: 0, max: 2 }),
  numAttentionHeads: fc.constantFrom(1, 2, 4),
  qLoraRank: fc.option(fc.integer({ min: 1, max: 5 })),
  kvLoraRank: fc.integer({ min: 1, max: 5 }),
  qkNopeHeadDim: fc.integer({ min: 4, max: 7 }),
  qkRopeHeadDim: fc.constantFrom(2, 4),
  vHeadDim: fc.integer({ min: 1, max: 5 }),
  vocabSize: fc.integer({ min: 2, max: 9 }),
  attention: fc.constantFrom(...attentionKinds),
  mtpInput: fc.constantFrom("final_norm" as const, "residual" as const),
  mtpOrder: fc.constantFrom("embedding_first" as const, "hidden_first" as const),
});

type Sizes = typeof sizes extends fc.Arbitrary<infer T> ? T : never;

function configOf(given: Sizes): ModelConfig {
  return {
    ...preset("tiny"),
    ...given,
    firstKDenseReplace: Math.min(1, given.numHiddenLayers),
    numKeyValueHeads: Math.max(1, given.numAttentionHeads / 2),
  };
}

test("any model gives finite logits of the right shapes in both forms", () => {
  fc.assert(
    fc.property(
      sizes.map(configOf),
      fc.integer({ min: 1, max: 2 }),
      fc.integer({ min: 1, max: 4 }),
      (config, batch, tokens) => {
        const ids = Array.from(
          { length: batch * tokens },
          (_, i) => (i * 5 + 1) % config.vocabSize,
        );
        const { states } = interpret(declareInit(config, 3), {});
        for (const attention of ["naive", "absorbed"] as const) {
          const graph = declareLogits(config, { batch, tokens, attention });
          const input = hostTensor("i32", [batch, tokens], ids);
          const { outputs } = interpret(graph, { input_ids: input }, { states });
          const expected: Record<string, number[]> = { logits: [batch, tokens, config.vocabSize] };
          for (let k = 1; k <= config.numNextnPredictLayers && k < tokens; k++)
            expected[k === 1 ? "mtp.logits" : `mtp.${k}.logits`] = [
              batch,
              tokens - k,
              config.vocabSize,
            ];
          expect(
            Object.fromEntries(Object.entries(outputs).map(([name, { shape }]) => [name, shape])),
          ).toEqual(expected);
          for (const { data } of Object.values(outputs))
            expect((data as Float32Array).every(Number.isFinite)).toBe(true);
        }
      },
    ),
    { numRuns: 25 },
  );
});
