/**
 * Prefill and decoding over the latent cache. In: a case with tokens and `prefill_length`. Out: `prefill.*` of the first call,
 * `decode.*` of one call per token after it, the cache at the end, and the greedy continuation of the prompt; all of the
 * absorbed form, `*_naive` of the other.
 */
import { type CompiledProgram, type HostTensor, hostTensor, InputError } from "@millrace/graph";
import { attentionForms, declareDecode } from "@millrace/model-v3";

import {
  type Case,
  columns,
  loadStore,
  modelOf,
  numbersOf,
  readTokens,
  withProgram,
} from "./case.ts";
import { addTo, type Computed, type Numbers } from "./compare.ts";

const stages = ["prefill.", "decode."] as const;

export const isDecodeName = (name: string): boolean =>
  stages.some((stage) => name.startsWith(stage)) ||
  name.startsWith("mla.layers.") ||
  name === "greedy.tokens";

/** One call: `ids` [B, T] from position `start` on. */
function call(
  program: CompiledProgram,
  ids: HostTensor,
  start: number,
): Promise<Record<string, HostTensor>> {
  const length = start + ids.shape[1]!;
  return program.run({ input_ids: ids, start: hostTensor("i32", [], [start]) }, { S: length });
}

export async function computeDecode(from: Case, names: readonly string[]): Promise<Computed> {
  const { config } = modelOf(from);
  const ids = await readTokens(from);
  const [batch, tokens] = ids.shape as [number, number];
  const prompt = await promptLength(from, tokens);
  const greedy = from.expected.entries.get("greedy.tokens")?.shape[1] ?? 0;
  const maxLength = Math.max(tokens, prompt + greedy);
  const taps = (name: string): boolean => stages.some((stage) => names.includes(stage + name));
  const computed = new Map<string, Numbers[]>();
  for (const attention of attentionForms) {
    const graph = declareDecode(config, { batch, maxTokens: prompt, maxLength, attention, taps });
    const store = await loadStore(from);
    await withProgram(from, graph, store, async (program) => {
      const first = await call(program, columns(ids, 0, prompt), 0);
      const later: Record<string, HostTensor>[] = [];
      for (let at = prompt; at < tokens; at++)
        later.push(await call(program, columns(ids, at, at + 1), at));
      if (attention === "naive") {
        computed.set("prefill.logits_naive", [numbersOf(first["logits"]!)]);
        computed.set("decode.logits_naive", [stack(later, "logits", batch)]);
      } else {
        for (const [name, value] of Object.entries(first))
          computed.set(`prefill.${name}`, [numbersOf(value)]);
        for (const name of Object.keys(later[0] ?? {}))
          computed.set(`decode.${name}`, [stack(later, name, batch)]);
      }
      for (const name of names)
        if (name.startsWith("mla.") && store.specs.some((spec) => spec.name === stateOf(name)))
          addTo(computed, name, firstRows(await store.read(stateOf(name)), tokens));
      if (greedy > 0)
        addTo(computed, "greedy.tokens", await greedyTokens(program, ids, prompt, greedy));
    });
  }
  return computed;
}

/** `mla.layers.1.c_kv` is the state `cache.layers.1.c_kv`. */
const stateOf = (name: string): string => name.replace(/^mla\./, "cache.");

async function promptLength(from: Case, tokens: number): Promise<number> {
  const { values } = await from.expected.readNumbers("prefill_length");
  const length = values[0];
  if (values.length === 1 && Number.isInteger(length) && length! >= 1 && length! <= tokens)
    return length!;
  throw new InputError({
    what: `prefill_length is [${values.join(", ")}] for ${tokens} tokens`,
    where: from.expected.name,
    hint: "Give one number from 1 to the number of tokens.",
  });
}

/** Single-token outputs [B, 1, …] one after the other: [B, steps, …]. */
function stack(
  steps: readonly Readonly<Record<string, HostTensor>>[],
  name: string,
  batch: number,
): Numbers {
  const pieces = steps.map((step) => numbersOf(step[name]!));
  const width = (pieces[0]?.values.length ?? 0) / batch;
  const values = new Float64Array(batch * pieces.length * width);
  pieces.forEach((piece, step) => {
    for (let row = 0; row < batch; row++)
      values.set(
        piece.values.subarray(row * width, (row + 1) * width),
        (row * pieces.length + step) * width,
      );
  });
  return { shape: [batch, pieces.length, width], values };
}

/** The first `count` rows of a cache [B, maxLength, …]. */
function firstRows(cache: HostTensor, count: number): Numbers {
  const { shape, values } = numbersOf(cache);
  const [batch, length] = shape as [number, number];
  const width = values.length / (batch * length);
  const kept = new Float64Array(batch * count * width);
  for (let row = 0; row < batch; row++)
    kept.set(
      values.subarray(row * length * width, (row * length + count) * width),
      row * count * width,
    );
  return { shape: [batch, count, ...shape.slice(2)], values: kept };
}

/** The most likely continuation of the first `prompt` tokens, [B, count]. */
async function greedyTokens(
  program: CompiledProgram,
  ids: HostTensor,
  prompt: number,
  count: number,
): Promise<Numbers> {
  const batch = ids.shape[0]!;
  const values = new Float64Array(batch * count);
  let next = columns(ids, 0, prompt);
  let start = 0;
  for (let step = 0; step < count; step++) {
    const best = lastBest((await call(program, next, start))["logits"]!);
    best.forEach((token, row) => (values[row * count + step] = token));
    start += next.shape[1]!;
    next = hostTensor("i32", [batch, 1], best);
  }
  return { shape: [batch, count], values };
}

/** The largest logit of each sequence's last position, of logits [B, T, V]. */
function lastBest(logits: HostTensor): number[] {
  const [batch, tokens, vocabulary] = logits.shape as [number, number, number];
  return Array.from({ length: batch }, (_, row) => {
    const end = (row + 1) * tokens * vocabulary;
    const last = logits.data.subarray(end - vocabulary, end) as Float32Array;
    return last.reduce((best, value, token) => (value > last[best]! ? token : best), 0);
  });
}
