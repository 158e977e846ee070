/**
 * The model over a cache: prefill takes many tokens, decoding one or a few at a time, both through the same states
 * `cache.layers.<i>.…`. In: tokens i32 [B, T] and where they start. Out: logits and hidden states. Sizes: T tokens of this
 * call, S tokens visible after it; run with `{ S: start + T }`. A smaller start takes rejected tokens back.
 */
import { declare, reshape } from "@millrace/graph";
import type { Graph, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { Precision } from "../layers/linear.ts";
import type { AttentionForm } from "../layers/mla.ts";
import { createModel, mtpInputOf } from "../model.ts";
import type { WeightFormats } from "../weight-formats.ts";

export interface DecodeGraphOptions {
  readonly batch: number;
  /** Most tokens of one call. */
  readonly maxTokens: number;
  /** Tokens that the cache holds. */
  readonly maxLength: number;
  readonly attention?: AttentionForm;
  readonly precision?: Precision;
  /** How weights are stored, if not in f32. */
  readonly weights?: WeightFormats;
  /** Which intermediate values become outputs of their own, under their tap names; none by default. */
  readonly taps?: (name: string) => boolean;
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

function declareCached(
  name: string,
  config: ModelConfig,
  options: DecodeGraphOptions & { readonly attention: AttentionForm },
): Graph {
  const { batch, maxTokens, maxLength, attention, precision = "f32", taps = () => false } = options;
  return declare(name, (b) => {
    const outputs: Record<string, Tensor> = {};
    const tokens = b.size("T", 1, maxTokens);
    const length = b.size("S", 1, maxLength);
    const ids = b.input("input_ids", "i32", [batch, tokens]); // [B, T]
    const start = b.input("start", "i32", []); // []
    const tap = (tapName: string, value: Tensor): void => {
      if (taps(tapName)) outputs[tapName] = value;
    };
    const model = createModel(b, config, {
      precision,
      powerOfTwoScales: false,
      attention,
      tap,
      ...(options.weights && { weights: options.weights }),
    });
    const result = model.forward(ids, { start, cache: { maxLength, length } }); // hidden [N, D]
    const logits = model.head(result.hidden); // [N, V]
    return {
      logits: reshape(logits, [batch, tokens, config.vocabSize]), // [B, T, V]
      hidden: reshape(mtpInputOf(config, result), [batch, tokens, config.hiddenSize]), // [B, T, D]
      ...outputs,
    };
  });
}
