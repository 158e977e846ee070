/**
 * The model as three calls: prefill, decode and draft. In: token ids and the position of the first. Out: logits and hidden
 * states of each. Compiles the graphs over one store, whose latent cache they share; knows nothing of sampling. Going back
 * means calling with a smaller position: later rows are never read before they are written again.
 */
import { compile } from "@millrace/graph";
import type { Backend, CompiledProgram, HostTensor, Store } from "@millrace/graph";
import { declareDecode, declareMtp, declarePrefill, formatsOf } from "@millrace/model-v3";
import type { ModelConfig } from "@millrace/model-v3";

/** What the model says about the tokens of one call. */
export interface Pass {
  /** Tokens of the call. */
  readonly count: number;
  /** [count, vocabSize], flat. */
  readonly logits: Float32Array;
  /** [count, hiddenSize], flat: what an MTP module takes. */
  readonly hidden: Float32Array;
}

/** Row `row` of a flat matrix, not copied. */
export function rowOf(data: Float32Array, row: number, width: number): Float32Array {
  return data.subarray(row * width, (row + 1) * width);
}

/** The calls that generation makes of a model, one sequence at a time. */
export interface ModelRunner {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Most tokens of one prefill. */
  readonly prefillChunk: number;
  /** Most tokens of one decode. */
  readonly decodeRows: number;
  /** Most drafts of one round; 0 without an MTP module. */
  readonly maxDrafts: number;
  /** Tokens of a prompt, from position `start` on. */
  prefill(ids: readonly number[], start: number): Promise<Pass>;
  /** The newest token and drafts after it, from position `start` on. */
  decode(ids: readonly number[], start: number): Promise<Pass>;
  /** The MTP module over positions from `start` on, given their hidden states and the token after each. */
  draft(hidden: Float32Array, nextIds: readonly number[], start: number): Promise<Pass>;
  /** Bytes taken beside the store. */
  readonly bytes: number;
  dispose(): void;
}

export interface ModelRunnerOptions {
  readonly config: ModelConfig;
  readonly backend: Backend;
  /** Holds the parameters, in any of their formats, and the cache from now on. */
  readonly store: Store;
  /** Most positions of a sequence. */
  readonly maxLength: number;
  readonly prefillChunk: number;
  readonly maxDrafts: number;
}

/**
 * Tokens of one decode at most, whatever the number of drafts: backends choose how to compute a product by the largest number
 * of rows, so all generations run the same program and a token's bits do not depend on the drafts beside it. Later drafts
 * are verified in a pass of their own, if it comes to that.
 */
const decodeRows = 4;

/**
 * Lengths are rounded up to this, with masked keys in the rest. A run of few tokens and one of many then sum over the same
 * length in the same order, so that verifying drafts gives the bits that plain decoding gives; and backends that
 * specialise on sizes see few of them.
 */
const lengthStep = 16;

export function roundUpLength(length: number): number {
  return Math.ceil(length / lengthStep) * lengthStep;
}

/** Compiles what generation runs. */
export async function createModelRunner(options: ModelRunnerOptions): Promise<ModelRunner> {
  const { config, backend, store, prefillChunk, maxDrafts } = options;
  const { hiddenSize, vocabSize } = config;
  // Weights are as the store holds them; states it does not hold yet will be f32.
  const weights = formatsOf(store.specs);
  const cache = { batch: 1, maxLength: roundUpLength(options.maxLength), weights };
  const programs: CompiledProgram[] = [];
  const dispose = (): void => programs.forEach((program) => program.dispose());
  const load = async (graph: ReturnType<typeof declareDecode>): Promise<CompiledProgram> => {
    const program = await compile(graph, backend, { store });
    programs.push(program);
    return program;
  };
  try {
    const prefill = await load(declarePrefill(config, { ...cache, maxTokens: prefillChunk }));
    const decode = await load(declareDecode(config, { ...cache, maxTokens: decodeRows }));
    const mtpTokens = Math.max(prefillChunk, maxDrafts + 1);
    const module = (maxTokens: number): Promise<CompiledProgram> =>
      load(declareMtp(config, { ...cache, maxTokens }));
    // Two, as for the model itself: products with few rows are computed in another way.
    const mtp = maxDrafts > 0 ? await module(mtpTokens) : undefined;
    const mtpStep = mtp && mtpTokens > decodeRows ? await module(decodeRows) : mtp;
    const run = async (
      program: CompiledProgram,
      ids: readonly number[],
      start: number,
      hidden?: Float32Array,
    ): Promise<Pass> => {
      const count = ids.length;
      const inputs: Record<string, HostTensor> = {
        input_ids: { dtype: "i32", shape: [1, count], data: Int32Array.from(ids) },
        start: { dtype: "i32", shape: [], data: Int32Array.of(start) },
      };
      if (hidden) inputs["hidden"] = { dtype: "f32", shape: [1, count, hiddenSize], data: hidden };
      const out = await program.run(inputs, { S: roundUpLength(start + count) });
      const data = (name: string): Float32Array => out[name]!.data as Float32Array;
      return { count, logits: data("logits"), hidden: data("hidden") };
    };
    return {
      vocabSize,
      hiddenSize,
      prefillChunk,
      decodeRows,
      maxDrafts,
      prefill: (ids, start) => run(prefill, ids, start),
      decode: (ids, start) => run(decode, ids, start),
      draft: (hidden, ids, start) =>
        run((ids.length <= decodeRows ? mtpStep : mtp)!, ids, start, hidden),
      get bytes() {
        return programs.reduce((sum, program) => sum + program.bytes, 0);
      },
      dispose,
    };
  } catch (error) {
    dispose();
    throw error;
  }
}
