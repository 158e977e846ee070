import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateTokens } from "./generation.ts";
import type { GenerationEnd, GenerationSettings } from "./generation.ts";
import type { ModelRunner, Pass } from "./model-runner.ts";

const vocabSize = 4;

/** Logits that look random and are a function of their arguments. */
function logitsOf(...context: readonly number[]): number[] {
  return Array.from({ length: vocabSize }, (_, token) => {
    let h = 17;
    for (const value of [...context, token]) h = Math.imul(h ^ value, 0x9e3779b1) ^ (h >>> 7);
    return ((h >>> 8) % 1000) / 300;
  });
}

const modelLogits = (before: number, token: number): number[] => logitsOf(before, token);
/** Near enough to the model's to be accepted often. */
const moduleLogits = (token: number, next: number): number[] =>
  logitsOf(token, next).map((logit, i) => logit + (i === (token + next) % vocabSize ? 1.2 : 0));

/**
 * A model of which everything is known: the next token depends on the last two, the hidden state of a position is
 * [position, token, 1], the module's own [position, token, 0]. It checks what a cache demands of its callers.
 */
function scriptedRunner(prefillChunk: number, maxDrafts: number, decodeRows = 3): ModelRunner {
  const cache: number[] = [];
  /** Of each position the module has seen: whether its hidden state was the main model's. */
  const drafted: boolean[] = [];
  const pass = (rows: readonly { logits: number[]; hidden: number[] }[]): Pass => ({
    count: rows.length,
    logits: Float32Array.from(rows.flatMap((row) => row.logits)),
    hidden: Float32Array.from(rows.flatMap((row) => row.hidden)),
  });
  const main = (ids: readonly number[], start: number): Pass => {
    expect(start).toBeLessThanOrEqual(cache.length);
    cache.splice(start, Infinity, ...ids);
    return pass(
      ids.map((token, i) => ({
        logits: modelLogits(cache[start + i - 1] ?? 0, token),
        hidden: [start + i, token, 1],
      })),
    );
  };
  return {
    vocabSize,
    hiddenSize: 3,
    prefillChunk,
    decodeRows,
    maxDrafts,
    bytes: 0,
    dispose: () => undefined,
    async prefill(ids, start) {
      expect(ids.length).toBeLessThanOrEqual(prefillChunk);
      if (start === 0) cache.length = drafted.length = 0;
      return main(ids, start);
    },
    async decode(ids, start) {
      expect(ids.length).toBeLessThanOrEqual(decodeRows);
      return main(ids, start);
    },
    async draft(hidden, nextIds, start) {
      expect(start).toBeLessThanOrEqual(drafted.length);
      drafted.length = start;
      return pass(
        nextIds.map((next, i) => {
          const [position, token, isMain] = hidden.subarray(3 * i, 3 * i + 3);
          expect(position).toBe(start + i);
          if (isMain === 1) {
            expect(token).toBe(cache[start + i]);
            // What the main model has seen must have been handed over without gaps and without stale rows.
            expect(drafted.every(Boolean)).toBe(true);
          }
          drafted.push(isMain === 1);
          return { logits: moduleLogits(token!, next), hidden: [start + i + 1, next, 0] };
        }),
      );
    },
  };
}

interface Outcome extends GenerationEnd {
  readonly tokens: readonly number[];
  readonly passes: number;
}

async function run(
  prompt: readonly number[],
  options: Partial<GenerationSettings> & { readonly chunk?: number },
): Promise<Outcome> {
  const { chunk = 8, drafts = 0 } = options;
  const settings: GenerationSettings = {
    sampling: {},
    seed: 0,
    maxTokens: 12,
    maxLength: 64,
    stopIds: new Set(),
    drafts,
    ...options,
  };
  const chunks = generateTokens(scriptedRunner(chunk, drafts), prompt, settings);
  const tokens: number[] = [];
  for (let passes = 0; ; passes++) {
    const next = await chunks.next();
    if (next.done) return { tokens, passes, ...next.value };
    expect(next.value.length).toBeGreaterThan(0);
    tokens.push(...next.value);
  }
}

/** Plain greedy decoding, by its definition. */
function greedy(prompt: readonly number[], count: number): number[] {
  const tokens = [...prompt];
  for (let i = 0; i < count; i++) {
    const logits = modelLogits(tokens.at(-2) ?? 0, tokens.at(-1)!);
    tokens.push(logits.indexOf(Math.max(...logits)));
  }
  return tokens.slice(prompt.length);
}

const prompts = fc.array(fc.nat(vocabSize - 1), { minLength: 1, maxLength: 20 });

