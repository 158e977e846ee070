/**
 * One sequence from prompt to last token. In: a model runner, a checked prompt and options. Out: the tokens of each round,
 * as they come. Without drafts a round decodes one token; with drafts it verifies them all and adds one: the same loop.
 * Knows token ids, not text.
 */
import { MetricsRecorder } from "./metrics.ts";
import type { GenerationMetrics } from "./metrics.ts";
import type { ModelRunner, Pass } from "./model-runner.ts";
import { rowOf } from "./model-runner.ts";
import { distribution } from "./sampling/logits-processors.ts";
import type { SamplingOptions } from "./sampling/logits-processors.ts";
import { drawToken, seededUniform } from "./sampling/sampler.ts";
import { proposeDrafts } from "./speculative/mtp-proposer.ts";
import type { News } from "./speculative/mtp-proposer.ts";
import { verifyDrafts } from "./speculative/rejection-sampler.ts";

/** Why a generation ended: an end token, `maxTokens`, or no position left. */
export type FinishReason = "stop" | "length" | "context";

export interface GenerationSettings {
  readonly sampling: SamplingOptions;
  readonly seed: number;
  readonly maxTokens: number;
  /** Positions that the cache has. */
  readonly maxLength: number;
  /** Tokens that end the sequence; they are part of it. */
  readonly stopIds: ReadonlySet<number>;
  /** Drafts per round; 0 decodes plainly. */
  readonly drafts: number;
  readonly signal?: AbortSignal | undefined;
}

export interface GenerationEnd extends GenerationMetrics {
  readonly finishReason: FinishReason;
}

/** Generates; yields the new tokens of each round, at least one. */
export async function* generateTokens(
  runner: ModelRunner,
  prompt: readonly number[],
  settings: GenerationSettings,
): AsyncGenerator<readonly number[], GenerationEnd, undefined> {
  const { sampling, maxLength, stopIds, signal } = settings;
  const uniform = seededUniform(settings.seed);
  const recorder = new MetricsRecorder();
  const isDrafting = settings.drafts > 0;
  const targetAt = (pass: Pass, row: number): Float64Array =>
    distribution(rowOf(pass.logits, row, runner.vocabSize), sampling);

  const { pass, start } = await prefill(runner, prompt, isDrafting, signal);
  /** Where the newest token stands; the model has not seen it yet. */
  let position = prompt.length;
  let token = drawToken(targetAt(pass, pass.count - 1), uniform(position, "token"));
  let news: News = { start, hidden: pass.hidden, nextIds: [...prompt.slice(start + 1), token] };
  recorder.prefilled(prompt.length);

  let fresh: readonly number[] = [token];
  let wanted = settings.maxTokens;
  for (;;) {
    yield fresh;
    wanted -= fresh.length;
    const end = (finishReason: FinishReason): GenerationEnd => ({
      finishReason,
      ...recorder.metrics,
    });
    if (stopIds.has(fresh.at(-1)!)) return end("stop");
    if (wanted <= 0) return end("length");
    if (position >= maxLength) return end("context");
    signal?.throwIfAborted();
    recorder.roundStarts();

    // A round gives one token more than it accepts; drafts past the wanted ones or past the cache would be in vain.
    const count = Math.min(settings.drafts, wanted - 1, maxLength - 1 - position);
    const drafts = count > 0 ? await proposeDrafts(runner, news, count, sampling, uniform) : [];
    signal?.throwIfAborted();
    const draftIds = drafts.map((draft) => draft.token);
    const passes = decodeAsNeeded(runner, [token, ...draftIds], position);
    const target = async (row: number): Promise<Float64Array> =>
      targetAt(...(await passes.upTo(row)));
    const verdict = await verifyDrafts(drafts, target, position + 1, uniform);
    const next = [...draftIds.slice(0, verdict.accepted), verdict.token];
    news = { start: position, hidden: passes.hidden(next.length), nextIds: next };
    position += next.length;
    token = verdict.token;

    const stop = next.findIndex((id) => stopIds.has(id));
    fresh = stop < 0 ? next : next.slice(0, stop + 1);
    recorder.decoded(fresh.length, drafts.length, Math.min(verdict.accepted, fresh.length));
  }
}

interface Decoding {
  /** The pass that holds a row, and the row's place in it. */
  upTo(row: number): Promise<[pass: Pass, row: number]>;
  /** Hidden states of the first rows, all of them run. */
  hidden(rows: number): Float32Array;
}

/** Decodes tokens, as many at once as the runner takes and no more of them than are asked for. */
function decodeAsNeeded(runner: ModelRunner, ids: readonly number[], start: number): Decoding {
  const { decodeRows, hiddenSize } = runner;
  const passes: Pass[] = [];
  return {
    async upTo(row) {
      const index = Math.floor(row / decodeRows);
      while (passes.length <= index) {
        const from = passes.length * decodeRows;
        passes.push(await runner.decode(ids.slice(from, from + decodeRows), start + from));
      }
      return [passes[index]!, row % decodeRows];
    },
    hidden(rows) {
      if (passes.length === 1) return passes[0]!.hidden.subarray(0, rows * hiddenSize);
      const all = passes.flatMap((pass) => Array.from(pass.hidden));
      return Float32Array.from(all.slice(0, rows * hiddenSize));
    },
  };
}

/** Runs the prompt in chunks; the module follows a chunk behind, as the last chunk's next token is not drawn yet. */
async function prefill(
  runner: ModelRunner,
  prompt: readonly number[],
  isDrafting: boolean,
  signal: AbortSignal | undefined,
): Promise<{ pass: Pass; start: number }> {
  for (let start = 0; ; start += runner.prefillChunk) {
    signal?.throwIfAborted();
    const end = Math.min(start + runner.prefillChunk, prompt.length);
    const pass = await runner.prefill(prompt.slice(start, end), start);
    if (end === prompt.length) return { pass, start };
    if (isDrafting) await runner.draft(pass.hidden, prompt.slice(start + 1, end + 1), start);
  }
}
