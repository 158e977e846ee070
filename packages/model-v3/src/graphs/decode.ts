/**
 * The model over a cache: prefill takes many tokens, decoding one or a few at a time, both through the same states
 * `cache.layers.<i>.…`. In: tokens i32 [B, T] and where they start. Out: logits and hidden states. Sizes: T tokens of this
 * call, S tokens visible after it; run with `{ S: start + T }`. A smaller start takes rejected tokens back.
 */
import { declare, reshape } from "@millrace/graph";
import type { Graph } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { mtpInputOf } from "../model.ts";
import { inferenceModel } from "./inference.ts";
import type { InferenceOptions } from "./inference.ts";

export interface DecodeGraphOptions extends InferenceOptions {
  readonly batch: number;
  /** Most tokens of one call. */
  readonly maxTokens: number;
  /** Tokens that the cache holds. */
  readonly maxLength: number;
}

/**
 * Inputs `input_ids` i32 [B, T] and `start` i32 []; outputs `logits` f32 [B, T, V] and `hidden` f32 [B, T, D], which is what
 * the first MTP module takes. The absorbed form by default.
 */
export function declareDecode(config: ModelConfig, options: DecodeGraphOptions): Graph {
  return declareCached("decode", config, { attention: "absorbed", ...options });
}

/** As `declareDecode`, in the naive form by default: cheaper where there are many tokens at once. */
export function declarePrefill(config: ModelConfig, options: DecodeGraphOptions): Graph {
  return declareCached("prefill", config, { attention: "naive", ...options });
}

function declareCached(name: string, config: ModelConfig, options: DecodeGraphOptions): Graph {
  const { batch, maxTokens, maxLength } = options;
  return declare(name, (b) => {
    const tokens = b.size("T", 1, maxTokens);
    const length = b.size("S", 1, maxLength);
    const ids = b.input("input_ids", "i32", [batch, tokens]); // [B, T]
    const start = b.input("start", "i32", []); // []
    const { model, tapped } = inferenceModel(b, config, options);
    const result = model.forward(ids, { start, cache: { maxLength, length } }); // hidden [N, D]
    const logits = model.head(result.hidden); // [N, V]
    return {
      logits: reshape(logits, [batch, tokens, config.vocabSize]), // [B, T, V]
      hidden: reshape(mtpInputOf(config, result), [batch, tokens, config.hiddenSize]), // [B, T, D]
      ...tapped,
    };
  });
}
