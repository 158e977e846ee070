/**
 * llama.cpp through node-llama-cpp. In: a dense model that is a Llama in all but name, and a format of weights. Out: the same
 * weights in a file of its own format, evaluated token by token. Only the binary that the package brings is used.
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashText } from "@millrace/graph";
import type { ModelConfig } from "@millrace/model-v3";
import { formatsFor, parameterTable } from "@millrace/model-v3";
import type { GenerateTask, Task } from "../case.ts";
import { parameterValues, tokenRows } from "../model-values.ts";
import { Absent, optionalPackage, versionOf } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import type { GgufFormat, GgufTensor, GgufValue } from "./llama/gguf.ts";
import { writeGguf } from "./llama/gguf.ts";

const PACKAGE = "node-llama-cpp";

type Input = readonly [
  token: number,
  options: { readonly generateNext: { readonly logits?: boolean; readonly token?: boolean } },
];

interface Sequence {
  controlledEvaluate(
    input: readonly (Input | number)[],
  ): Promise<readonly ({ readonly next: { readonly logits?: Map<number, number> } } | undefined)[]>;
  eraseContextTokenRanges(
    ranges: readonly { readonly start: number; readonly end: number }[],
  ): Promise<void>;
}

interface Llama {
  loadModel(options: { readonly modelPath: string; readonly gpuLayers: number }): Promise<{
    createContext(options: Readonly<Record<string, unknown>>): Promise<{ getSequence(): Sequence }>;
    dispose(): Promise<void>;
  }>;
  dispose(): Promise<void>;
}

interface Package {
  getLlama(options: Readonly<Record<string, unknown>>): Promise<Llama>;
}

const names: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens\.weight$/, "token_embd.weight"],
  [/^model\.norm\.weight$/, "output_norm.weight"],
  [/^lm_head\.weight$/, "output.weight"],
  [/^model\.layers\.(\d+)\.input_layernorm\.weight$/, "blk.$1.attn_norm.weight"],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\.weight$/, "blk.$1.ffn_norm.weight"],
  [/^model\.layers\.(\d+)\.self_attn\.o_proj\.weight$/, "blk.$1.attn_output.weight"],
  [/^model\.layers\.(\d+)\.self_attn\.(\w)_proj\.weight$/, "blk.$1.attn_$2.weight"],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight$/, "blk.$1.ffn_$2.weight"],
];

function ggufName(name: string): string {
  const found = names.find(([pattern]) => pattern.test(name));
  if (!found) throw new Absent("only the dense model is one that llama.cpp has");
  return name.replace(found[0], found[1]);
}

/** Tokens that mean nothing, with those that the loader insists on: unknown, control, one for each byte. */
function vocabularyOf(size: number): readonly { readonly text: string; readonly type: number }[] {
  const byte = (value: number): string =>
    `<0x${value.toString(16).toUpperCase().padStart(2, "0")}>`;
  return Array.from({ length: size }, (_, i) => {
    if (i === 0) return { text: "<unk>", type: 2 };
    if (i < 3) return { text: i === 1 ? "<s>" : "</s>", type: 3 };
    return i < 259 ? { text: byte(i - 3), type: 6 } : { text: `token${i}`, type: 1 };
  });
}

