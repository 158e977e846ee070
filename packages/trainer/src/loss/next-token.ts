/**
 * Next-token loss. In: logits of every position, and the rows of tokens they were computed from. Out: the mean
 * cross-entropy over all positions, in nats. Documents are packed without masking between them, so every position counts.
 */
import { crossEntropy, mean, reshape, slice, type Tensor } from "@millrace/graph";

/**
 * Mean loss, a scalar. Position i of a row of `tokens` i32 [B, W] has logits row b·T + i and is asked for token i + `ahead`;
 * `logits` [B·T, V] covers the T = W − `ahead` positions for which that token is there.
 */
export function nextTokenLoss(logits: Tensor, tokens: Tensor, ahead = 1): Tensor {
  const [batch, width] = tokens.shape as readonly [number, number];
  const positions = width - ahead;
  const labels = slice(tokens, 1, ahead, positions); // [B, T]
  return mean(crossEntropy(logits, reshape(labels, [batch * positions])));
}
