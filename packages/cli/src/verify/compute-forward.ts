/**
 * Whole sequences without a cache: logits, those of the MTP module, and every intermediate value. In: a case with tokens and a
 * model. Out: each tensor twice, from the naive and from the absorbed form of the attention.
 */
import type { HostTensor } from "@millrace/graph";
import {
  type AttentionForm,
  attentionForms,
  declareLogits,
  type Precision,
} from "@millrace/model-v3";

import { type Case, columns, loadStore, modelOf, numbersOf, readTokens, runOnce } from "./case.ts";
import { addTo, type Computed, type Numbers } from "./compare.ts";

const tapped =
  /^(logits$|(hidden|mla|router|rope|attn|mlp)\.|mtp(\.\d+)?\.(logits|eh_proj_output|final_norm)$)/;

export const isForwardName = (name: string): boolean => tapped.test(name);

/** Everything wanted of one pass over `ids`. */
async function forward(
  from: Case,
  ids: HostTensor,
  names: ReadonlySet<string>,
  form: { readonly attention: AttentionForm; readonly precision?: Precision },
): Promise<Record<string, HostTensor>> {
  const { config } = modelOf(from);
  const [batch, tokens] = ids.shape as [number, number];
  const graph = declareLogits(config, { batch, tokens, taps: (name) => names.has(name), ...form });
  return runOnce(from, graph, { input_ids: ids }, await loadStore(from));
}

/** Tensors of the uncached pass over all tokens but the last `labels`. */
export async function computeForward(
  from: Case,
  names: readonly string[],
  labels = 0,
): Promise<Computed> {
  const all = await readTokens(from);
  const ids = columns(all, 0, all.shape[1]! - labels);
  const wanted = new Set(names);
  const computed = new Map<string, Numbers[]>();
  for (const attention of attentionForms) {
    const outputs = await forward(from, ids, wanted, { attention });
    for (const name of names) if (outputs[name]) addTo(computed, name, numbersOf(outputs[name]));
  }
  return computed;
}

/** The whole model with FP8 products, under the names `fp8_gemm.logits_…`. */
export async function computeFp8Logits(from: Case, names: readonly string[]): Promise<Computed> {
  const ids = await readTokens(from);
  const computed = new Map<string, Numbers[]>();
  const forms = { "fp8_gemm.logits_naive": "naive", "fp8_gemm.logits_absorb": "absorbed" } as const;
  for (const [name, attention] of Object.entries(forms)) {
    if (!names.includes(name)) continue;
    const outputs = await forward(from, ids, new Set(), { attention, precision: "fp8" });
    addTo(computed, name, numbersOf(outputs["logits"]!));
  }
  return computed;
}

/** What the MTP module is given and asked for, from the tokens alone. */
export async function computeMtpTokens(from: Case): Promise<Computed> {
  const ids = await readTokens(from);
  const [batch, tokens] = ids.shape as [number, number];
  const positions = Float64Array.from({ length: batch * (tokens - 1) }, (_, i) => i % (tokens - 1));
  return new Map([
    ["mtp.input_ids", [numbersOf(columns(ids, Math.min(1, tokens), tokens))]],
    ["mtp.target_ids", [numbersOf(columns(ids, Math.min(2, tokens), tokens))]],
    ["mtp.position_ids", [{ shape: [batch, tokens - 1], values: positions }]],
  ]);
}
