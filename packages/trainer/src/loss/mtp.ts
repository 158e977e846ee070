/**
 * Multi-token prediction while training. In: the main model's vectors and the rows of tokens. Out: the loss of every MTP
 * module, averaged over the modules, and what their routers chose. Module k sees at position i the vector of the depth
 * before it and the embedding of token i + k, and predicts token i + k + 1, so each depth has one position less. Source: arXiv
 * 2412.19437 §2.2; the mean is over the positions that have a label, as Megatron-LM does, where the paper divides by T.
 */
import { add, AttributeError, div, reshape, slice, type Tensor } from "@millrace/graph";
import { type Model, type ModelConfig, mtpInputOf, type Routing } from "@millrace/model-v3";

import { nextTokenLoss } from "./next-token.ts";

export interface MtpLoss {
  /** Mean over the modules of their mean cross-entropy, without the weight λ. */
  readonly loss: Tensor;
  readonly routing: readonly Routing[];
  /** Logits [B·(T − k), V] of module k = 1 … D. */
  readonly logits: readonly Tensor[];
}

/** What a depth hands to the next. */
interface Vectors {
  /** [B·positions, D] */
  readonly residual: Tensor;
  /** The same after the norm before the head. */
  readonly hidden: Tensor;
}

/** Throws where a sequence is too short for the last module to predict anything. */
export function expectPositions(config: ModelConfig, sequenceLength: number): void {
  const modules = config.numNextnPredictLayers;
  if (sequenceLength > modules) return;
  throw new AttributeError({
    what: `sequences of ${sequenceLength} tokens leave nothing to predict to the last of ${modules} MTP modules`,
    where: "training settings",
    hint: "Lengthen the sequences, or set num_nextn_predict_layers to fewer.",
  });
}

/** Declares all modules over `tokens` i32 [B, T + 1]; undefined where the model has none. */
export function mtpLoss(
  model: Model,
  config: ModelConfig,
  main: Vectors,
  tokens: Tensor,
): MtpLoss | undefined {
  const [batch, width] = tokens.shape as readonly [number, number];
  expectPositions(config, width - 1);
  const routing: Routing[] = [];
  const logits: Tensor[] = [];
  const losses: Tensor[] = [];
  let previous = main;
  for (let depth = 1; depth <= config.numNextnPredictLayers; depth++) {
    const positions = width - 1 - depth;
    const rows = reshape(mtpInputOf(config, previous), [batch, positions + 1, config.hiddenSize]);
    const kept = reshape(slice(rows, 1, 0, positions), [batch * positions, config.hiddenSize]);
    const module = model.mtp(depth, kept, slice(tokens, 1, depth, positions), {});
    const predicted = model.head(module.hidden);
    routing.push(...module.routing);
    logits.push(predicted);
    losses.push(nextTokenLoss(predicted, tokens, depth + 1));
    previous = module;
  }
  if (losses.length === 0) return undefined;
  return {
    loss: div(
      losses.reduce((a, b) => add(a, b)),
      losses.length,
    ),
    routing,
    logits,
  };
}