describe("greedy generation", () => {
  test("gives the same tokens for any number of drafts and any prefill chunk", async () => {
    await fc.assert(
      fc.asyncProperty(
        prompts,
        fc.integer({ min: 0, max: 5 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 20 }),
        async (prompt, drafts, chunk, maxTokens) => {
          const got = await run(prompt, { drafts, chunk, maxTokens });
          expect(got.tokens).toEqual(greedy(prompt, maxTokens));
          expect(got.finishReason).toBe("length");
          // The first token comes from prefill; each round gives one more than it accepts.
          expect(got.accepted + got.rounds + 1).toBe(maxTokens);
          expect(got.accepted).toBeLessThanOrEqual(got.drafted);
          expect(got.drafted).toBeLessThanOrEqual(drafts * got.rounds);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("accepts drafts of a module that agrees often", async () => {
    const { drafted, accepted } = await run([1, 2], { drafts: 2, maxTokens: 50 });
    expect(accepted).toBeGreaterThan(0);
    expect(accepted).toBeLessThan(drafted);
  });

  test("ends where the cache ends, with the prediction of its last position", async () => {
    await fc.assert(
      fc.asyncProperty(
        prompts,
        fc.integer({ min: 0, max: 4 }),
        fc.nat(6),
        async (prompt, drafts, room) => {
          const maxLength = prompt.length + room;
          const got = await run(prompt, { drafts, maxLength, maxTokens: 100 });
          expect(got.finishReason).toBe("context");
          expect(got.tokens).toEqual(greedy(prompt, room + 1));
        },
      ),
    );
  });

  test("ends with a stop token, wherever in a pass it comes", async () => {
    await fc.assert(
      fc.asyncProperty(
        prompts,
        fc.integer({ min: 0, max: 4 }),
        fc.nat(vocabSize - 1),
        async (prompt, drafts, stopId) => {
          const all = greedy(prompt, 30);
          const stop = all.indexOf(stopId);
          const got = await run(prompt, { drafts, stopIds: new Set([stopId]), maxTokens: 30 });
          expect(got.finishReason).toBe(stop < 0 ? "length" : "stop");
          expect(got.tokens).toEqual(stop < 0 ? all : all.slice(0, stop + 1));
          expect(got.accepted).toBeLessThan(got.tokens.length);
        },
      ),
    );
  });
});

describe("sampled generation", () => {
  const sampling = { temperature: 1.3, topP: 0.97 };

  test("is a function of the seed", async () => {
    for (const drafts of [0, 3]) {
      const first = await run([1, 3, 2], { sampling, drafts, seed: 5, chunk: 2 });
      const again = await run([1, 3, 2], { sampling, drafts, seed: 5, chunk: 3 });
      const other = await run([1, 3, 2], { sampling, drafts, seed: 6 });
      expect(again.tokens).toEqual(first.tokens);
      expect(other.tokens).not.toEqual(first.tokens);
    }
  });

  test.each([0, 1, 3])("has the model's distribution with %d drafts, by count", async (drafts) => {
    const runs = 6000;
    const counts = new Map<string, number>();
    for (let seed = 0; seed < runs; seed++) {
      const { tokens } = await run([0], {
        sampling: { temperature: 1 },
        drafts,
        seed,
        maxTokens: 3,
      });
      counts.set(tokens.join(), (counts.get(tokens.join()) ?? 0) + 1);
    }
    const softmax = (logits: readonly number[]): number[] => {
      const weights = logits.map(Math.exp);
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return weights.map((weight) => weight / total);
    };
    let chiSquare = 0;
    let degrees = -1;
    const first = softmax(modelLogits(0, 0));
    for (const [a, pa] of first.entries())
      for (const [b, pb] of softmax(modelLogits(0, a)).entries())
        for (const [c, pc] of softmax(modelLogits(a, b)).entries()) {
          const expected = runs * pa * pb * pc;
          chiSquare += ((counts.get([a, b, c].join()) ?? 0) - expected) ** 2 / expected;
          degrees++;
        }
    // 99.9th percentile, by Wilson and Hilferty's approximation; the seeds are fixed.
    const spread = 2 / (9 * degrees);
    expect(chiSquare).toBeLessThan(degrees * (1 - spread + 3.0902 * Math.sqrt(spread)) ** 3);
  });
});

test("an aborted signal ends the generation with its reason, before the first pass or between two", async () => {
  await expect(run([1], { signal: AbortSignal.abort("enough") })).rejects.toBe("enough");
  const controller = new AbortController();
  const chunks = generateTokens(scriptedRunner(4, 1), [1, 2], {
    sampling: {},
    seed: 0,
    maxTokens: 50,
    maxLength: 64,
    stopIds: new Set(),
    drafts: 1,
    signal: controller.signal,
  });
  expect((await chunks.next()).done).toBe(false);
  controller.abort("later");
  await expect(chunks.next()).rejects.toBe("later");
});
