/**
 * Losses that ask for evenly loaded experts. In: what a router scored and chose. Out: α · Σ_e f_e P_e, where f_e is the share
 * of choices that fell on expert e (1 when even) and P_e the mean normalised score; f is a constant for the gradient. V3's small
 * complement to the bias counts the K largest raw scores of each sequence (formula 18 of arXiv 2412.19437); the auxiliary loss of
 * earlier MoEs (arXiv 2405.04434 §2.2.3) counts the choices that were made, per sequence or over the batch.
 */
import {
  broadcastTo,
  convert,
  div,
  mean,
  mul,
  reshape,
  sum,
  type Tensor,
  topK,
} from "@millrace/graph";
import type { ModelConfig, Routing } from "@millrace/model-v3";

import { expertCounts } from "../balance/expert-load.ts";

/** The balance loss of one layer and its factors, each [sequences, E]. */
export interface BalanceLoss {
  readonly layer: number;
  readonly f: Tensor;
  readonly p: Tensor;
  readonly loss: Tensor;
}

/** The loss that `config.balance` asks for, over a batch of `sequences` sequences of equal length. */
export function balanceLoss(routing: Routing, config: ModelConfig, sequences: number): BalanceLoss {
  const { numExpertsPerTok: k, balance, seqAux, auxLossAlpha } = config;
  const auxiliary = balance === "auxiliary";
  const [rows, experts] = routing.scores.shape as readonly [number, number];
  const groups = auxiliary && !seqAux ? 1 : sequences;
  const tokens = rows / groups;
  const chosen = auxiliary ? routing.indices : topK(routing.scores, k)[1]; // [N, K]
  const counts = expertCounts(reshape(chosen, [groups, tokens * k]), experts); // [groups, E]
  const f = mul(convert(counts, "f32"), experts / (k * tokens));
  const total = broadcastTo(sum(routing.scores, [1]), routing.scores.shape, [0]);
  const shares = reshape(div(routing.scores, total), [groups, tokens, experts]);
  const p = mean(shares, [1]); // [groups, E]
  const loss = mul(mean(sum(mul(f, p), [1])), auxLossAlpha);
  return { layer: routing.layer, f, p, loss };
}
