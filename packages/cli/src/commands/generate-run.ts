/**
 * The run behind `millrace generate`. In: a checkpoint directory and checked options. Out: the continuation on stdout, as text
 * while it comes or as one JSON object at the end; what it took on stderr.
 */
import type { Backend } from "@millrace/graph";
import { type GenerationConfig, loadIntoStore } from "@millrace/model-v3";
import {
  type Checkpoint,
  openCheckpoint,
  readGenerationConfig,
  readTokenizer,
} from "@millrace/model-v3/node";
import {
  createEngine,
  type Engine,
  type GenerationResult,
  type SamplingOptions,
} from "@millrace/runtime";

import type { CliContext } from "../context.ts";
import { withProfiledBackend } from "../profile-runs.ts";
import type { GenerateOptions } from "./generate.ts";

export async function runGenerate(
  directory: string,
  options: GenerateOptions,
  context: CliContext,
): Promise<void> {
  const checkpoint = await openCheckpoint(directory);
  try {
    await withProfiledBackend(options, context, (backend) =>
      generateOn(directory, { backend, checkpoint }, options, context),
    );
  } finally {
    await checkpoint.close();
  }
}

async function generateOn(
  directory: string,
  { backend, checkpoint }: { readonly backend: Backend; readonly checkpoint: Checkpoint },
  options: GenerateOptions,
  context: CliContext,
): Promise<void> {
  const store = backend.createStore();
  let engine: Engine | undefined;
  try {
    const { config, weights } = checkpoint;
    const tokenizer = await readTokenizer(directory);
    const wanted = await readGenerationConfig(directory);
    const speculative = options.speculative === "off" ? 0 : options.speculative;
    const { maxTokens, seed } = options;
    const prompt =
      options.promptIds ??
      tokenizer.encode(options.prompt ?? "", {
        addSpecialTokens: await hasTokenizer(checkpoint),
      });
    context.stderr.write(`loading ${directory}\n`);
    await loadIntoStore(weights, config, store, {
      mtp: speculative > 0,
      weights: options.weights,
    });
    engine = await createEngine({
      config,
      backend,
      store,
      speculative,
      // No more cache than this run can fill.
      maxLength: Math.min(config.maxPositionEmbeddings, prompt.length + maxTokens),
      // Models may have more ids than their tokenizer has tokens; those have no text.
      tokenizer: {
        decode: (ids) => tokenizer.decode(Array.from(ids).filter((id) => id < tokenizer.vocabSize)),
      },
    });
    const stream = engine.stream(prompt, {
      ...samplingOf(options, wanted),
      maxTokens,
      seed,
      stopIds: wanted?.eosTokenId ?? undefined,
    });
    const result = await follow(stream, options.json ? undefined : context.stdout);
    if (options.json) context.stdout.write(`${JSON.stringify(jsonOf(result))}\n`);
    else context.stderr.write(describe(result));
  } finally {
    engine?.dispose();
    store.dispose();
  }
}

/** What the command line says, else what the model's folder says; without either, the likeliest token is taken. */
function samplingOf(
  { temperature, topK, topP, minP }: GenerateOptions,
  wanted: GenerationConfig | undefined,
): SamplingOptions {
  return {
    temperature: temperature ?? (wanted?.doSample ? (wanted.temperature ?? 1) : 0),
    topK: topK ?? wanted?.topK ?? undefined,
    topP: topP ?? wanted?.topP ?? undefined,
    minP: minP ?? wanted?.minP ?? undefined,
  };
}

/**
 * True where the folder has a tokenizer of its own: its begin token is what the model was trained to start with. Byte models
 * have seen only the separator of documents, and a prompt starts within one.
 */
async function hasTokenizer({ directory }: Checkpoint): Promise<boolean> {
  return (await directory.list()).includes("tokenizer.json");
}

/** Runs a generation to its end and writes the text as it comes. */
async function follow(
  stream: ReturnType<Engine["stream"]>,
  out: CliContext["stdout"] | undefined,
): Promise<GenerationResult> {
  for (;;) {
    const next = await stream.next();
    if (next.done) {
      out?.write("\n");
      return next.value;
    }
    if (next.value.text) out?.write(next.value.text);
  }
}

/** The keys are fixed, other tools read them. */
function jsonOf(result: GenerationResult): Record<string, unknown> {
  const { tokens, text, drafted, accepted, finishReason } = result;
  const { prefillTokensPerSecond, decodeTokensPerSecond } = result;
  return {
    tokens,
    text,
    drafted,
    accepted,
    prefillTokensPerSecond,
    decodeTokensPerSecond,
    finishReason,
  };
}

function describe(result: GenerationResult): string {
  const { tokens, drafted, accepted, rounds, finishReason } = result;
  const { prefillTokensPerSecond: prefill, decodeTokensPerSecond: decode } = result;
  const speed = `${tokens.length} tokens (${finishReason}); tokens/s: prefill ${prefill.toFixed(1)}, decode ${decode.toFixed(1)}`;
  if (drafted === 0) return `${speed}\n`;
  const share = ((100 * accepted) / drafted).toFixed(0);
  return `${speed}; ${accepted} of ${drafted} drafts accepted (${share} %) in ${rounds} rounds\n`;
}
