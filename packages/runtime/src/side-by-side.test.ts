// Several models in one process, on one backend and on two, generating at once: none changes a token of another's.
import { compile } from "@millrace/graph";
import type { Backend } from "@millrace/graph";
import { createInterpreterBackend, createWasmBackend } from "@millrace/kernels-cpu";
import { declareInit, preset } from "@millrace/model-v3";
import type { ModelConfig } from "@millrace/model-v3";
import { describe, expect, test } from "vitest";
import { createEngine } from "./engine.ts";
import type { Engine } from "./engine.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 32,
  hiddenSize: 8,
  intermediateSize: 12,
  moeIntermediateSize: 6,
  nRoutedExperts: 4,
  numExpertsPerTok: 2,
  nGroup: 2,
  topkGroup: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  qLoraRank: 6,
  kvLoraRank: 4,
  qkNopeHeadDim: 4,
  qkRopeHeadDim: 2,
  vHeadDim: 4,
  maxPositionEmbeddings: 48,
  initializerRange: 1,
  bosTokenId: null,
  eosTokenId: null,
};

async function engineOn(
  backend: Backend,
  seed: number,
  changes: Partial<ModelConfig> = {},
): Promise<Engine> {
  const store = backend.createStore();
  const model = { ...config, ...changes };
  await (await compile(declareInit(model, seed), backend, { store })).run({});
  return createEngine({ config: model, backend, store, speculative: 1 });
}

const prompt = [3, 1, 4, 1, 5, 9, 2, 6];
const options = { maxTokens: 12, temperature: 0.8, seed: 11 };

describe("models side by side", () => {
  test("give the tokens that each gives alone", async () => {
    const [wasm, interpreter] = [createWasmBackend(), createInterpreterBackend()];
    const make: (() => Promise<Engine>)[] = [
      () => engineOn(wasm, 1),
      () => engineOn(wasm, 2, { hiddenSize: 12, numHiddenLayers: 3 }),
      () => engineOn(createWasmBackend(), 3, { attention: "gqa", numKeyValueHeads: 1 }),
      () => engineOn(interpreter, 1),
      () => engineOn(interpreter, 4, { topkMethod: "greedy", balance: "auxiliary" }),
    ];
    const alone: (readonly number[])[] = [];
    for (const create of make) {
      const engine = await create();
      alone.push((await engine.generate(prompt, options)).tokens);
      engine.dispose();
    }
    const engines = await Promise.all(make.map((create) => create()));
    const together = await Promise.all(engines.map((engine) => engine.generate(prompt, options)));
    expect(together.map(({ tokens }) => tokens)).toEqual(alone);
    // One that ends takes nothing from the others.
    engines[0]!.dispose();
    engines[3]!.dispose();
    for (const i of [1, 2, 4])
      expect((await engines[i]!.generate(prompt, options)).tokens).toEqual(alone[i]);
  });
});
