/**
 * The model over whole sequences, without a cache. In: tokens i32 [B, T]. Out: logits of every position, those of each MTP
 * module too, and named intermediate values if asked for.
 */
import { addDims, declare, multiplyDims, reshape, slice } from "@millrace/graph";
import type { Dim, Graph, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { mtpInputOf } from "../model.ts";
import type { ForwardResult, Model } from "../model.ts";
import { inferenceModel } from "./inference.ts";
import type { InferenceOptions } from "./inference.ts";

export interface LogitsOptions extends InferenceOptions {
  readonly batch: number;
  /** Tokens per sequence. */
  readonly tokens: number;
}

/**
 * Input `input_ids` i32 [B, T]; outputs `logits` f32 [B, T, V] and, with an MTP module, `mtp.logits` [B, T-1, V] (`mtp.2.logits`
 * [B, T-2, V] of the second, and so on).
 */
export function declareLogits(config: ModelConfig, options: LogitsOptions): Graph {
  const { batch, tokens } = options;
  return declare("logits", (b) => {
    const ids = b.input("input_ids", "i32", [batch, tokens]); // [B, T]
    const { model, tapped } = inferenceModel(b, config, options);
    const result = model.forward(ids); // hidden [N, D]
    const logits = reshape(model.head(result.hidden), [batch, tokens, config.vocabSize]); // [B, T, V]
    return { logits, ...mtpLogits(model, ids, result), ...tapped };
  });
}

/** Logits of every MTP module that has a token to predict from. */
function mtpLogits(model: Model, ids: Tensor, main: ForwardResult): Record<string, Tensor> {
  const { config } = model;
  const [batch, tokens] = ids.shape as [Dim, number]; // ids [B, T]
  const outputs: Record<string, Tensor> = {};
  let previous = mtpInputOf(config, main); // [B*T, D]
  for (let depth = 1; depth <= config.numNextnPredictLayers && depth < tokens; depth++) {
    const count = tokens - depth;
    const nextIds = slice(ids, 1, depth, count); // [B, T-k]
    const shorter = dropLast(previous, batch, count); // [B*(T-k), D]
    const result = model.mtp(depth, shorter, nextIds);
    const logits = model.head(result.hidden); // [B*(T-k), V]
    const name = depth === 1 ? "mtp.logits" : `mtp.${depth}.logits`;
    outputs[name] = reshape(logits, [batch, count, config.vocabSize]); // [B, T-k, V]
    previous = mtpInputOf(config, result); // [B*(T-k), D]
  }
  return outputs;
}

/** All but the last position of every sequence: hidden [B*(count+1), D] to [B*count, D]. */
export function dropLast(hidden: Tensor, batch: Dim, count: Dim): Tensor {
  const width = hidden.shape[1]!;
  const split = reshape(hidden, [batch, addDims(count, 1), width]); // [B, count+1, D]
  return reshape(slice(split, 1, 0, count), [multiplyDims(batch, count), width]); // [B*count, D]
}
