/**
 * An MTP module over a cache of its own: what drafts for speculative decoding. In: hidden states of some positions and the
 * tokens after them. Out: logits of the tokens after those, and hidden states for the next draft. Sizes as in `decode.ts`.
 */
import { declare, multiplyDims, reshape } from "@millrace/graph";
import type { Graph } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { mtpInputOf } from "../model.ts";
import type { DecodeGraphOptions } from "./decode.ts";
import { inferenceModel } from "./inference.ts";

export interface MtpOptions extends Omit<DecodeGraphOptions, "taps"> {
  /** Which module, from 1; 1 by default. */
  readonly depth?: number;
}

/**
 * Inputs `hidden` f32 [B, T, D] (position i's, from `decode` or from this graph), `input_ids` i32 [B, T] (the token after
 * position i) and `start` i32 []; outputs `logits` f32 [B, T, V] and `hidden` f32 [B, T, D].
 */
export function declareMtp(config: ModelConfig, options: MtpOptions): Graph {
  const { batch, maxTokens, maxLength } = options;
  const { hiddenSize, vocabSize } = config;
  return declare("mtp", (b) => {
    const tokens = b.size("T", 1, maxTokens);
    const length = b.size("S", 1, maxLength);
    const hidden = b.input("hidden", "f32", [batch, tokens, hiddenSize]); // [B, T, D]
    const ids = b.input("input_ids", "i32", [batch, tokens]); // [B, T]
    const start = b.input("start", "i32", []); // []
    const { model } = inferenceModel(b, config, { attention: "absorbed", ...options });
    const previous = reshape(hidden, [multiplyDims(batch, tokens), hiddenSize]); // [N, D]
    const position = { start, cache: { maxLength, length } };
    const result = model.mtp(options.depth ?? 1, previous, ids, position); // hidden [N, D]
    return {
      logits: reshape(model.head(result.hidden), [batch, tokens, vocabSize]), // [B, T, V]
      hidden: reshape(mtpInputOf(config, result), [batch, tokens, hiddenSize]), // [B, T, D]
    };
  });
}
