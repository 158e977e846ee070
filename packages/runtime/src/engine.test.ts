import { compile } from "@millrace/graph";
import type { Backend, Store } from "@millrace/graph";
import { createInterpreterBackend, createWasmBackend } from "@millrace/kernels-cpu";
import { byteTokenizer, declareInit, declareLogits, preset } from "@millrace/model-v3";
import type { ModelConfig } from "@millrace/model-v3";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createEngine } from "./engine.ts";
import type { Engine, EngineOptions, GenerateOptions } from "./engine.ts";
import { createModelRunner, rowOf } from "./model-runner.ts";
import { likeliest } from "./sampling/logits-processors.ts";

/** Every part of the architecture, as small as it goes; few tokens, so that random drafts are right now and then. */
const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 6,
  hiddenSize: 16,
  intermediateSize: 16,
  moeIntermediateSize: 8,
  nRoutedExperts: 4,
  nGroup: 2,
  topkGroup: 1,
  numExpertsPerTok: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  qLoraRank: 8,
  kvLoraRank: 8,
  qkNopeHeadDim: 4,
  qkRopeHeadDim: 4,
  vHeadDim: 4,
  maxPositionEmbeddings: 64,
  initializerRange: 1,
  bosTokenId: 0,
  eosTokenId: null,
};

interface Model {
  readonly config: ModelConfig;
  readonly backend: Backend;
  readonly store: Store;
}

/** A model with random weights. */
async function randomModel(
  seed: number,
  changes: Partial<ModelConfig> = {},
  backend: Backend = createWasmBackend(),
): Promise<Model> {
  const store = backend.createStore();
  const changed = { ...config, ...changes };
  await (await compile(declareInit(changed, seed), backend, { store })).run({});
  return { config: changed, backend, store };
}

async function withEngine<T>(
  options: Model & Partial<EngineOptions>,
  body: (engine: Engine) => Promise<T>,
): Promise<T> {
  const engine = await createEngine(options);
  try {
    return await body(engine);
  } finally {
    engine.dispose();
  }
}

/** What the likeliest next token is at each position of a sequence, in one pass without a cache. */
async function uncached(model: Model, ids: readonly number[]): Promise<number[]> {
  const graph = declareLogits(model.config, { batch: 1, tokens: ids.length });
  const program = await compile(graph, model.backend, { store: model.store });
  const inputs = {
    input_ids: { dtype: "i32", shape: [1, ids.length], data: Int32Array.from(ids) },
  } as const;
  const logits = (await program.run(inputs))["logits"]!.data as Float32Array;
  program.dispose();
  return ids.map((_, i) => likeliest(rowOf(logits, i, model.config.vocabSize)));
}

const prompts = fc.array(fc.nat(config.vocabSize - 1), { minLength: 1, maxLength: 14 });

describe.each([
  ["mla", 8, createWasmBackend, { attention: "mla" }],
  ["gqa", 8, createWasmBackend, { attention: "gqa", numAttentionHeads: 4, numKeyValueHeads: 2 }],
  ["residual streams", 8, createWasmBackend, { mtpInput: "residual", qLoraRank: null }],
  ["the interpreter", 3, createInterpreterBackend, {}],
] as const)("random models with %s", (_, numRuns, createBackend, changes) => {
  test("give the greedy tokens of uncached logits, with 0 to 5 drafts and in any chunks", async () => {
    let [drafted, accepted, distinct] = [0, 0, new Set<number>()];
    await fc.assert(
      fc.asyncProperty(
        fc.nat(1000),
        prompts,
        fc.integer({ min: 1, max: 9 }),
        async (seed, prompt, prefillChunk) => {
          const model = await randomModel(seed, changes, createBackend());
          const options = { ...model, maxLength: 40, prefillChunk, speculative: 5 };
          await withEngine(options, async (engine) => {
            const plain = await engine.generate(prompt, { maxTokens: 20, speculative: 0 });
            const all = [...prompt, ...plain.tokens];
            expect((await uncached(model, all)).slice(prompt.length - 1, -1)).toEqual(plain.tokens);
            expect(plain.drafted).toBe(0);
            for (const speculative of [1, 2, 3, 4, 5]) {
              const got = await engine.generate(prompt, { maxTokens: 20, speculative });
              expect(got.tokens).toEqual(plain.tokens);
              drafted += got.drafted;
              accepted += got.accepted;
            }
            plain.tokens.forEach((token) => distinct.add(token));
          });
        },
      ),
      { numRuns, seed: 1 },
    );
    // Both ways out of a verification were taken, by models that say different things.
    expect(accepted).toBeGreaterThan(20);
    expect(accepted).toBeLessThan(drafted);
    expect(distinct.size).toBeGreaterThan(3);
  });
});

test("a token's logits have the same bits whichever tokens are decoded with it", async () => {
  const ids = Array.from({ length: 40 }, (_, i) => (i * i + 3 * i + 1) % config.vocabSize);
  for (const attention of ["mla", "mha"] as const) {
    const { backend, store, ...model } = await randomModel(1, { attention });
    const options = { ...model, backend, store, maxLength: 40, prefillChunk: 8, maxDrafts: 1 };
    const runner = await createModelRunner(options);
    const logits = async (rows: number): Promise<number[]> => {
      const out: number[] = [];
      for (let start = 0; start < ids.length; start += rows)
        out.push(...(await runner.decode(ids.slice(start, start + rows), start)).logits);
      return out;
    };
    const one = await logits(1);
    for (let rows = 2; rows <= runner.decodeRows; rows++) expect(await logits(rows)).toEqual(one);
    runner.dispose();
  }
});

