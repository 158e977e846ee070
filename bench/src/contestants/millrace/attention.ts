/**
 * Our attention. In: a task. Out: one program: the result, or the result and its gradients; over heads' keys and values, or
 * over a compressed cache whose key holds the value.
 */
import type { Backend, GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import { attention, declare, gradients, latentAttention, mul, sum } from "@millrace/graph";
import type { AttentionTask } from "../../case.ts";
import { attentionOperands, attentionScale } from "../../operands.ts";
import type { Prepared } from "../contestant.ts";
import { f32, overStates } from "./program.ts";

/** The part of each row of `width` elements from `from` to `to`. */
function columns(
  data: Float32Array,
  width: number,
  from: number,
  to: number,
): Float32Array<ArrayBuffer> {
  const rows = data.length / width;
  const out = new Float32Array(rows * (to - from));
  for (let row = 0; row < rows; row++)
    out.set(data.subarray(row * width + from, row * width + to), row * (to - from));
  return out;
}

interface Operands {
  readonly states: Readonly<Record<string, HostTensor>>;
  /** Names in the order of the function's arguments. */
  readonly order: readonly string[];
}

function operandsOf(task: AttentionTask): Operands {
  const { batch: B, tokens: T, keys: S, heads: H, kvHeads: G } = task;
  const { queryWidth: dq, valueWidth: dv, latent } = task;
  const { q, k, v } = attentionOperands(task);
  if (!latent)
    return {
      states: { q: f32([B, T, H, dq], q), k: f32([B, S, G, dq], k), v: f32([B, S, G, dv], v) },
      order: ["q", "k", "v"],
    };
  const dr = dq - dv;
  return {
    states: {
      qLatent: f32([B, T, H, dv], columns(q, dq, 0, dv)),
      qRope: f32([B, T, H, dr], columns(q, dq, dv, dq)),
      cKv: f32([B, S, dv], columns(k, dq, 0, dv)),
      kRope: f32([B, S, dr], columns(k, dq, dv, dq)),
    },
    order: ["qLatent", "qRope", "cKv", "kRope"],
  };
}

function declareOutput(b: GraphBuilder, task: AttentionTask, inputs: readonly Tensor[]): Tensor {
  const start = task.keys - task.tokens;
  const options = {
    scale: attentionScale(task),
    ...(start > 0 && { start: b.scalar(start, "i32") }),
  };
  if (!task.latent) return attention(inputs[0]!, inputs[1]!, inputs[2]!, options);
  return latentAttention(inputs[0]!, inputs[1]!, inputs[2]!, inputs[3]!, options);
}

export function prepareAttention(task: AttentionTask, backend: Backend): Promise<Prepared> {
  const { states, order } = operandsOf(task);
  const shape = [task.batch, task.tokens, task.heads, task.valueWidth];
  const graph = declare("attention", (b) => {
    const inputs = order.map((name) => b.state(name, "f32", states[name]!.shape));
    const out = declareOutput(b, task, inputs);
    b.update(b.state("out", "f32", shape), out);
    if (!task.backward) return {};
    const cotangent = b.state("cotangent", "f32", shape);
    gradients(sum(mul(out, cotangent)), inputs).forEach((gradient, i) =>
      b.update(b.state(`grad.${order[i]}`, "f32", inputs[i]!.shape), gradient),
    );
    return {};
  });
  if (!task.backward) return overStates(graph, backend, states, ["out"]);
  const all = { ...states, cotangent: f32(shape, attentionOperands(task).cotangent) };
  return overStates(graph, backend, all, ["out", ...order.map((name) => `grad.${name}`)]);
}