function keysOf(config: ModelConfig): Record<string, GgufValue> {
  const u32 = (value: number): GgufValue => ({ kind: "u32", value });
  const f32 = (value: number): GgufValue => ({ kind: "f32", value });
  const vocabulary = vocabularyOf(config.vocabSize);
  return {
    "general.architecture": { kind: "text", value: "llama" },
    "general.name": { kind: "text", value: "bench" },
    "llama.context_length": u32(config.maxPositionEmbeddings),
    "llama.embedding_length": u32(config.hiddenSize),
    "llama.block_count": u32(config.numHiddenLayers),
    "llama.feed_forward_length": u32(config.intermediateSize),
    "llama.attention.head_count": u32(config.numAttentionHeads),
    "llama.attention.head_count_kv": u32(config.numKeyValueHeads),
    "llama.attention.layer_norm_rms_epsilon": f32(config.rmsNormEps),
    "llama.rope.dimension_count": u32(config.qkRopeHeadDim),
    "llama.rope.freq_base": f32(config.ropeTheta),
    "llama.vocab_size": u32(config.vocabSize),
    "tokenizer.ggml.model": { kind: "text", value: "llama" },
    "tokenizer.ggml.tokens": { kind: "texts", value: vocabulary.map(({ text }) => text) },
    "tokenizer.ggml.scores": { kind: "floats", value: vocabulary.map((_, i) => -i) },
    "tokenizer.ggml.token_type": {
      kind: "whole numbers",
      value: vocabulary.map(({ type }) => type),
    },
    "tokenizer.ggml.bos_token_id": u32(1),
    "tokenizer.ggml.eos_token_id": u32(2),
  };
}

/** The model's file, written unless another process of this run has. What is not a matrix of a layer is f32, as with us. */
function modelFile(config: ModelConfig, format: GgufFormat): string {
  const folder = process.env["MILLRACE_BENCH_FILES"] ?? tmpdir();
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${hashText(JSON.stringify(config))}-${format}.gguf`);
  if (existsSync(path)) return path;
  const formats = formatsFor(config, format);
  const tensors = parameterTable(config).map((spec): GgufTensor => ({
    name: ggufName(spec.name),
    shape: spec.shape,
    format: formats.has(spec.name) ? format : "f32",
    make: () => parameterValues(config, spec),
  }));
  const unfinished = `${path}.${process.pid}`;
  writeGguf(unfinished, keysOf(config), tensors);
  renameSync(unfinished, path);
  return path;
}

async function prepareGenerate(
  llama: Llama,
  threads: number,
  task: GenerateTask,
): Promise<Prepared> {
  const { config, weights, phase, start, count } = task;
  if (weights === "e4m3fn") throw new Absent("no FP8");
  const model = await llama.loadModel({ modelPath: modelFile(config, weights), gpuLayers: 0 });
  const length = start + count;
  const context = await model.createContext({
    contextSize: Math.max(64, length + 8),
    batchSize: Math.max(64, length),
    threads: { ideal: threads, min: threads },
    sequences: 1,
  });
  const sequence = context.getSequence();
  const ids = [...tokenRows(config, 1, length)].slice(0, length);
  const erase = (from: number): Promise<void> =>
    sequence.eraseContextTokenRanges([{ start: from, end: length + 8 }]);
  const next = (token: number, logits: boolean): Input => [
    token,
    { generateNext: logits ? { logits: true } : { token: true } },
  ];
  /** The tokens after `start`: one by one, or all at once with a prediction at the end. */
  const evaluate = async (logits: boolean): Promise<Map<number, number> | undefined> => {
    const own = ids.slice(start);
    const last = next(own.at(-1)!, logits);
    if (phase === "prefill")
      return (await sequence.controlledEvaluate([...own.slice(0, -1), last])).at(-1)?.next.logits;
    for (const id of own.slice(0, -1)) await sequence.controlledEvaluate([next(id, false)]);
    return (await sequence.controlledEvaluate([last]))[0]?.next.logits;
  };
  if (start > 0) await sequence.controlledEvaluate(ids.slice(0, start));
  return {
    run: async () => {
      await erase(start);
      await evaluate(false);
    },
    result: async () => {
      await erase(start);
      const logits = await evaluate(true);
      return Float32Array.from(
        { length: config.vocabSize },
        (_, i) => logits?.get(i) ?? Number.NaN,
      );
    },
    release: () => model.dispose(),
  };
}

export async function enter(threads: number): Promise<Contestant> {
  const library = await optionalPackage<Package>(PACKAGE);
  const llama = await library.getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: "error",
    maxThreads: threads,
  });
  return {
    version: versionOf(PACKAGE),
    prepare: async (task: Task) => {
      if (task.kind === "generate") return prepareGenerate(llama, threads, task);
      throw new Absent("a runtime for language models only");
    },
  };
}