describe("sampling", () => {
  const sampled: GenerateOptions = { maxTokens: 12, temperature: 1, topP: 0.95 };

  test("is fixed by the seed, with drafts and without", async () => {
    const model = await randomModel(4);
    await withEngine({ ...model, speculative: 2 }, async (engine) => {
      for (const speculative of [0, 2]) {
        const run = async (seed: number) =>
          (await engine.generate([1, 2, 3], { ...sampled, seed, speculative })).tokens;
        expect(await run(1)).toEqual(await run(1));
        expect(await run(1)).not.toEqual(await run(2));
      }
    });
  });

  test("from one token, the likeliest, is greedy", async () => {
    const model = await randomModel(4);
    await withEngine(model, async (engine) => {
      const { tokens } = await engine.generate([5, 1], { maxTokens: 12 });
      const one = await engine.generate([5, 1], { ...sampled, topK: 1, seed: 9 });
      expect(one.tokens).toEqual(tokens);
    });
  });
});

describe("engine", () => {
  test("streams what it generates, token by token and as text", async () => {
    const { vocabSize } = byteTokenizer();
    const model = await randomModel(5, { vocabSize });
    const options = { ...model, maxLength: 40, speculative: 2, tokenizer: byteTokenizer() };
    await withEngine(options, async (engine) => {
      const whole = await engine.generate([104, 105], { maxTokens: 9 });
      const stream = engine.stream([104, 105], { maxTokens: 9 });
      const tokens: number[] = [];
      let text = "";
      for (;;) {
        const next = await stream.next();
        if (next.done) {
          expect(next.value.tokens).toEqual(whole.tokens);
          break;
        }
        tokens.push(...next.value.tokens);
        text += next.value.text ?? "";
      }
      expect(tokens).toEqual(whole.tokens);
      expect(text).toBe(whole.text);
      expect(whole.text).toBe(byteTokenizer().decode(whole.tokens));
    });
  });

  test("ends with the configuration's end token, unless told of others", async () => {
    const model = await randomModel(6);
    const first = await withEngine(model, (engine) => engine.generate([2], { maxTokens: 1 }));
    expect(first).toMatchObject({ finishReason: "length", drafted: 0, decodeTokensPerSecond: 0 });
    expect(first.prefillTokensPerSecond).toBeGreaterThan(0);
    const eosTokenId = first.tokens[0]!;
    const ending = { ...model, config: { ...model.config, eosTokenId } };
    await withEngine(ending, async (engine) => {
      const stopped = await engine.generate([2], { maxTokens: 5 });
      expect(stopped).toMatchObject({ tokens: [eosTokenId], finishReason: "stop" });
      const going = await engine.generate([2], { maxTokens: 5, stopIds: [] });
      expect(going).toMatchObject({ finishReason: "length" });
      expect(going.tokens).toHaveLength(5);
    });
  });

  test("takes turns, and is free again after a generation is left or fails", async () => {
    const model = await randomModel(7);
    await withEngine(model, async (engine) => {
      const stream = engine.stream([1]);
      await stream.next();
      await expect(engine.generate([1])).rejects.toThrow(/in the middle of another.*Finish/);
      await stream.return(undefined as never);
      const aborted = engine.generate([1], { signal: AbortSignal.abort("enough") });
      await expect(aborted).rejects.toBe("enough");
      expect((await engine.generate([1], { maxTokens: 2 })).tokens).toHaveLength(2);
    });
  });

  test("fills the context to its end and no further", async () => {
    const model = await randomModel(8);
    await withEngine({ ...model, maxLength: 5, speculative: 3 }, async (engine) => {
      const got = await engine.generate([1, 2, 3, 4, 5], { maxTokens: 9 });
      expect(got).toMatchObject({ finishReason: "context" });
      expect(got.tokens).toHaveLength(1);
      const room = await engine.generate([1, 2], { maxTokens: 9 });
      expect(room.tokens).toHaveLength(4);
    });
  });

  test("refuses prompts and options that cannot be, and says what to do", async () => {
    const model = await randomModel(9);
    await withEngine({ ...model, maxLength: 8 }, async (engine) => {
      const refused: [readonly number[], GenerateOptions, RegExp][] = [
        [[], {}, /no tokens.*begin token 0/],
        [Array(9).fill(1), {}, /has 9 tokens, the context 8.*Shorten.*up to 64/],
        [[1, 6], {}, /token id 6 at position 1 .*vocabulary of 6.*from 0 to 5/],
        [[-1], {}, /token id -1/],
        [[0.5], {}, /token id 0\.5/],
        [[1], { maxTokens: 0 }, /maxTokens is 0/],
        [[1], { temperature: -1 }, /temperature is -1/],
        [[1], { seed: 0.1 }, /seed is 0\.1/],
        [[1], { speculative: 1 }, /speculative is 1.*from 0 to 0/],
      ];
      for (const [prompt, options, message] of refused)
        await expect(engine.generate(prompt, options)).rejects.toThrow(message);
    });
    await expect(createEngine({ ...model, maxLength: 65 })).rejects.toThrow(/from 1 to 64/);
    const plain = { ...model, config: { ...model.config, numNextnPredictLayers: 0 } };
    await expect(createEngine({ ...plain, speculative: 1 })).rejects.toThrow(/no MTP module.*off/);
  });
});
