/**
 * Generation from a model. In: a configuration, a backend and a store that holds the parameters. Out: an engine that continues
 * prompts, one at a time: all at once (`generate`) or as the tokens come (`stream`). Checks what callers pass; the loop is
 * in `generation.ts`, the programs in `model-runner.ts`. Read this first.
 */
import { AttributeError, InputError } from "@millrace/graph";
import type { Backend, Store } from "@millrace/graph";
import type { ModelConfig } from "@millrace/model-v3";
import { Detokenizer } from "./detokenizer.ts";
import type { TokenDecoder } from "./detokenizer.ts";
import { generateTokens } from "./generation.ts";
import type { FinishReason } from "./generation.ts";
import type { GenerationMetrics } from "./metrics.ts";
import { createModelRunner } from "./model-runner.ts";
import type { ModelRunner } from "./model-runner.ts";
import { checkSampling } from "./sampling/logits-processors.ts";
import type { SamplingOptions } from "./sampling/logits-processors.ts";

export interface EngineOptions {
  readonly config: ModelConfig;
  readonly backend: Backend;
  /** Holds the parameters by name. The engine adds its cache, which all engines over one store share: take turns. */
  readonly store: Store;
  /** Most tokens of prompt and answer that the cache holds; by default the configuration's `maxPositionEmbeddings`. */
  readonly maxLength?: number | undefined;
  /** Tokens that the MTP module drafts per round; 0 (the default) leaves the module out. */
  readonly speculative?: number | undefined;
  /** Most tokens of the prompt in one pass, 64 by default. It changes speed and memory only. */
  readonly prefillChunk?: number | undefined;
  /** Turns tokens into the text of chunks and results; without one there are only ids. */
  readonly tokenizer?: TokenDecoder | undefined;
}

