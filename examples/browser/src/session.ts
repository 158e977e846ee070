/**
 * One model that is trained and asked to write. In: a text, a model's size, a backend. Out: one record per step, and text as it comes.
 * All of it is the packages' own: the step is one program of the trainer, text comes from the runtime's engine over the
 * same store, so it always writes with the newest weights. Knows no page and no worker.
 */
import { type Backend, compile, hostTensor, InputError, type Store } from "@millrace/graph";
import { byteTokenizer, countParameters, declareInit } from "@millrace/model-v3";
import { createEngine, type Engine, type GenerationResult } from "@millrace/runtime";
import {
  buildTokenDataset,
  createBatchSource,
  declareTrainStep,
  loadsOf,
  maxViolation,
  type MetricsRecord,
} from "@millrace/trainer";

import type { ModelSize } from "./model-sizes.ts";

export interface SessionOptions {
  readonly backend: Backend;
  readonly size: ModelSize;
  readonly text: string;
  /** Of the first weights and the order of the text. */
  readonly seed: number;
}

export interface WriteOptions {
  readonly temperature: number;
  /** Whether the MTP module drafts a token ahead. */
  readonly speculative: boolean;
  readonly maxTokens: number;
  readonly seed: number;
}

/** Text of one round of generation. */
export interface WrittenPiece {
  readonly text: string;
  /** The first so many characters were drafted by the MTP module and accepted. */
  readonly drafted: number;
}

export interface Session {
  readonly parameters: number;
  /** Bytes of the text that is trained on. */
  readonly textBytes: number;
  /** Kernels of the program of one step. */
  readonly kernels: number;
  /** Trains one step. */
  step(): Promise<MetricsRecord>;
  /** Continues a prompt. */
  write(
    prompt: string,
    options: WriteOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WrittenPiece, GenerationResult, undefined>;
}

const warmupSteps = 10;

/** Compiles everything that training needs and sets the first weights. */
export async function createSession(options: SessionOptions): Promise<Session> {
  const { backend, size, seed } = options;
  const { config, batchSize, sequenceLength } = size;
  const tokenizer = byteTokenizer();
  const bytes = new TextEncoder().encode(options.text);
  const dataset = await buildTokenDataset(
    [{ name: "the text", read: () => Promise.resolve(bytes) }],
    { tokenizer, heldOutFraction: 0 },
  );
  const batches = createBatchSource({ tokens: dataset.train, batchSize, sequenceLength, seed });
  const store = backend.createStore();
  const init = await compile(declareInit(config, seed), backend, { store });
  await init.run({});
  init.dispose();
  const graph = declareTrainStep(config, {
    batch: batchSize,
    sequenceLength,
    biasUpdateSpeed: size.biasUpdateSpeed,
  });
  const program = await compile(graph, backend, { store });

  let done = 0;
  const step = async (): Promise<MetricsRecord> => {
    const begun = performance.now();
    const number = done + 1;
    const learningRate = size.learningRate * Math.min(1, number / warmupSteps);
    const { inputIds, width } = batches.batchAt(done);
    const outputs = await program.run({
      input_ids: hostTensor("i32", [batchSize, width], inputIds),
      learning_rate: hostTensor("f32", [], [learningRate]),
      step: hostTensor("i32", [], [number]),
    });
    done = number;
    const scalar = (name: string): number => Number(outputs[name]!.data[0]);
    for (const name of ["total_loss", "grad_norm"]) checkFinite(name, scalar(name), number);
    const seconds = (performance.now() - begun) / 1000;
    return {
      step: number,
      loss: scalar("loss"),
      mtpLoss: scalar("mtp_loss"),
      balanceLoss: scalar("balance_loss"),
      gradNorm: scalar("grad_norm"),
      learningRate,
      maxVio: Math.max(...loadsOf(outputs).map(([, load]) => maxViolation(load))),
      tokensPerSecond: batches.tokensPerBatch / seconds,
    };
  };

  const engine = lazily(() => createWriter(backend, store, size));
  return {
    parameters: countParameters(config).totalWithMtp,
    textBytes: bytes.length,
    kernels: program.program.kernels.length,
    step,
    async *write(prompt, { temperature, speculative, maxTokens, seed: drawSeed }, signal) {
      const rounds = (await engine()).stream(tokenizer.encode(prompt), {
        temperature,
        maxTokens,
        seed: drawSeed,
        speculative: speculative ? 1 : 0,
        signal,
      });
      for (;;) {
        const next = await rounds.next();
        if (next.done) return next.value;
        const { tokens, text = "" } = next.value;
        // All tokens of a round but its last were drafts. Only where a token is a character is it known which text is theirs.
        const drafted = text.length === tokens.length ? tokens.length - 1 : 0;
        yield { text, drafted };
      }
    },
  };
}

function createWriter(backend: Backend, store: Store, { config }: ModelSize): Promise<Engine> {
  const tokenizer = byteTokenizer();
  return createEngine({ config, backend, store, speculative: 1, tokenizer });
}

/** Makes something when it is first asked for; what failed is tried again. */
function lazily<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make().catch((error: unknown) => {
      made = undefined;
      throw error;
    });
    return made;
  };
}

function checkFinite(name: string, value: number, step: number): void {
  if (Number.isFinite(value)) return;
  throw new InputError({
    what: `${name} is ${value} in step ${step}`,
    where: "training",
    hint: "Start over, with another text or a smaller model.",
  });
}
