/**
 * Attention in jax-js. In: a task. Out: one jitted function of products and a softmax, or of its gradients; the library's own
 * attention function wants keys and values of one width, which these are not.
 */
import type { AttentionTask } from "../../case.ts";
import { attentionOperands, attentionScale } from "../../operands.ts";
import type { Prepared } from "../contestant.ts";
import type { Jax, JaxArray } from "./api.ts";

/** Takes its arguments over, as functions of jax-js do. */
type Attend = (q: JaxArray, k: JaxArray, v: JaxArray) => JaxArray;

function attend(jax: Jax, task: AttentionTask): Attend {
  const { numpy: np, nn } = jax;
  const { tokens, keys, heads, kvHeads } = task;
  const [scores, mixed] =
    kvHeads === heads
      ? ["bthd,bshd->bhts", "bhts,bshd->bthd"]
      : ["bthd,bsd->bhts", "bhts,bsd->bthd"];
  return (q, k, v) => {
    let weights = np.einsum(scores, q.mul(attentionScale(task)), k);
    if (tokens === keys && tokens > 1) {
      const visible = np.greater(np.tril(np.ones([tokens, keys])), 0.5);
      weights = np.where(visible, weights, -1e30);
    }
    return np.einsum(mixed, nn.softmax(weights, -1), v);
  };
}

export async function prepareJaxAttention(jax: Jax, task: AttentionTask): Promise<Prepared> {
  const np = jax.numpy;
  const { batch, tokens, keys, heads, kvHeads, queryWidth, valueWidth, latent, backward } = task;
  const operands = attentionOperands(task);
  const held = kvHeads === heads ? [batch, keys, heads] : [batch, keys];
  const q = np.array(operands.q).reshape([batch, tokens, heads, queryWidth]);
  const k = np.array(operands.k).reshape([...held, queryWidth]);
  const v = latent
    ? k.ref.slice([], [], [0, valueWidth])
    : np.array(operands.v).reshape([...held, valueWidth]);
  const cotangent = np.array(operands.cotangent).reshape([batch, tokens, heads, valueWidth]);
  const forward = attend(jax, task);
  const loss = (a: JaxArray, b: JaxArray, c: JaxArray, ct: JaxArray): JaxArray =>
    forward(a, b, c).mul(ct).sum();
  const gradients = jax.grad(loss, { argnums: [0, 1, 2] });
  const compiled = jax.jit((a: JaxArray, b: JaxArray, c: JaxArray, ct: JaxArray): JaxArray[] => {
    if (!backward) {
      ct.dispose();
      return [forward(a, b, c)];
    }
    const out = forward(a.ref, b.ref, c.ref);
    return [out, ...gradients(a, b, c, ct)];
  });
  let results: JaxArray[] = [];
  const drop = (): void => results.forEach((array) => array.dispose());
  return {
    run: async () => {
      drop();
      results = compiled(q.ref, k.ref, v.ref, cotangent.ref);
      for (const array of results) await array.blockUntilReady();
    },
    result: async () => {
      const parts: number[][] = [];
      for (const array of results) parts.push([...(await array.ref.data())]);
      return parts.flat();
    },
    release: () => {
      drop();
      [q, k, v, cotangent].forEach((array) => array.dispose());
    },
  };
}