export interface GenerateOptions extends SamplingOptions {
  /** Tokens to generate at most, 128 by default. */
  readonly maxTokens?: number | undefined;
  /** Fixes all draws, 0 by default. */
  readonly seed?: number | undefined;
  /** Drafts per round in this generation, at most the engine's (the default). */
  readonly speculative?: number | undefined;
  /** Tokens that end the sequence; by default the configuration's end token. They are part of the result. */
  readonly stopIds?: readonly number[] | undefined;
  /** Ends the generation between two passes, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** What one round added. The last chunk may have text only: characters that were never finished. */
export interface GenerationChunk {
  readonly tokens: readonly number[];
  /** With a tokenizer: text that these tokens complete. */
  readonly text?: string;
}

export interface GenerationResult extends GenerationMetrics {
  readonly tokens: readonly number[];
  /** With a tokenizer: the text of the tokens. */
  readonly text?: string;
  readonly finishReason: FinishReason;
}

export interface Engine {
  readonly maxLength: number;
  /** Continues a prompt of token ids. */
  generate(prompt: readonly number[], options?: GenerateOptions): Promise<GenerationResult>;
  /** The same, round by round; the generator returns what `generate` gives. */
  stream(
    prompt: readonly number[],
    options?: GenerateOptions,
  ): AsyncGenerator<GenerationChunk, GenerationResult, undefined>;
  /** Bytes taken beside the store. */
  readonly bytes: number;
  dispose(): void;
}

/** Compiles a model for generation. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
  const { config, backend, store, speculative = 0, tokenizer } = options;
  const { maxLength = config.maxPositionEmbeddings, prefillChunk = 64 } = options;
  checkWholeNumber("maxLength", maxLength, 1, config.maxPositionEmbeddings);
  checkWholeNumber("prefillChunk", prefillChunk, 1);
  checkWholeNumber("speculative", speculative, 0, 64);
  if (speculative > 0 && config.numNextnPredictLayers === 0)
    throw new InputError({
      what: "the model has no MTP module to draft with",
      where: "speculative decoding",
      hint: "Turn speculation off, or use a checkpoint with num_nextn_predict_layers of 1.",
    });
  const runner = await createModelRunner({
    config,
    backend,
    store,
    maxLength,
    prefillChunk: Math.min(prefillChunk, maxLength),
    maxDrafts: speculative,
  });
  return new ModelEngine(runner, config, maxLength, tokenizer);
}

class ModelEngine implements Engine {
  readonly maxLength: number;
  readonly #runner: ModelRunner;
  readonly #config: ModelConfig;
  readonly #tokenizer: TokenDecoder | undefined;
  #isBusy = false;

  constructor(
    runner: ModelRunner,
    config: ModelConfig,
    maxLength: number,
    tokenizer: TokenDecoder | undefined,
  ) {
    this.#runner = runner;
    this.#config = config;
    this.maxLength = maxLength;
    this.#tokenizer = tokenizer;
  }

  async generate(prompt: readonly number[], options?: GenerateOptions): Promise<GenerationResult> {
    const chunks = this.stream(prompt, options);
    for (;;) {
      const next = await chunks.next();
      if (next.done) return next.value;
    }
  }

  async *stream(
    prompt: readonly number[],
    options: GenerateOptions = {},
  ): AsyncGenerator<GenerationChunk, GenerationResult, undefined> {
    const { maxTokens = 128, seed = 0, speculative = this.#runner.maxDrafts, signal } = options;
    const { eosTokenId } = this.#config;
    const { stopIds = eosTokenId === null ? [] : [eosTokenId] } = options;
    const { temperature, topK, topP, minP } = options;
    const sampling: SamplingOptions = { temperature, topK, topP, minP };
    checkPrompt(prompt, this.#config, this.maxLength);
    checkSampling(sampling);
    checkWholeNumber("maxTokens", maxTokens, 1);
    checkWholeNumber("speculative", speculative, 0, this.#runner.maxDrafts);
    if (this.#isBusy)
      throw new InputError({
        what: "the engine is in the middle of another generation",
        where: "generate",
        hint: "Finish or return that one first, or create an engine over a store of its own.",
      });
    this.#isBusy = true;
    try {
      const tokens: number[] = [];
      const detokenizer = this.#tokenizer && new Detokenizer(this.#tokenizer);
      let text = "";
      const written = (piece: string): { text?: string } => {
        if (!detokenizer) return {};
        text += piece;
        return { text: piece };
      };
      const passes = generateTokens(this.#runner, [...prompt], {
        sampling,
        seed,
        maxTokens,
        maxLength: this.maxLength,
        stopIds: new Set(stopIds),
        drafts: speculative,
        signal,
      });
      for (;;) {
        const next = await passes.next();
        if (next.done) {
          const rest = detokenizer?.finish() ?? "";
          const last = { tokens: [], ...written(rest) };
          if (rest !== "") yield last;
          return { tokens, ...(detokenizer && { text }), ...next.value };
        }
        tokens.push(...next.value);
        yield { tokens: next.value, ...written(detokenizer?.push(next.value) ?? "") };
      }
    } finally {
      this.#isBusy = false;
    }
  }

  get bytes(): number {
    return this.#runner.bytes;
  }

  dispose(): void {
    this.#runner.dispose();
  }
}

function checkPrompt(prompt: readonly number[], config: ModelConfig, maxLength: number): void {
  if (prompt.length === 0)
    throw new InputError({
      what: "the prompt has no tokens",
      where: "generate",
      hint:
        config.bosTokenId === null
          ? "Pass at least one token."
          : `Pass at least one token, such as the begin token ${config.bosTokenId}.`,
    });
  if (prompt.length > maxLength)
    throw new InputError({
      what: `the prompt has ${prompt.length} tokens, the context ${maxLength}`,
      where: "generate",
      hint:
        maxLength < config.maxPositionEmbeddings
          ? `Shorten the prompt, or create the engine with a maxLength of up to ${config.maxPositionEmbeddings}.`
          : "Shorten the prompt.",
    });
  const bad = prompt.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= config.vocabSize);
  if (bad >= 0)
    throw new InputError({
      what: `token id ${prompt[bad]} at position ${bad} of the prompt is outside the vocabulary of ${config.vocabSize}`,
      where: "generate",
      hint: `Pass ids from 0 to ${config.vocabSize - 1}, from the tokenizer that belongs to the model.`,
    });
}

function checkWholeNumber(name: string, value: number, min: number, max = 2 ** 31 - 1): void {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return;
  throw new AttributeError({
    what: `${name} is ${value}`,
    where: "runtime",
    hint: `Give a whole number from ${min} to ${max}.`,
  });
}
