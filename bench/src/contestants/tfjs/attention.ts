/**
 * Attention in TensorFlow.js. In: a task. Out: batched products and a softmax, or their gradients. Heads are brought to the
 * front beforehand; queries that share one key are one long batch.
 */
import type { AttentionTask } from "../../case.ts";
import { attentionOperands, attentionScale } from "../../operands.ts";
import type { Prepared } from "../contestant.ts";
import type { Tensor, TensorFlow } from "./api.ts";

/** Minus infinity, nearly, where row `i` may not see a key; row i is token `tokenOf(i)`. */
export function causalMask(
  rows: number,
  keys: number,
  tokenOf: (row: number) => number,
): Float32Array<ArrayBuffer> {
  const mask = new Float32Array(rows * keys);
  for (let row = 0; row < rows; row++)
    mask.fill(-1e30, row * keys + tokenOf(row) + 1, (row + 1) * keys);
  return mask;
}

export function prepareTfjsAttention(tf: TensorFlow, task: AttentionTask): Prepared {
  const { batch, tokens, keys, heads, kvHeads, queryWidth, valueWidth, latent, backward } = task;
  const operands = attentionOperands(task);
  const own = kvHeads === heads;
  const front = (data: Float32Array<ArrayBuffer>, length: number, width: number): Tensor =>
    tf.tidy(() => {
      const tensor = tf.tensor(data, [batch, length, heads, width], "float32");
      return own
        ? tf.transpose(tensor, [0, 2, 1, 3])
        : tf.reshape(tensor, [batch, length * heads, width]);
    });
  const held = (data: Float32Array<ArrayBuffer>, width: number): Tensor =>
    own ? front(data, keys, width) : tf.tensor(data, [batch, keys, width], "float32");
  const q = front(operands.q, tokens, queryWidth);
  const k = held(operands.k, queryWidth);
  const v = latent
    ? tf.slice(k, [0, 0, 0], [batch, keys, valueWidth])
    : held(operands.v, valueWidth);
  const cotangent = front(operands.cotangent, tokens, valueWidth);
  const rows = own ? tokens : tokens * heads;
  const tokenOf = (row: number): number => keys - tokens + (own ? row : Math.floor(row / heads));
  const mask = tf.tensor(causalMask(rows, keys, tokenOf), [1, rows, keys], "float32");
  const forward = (a: Tensor, b: Tensor, c: Tensor): Tensor => {
    const scores = tf.matMul(tf.mul(a, attentionScale(task)), b, false, true);
    return tf.matMul(tf.softmax(tf.add(scores, mask)), c);
  };
  const gradients = tf.grads((a, b, c) => tf.sum(tf.mul(forward(a, b, c), cotangent)));
  const back = (x: Tensor): Tensor => (own ? tf.transpose(x, [0, 2, 1, 3]) : x);
  let results: readonly Tensor[] = [];
  return {
    run: () => {
      tf.dispose(results);
      results = tf.tidy(() => {
        const out = back(forward(q, k, v));
        return backward ? [out, ...gradients([q, k, v]).map(back)] : [out];
      });
    },
    result: () => results.flatMap((tensor) => [...tensor.dataSync()]),
    release: () => tf.dispose([...results, q, k, v, cotangent, mask]),
  };
}
