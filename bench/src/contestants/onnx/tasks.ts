/**
 * Tasks as ONNX models, for both ONNX Runtimes. In: a task and a runtime. Out: a session that runs one. Weights are constants of
 * the model, which the runtime may pack as it likes; inputs and outputs are copied, which it cannot avoid.
 */
import { decodeFloats } from "@millrace/graph";
import type { AttentionTask, ProductTask, Task, WeightFormat } from "../../case.ts";
import type { WeightData } from "../../operands.ts";
import { attentionOperands, attentionScale, nthWeight, productOperands } from "../../operands.ts";
import type { StoredWeight } from "../../weights.ts";
import { GROUP } from "../../weights.ts";
import { Absent } from "../contestant.ts";
import type { Prepared } from "../contestant.ts";
import { fastest, weightAs } from "../fastest.ts";
import type { OnnxConstant, OnnxGraph, OnnxNode } from "./model.ts";
import { onnxModel } from "./model.ts";

export interface OnnxTensor {
  readonly data: Float32Array;
}

export interface OnnxSession {
  run(feeds: Readonly<Record<string, OnnxTensor>>): Promise<Readonly<Record<string, OnnxTensor>>>;
  release(): Promise<void>;
}

/** What both packages have in common. */
export interface OnnxRuntime {
  readonly Tensor: new (
    type: "float32",
    data: Float32Array,
    shape: readonly number[],
  ) => OnnxTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<OnnxSession>;
  };
}

type Inputs = Readonly<
  Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>
>;

async function prepareModel(
  runtime: OnnxRuntime,
  options: Readonly<Record<string, unknown>>,
  graph: OnnxGraph,
  inputs: Inputs,
): Promise<Prepared> {
  const session = await runtime.InferenceSession.create(onnxModel(graph), options);
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, { data, shape }]) => [
      name,
      new runtime.Tensor("float32", data, shape),
    ]),
  );
  let y: OnnxTensor | undefined;
  return {
    run: async () => {
      y = (await session.run(feeds))["y"];
    },
    result: () => y!.data,
    release: () => session.release(),
  };
}

/** One product's node and constants; narrow weights by the runtime's own operator. */
function productStep(
  task: ProductTask,
  weight: StoredWeight,
  index: number,
  input: string,
  output: string,
  accuracy: number,
): { readonly node: OnnxNode; readonly constants: readonly OnnxConstant[] } {
  const { k, n, weights } = task;
  const name = `w${index}`;
  if (weights === "f32") {
    const { shape, values } = weightAs("kn", task, nthWeight(task, weight.values, index));
    return {
      node: { op: "MatMul", inputs: [input, name], outputs: [output] },
      constants: [{ name, type: "float", shape, data: values }],
    };
  }
  const bits = weights === "int8" ? 8 : 4;
  const groups = k / GROUP;
  const { codes, scales } = weight.stored;
  const data = nthWeight(task, codes!.data as WeightData, index);
  return {
    node: {
      op: "MatMulNBits",
      domain: "com.microsoft",
      inputs: [input, name, `${name}.scales`],
      outputs: [output],
      attributes: { K: k, N: n, bits, block_size: GROUP, accuracy_level: accuracy },
    },
    constants: [
      { name, type: "uint8", shape: [n, groups, (GROUP * bits) / 8], data },
      {
        name: `${name}.scales`,
        type: "float",
        shape: [n * groups],
        // It knows f32 and f16 scales.
        data: decodeFloats("bf16", scales!.data as Uint16Array),
      },
    ],
  };
}

const known: readonly WeightFormat[] = ["f32", "int8", "int4"];

/** `accuracy` says what narrow products compute in: 1 for f32, 4 for eight-bit integers. */
function productGraph(
  task: ProductTask,
  accuracy: number,
): { readonly graph: OnnxGraph; readonly inputs: Inputs } {
  const { m, k, n, weights, copies } = task;
  if (!known.includes(weights)) throw new Absent(`no product with weights of this format`);
  const { x, w } = productOperands(task);
  const names = Array.from({ length: copies + 1 }, (_, i) =>
    i === 0 ? "x" : i === copies ? "y" : `y${i}`,
  );
  const steps = Array.from({ length: copies }, (_, i) =>
    productStep(task, w, i, names[i]!, names[i + 1]!, accuracy),
  );
  return {
    graph: {
      nodes: steps.map(({ node }) => node),
      constants: steps.flatMap(({ constants }) => constants),
      inputs: [{ name: "x", type: "float", shape: [m, k] }],
      outputs: [{ name: "y", type: "float", shape: [m, n] }],
      opset: 21,
    },
    inputs: { x: { data: x, shape: [m, k] } },
  };
}

/** [B, L, H, d] with the two middle axes exchanged. */
function headsFirst(
  data: Float32Array,
  [batch, length, heads, width]: readonly [number, number, number, number],
): Float32Array {
  const out = new Float32Array(data.length);
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < length; t++)
      for (let h = 0; h < heads; h++) {
        const from = ((b * length + t) * heads + h) * width;
        out.set(data.subarray(from, from + width), ((b * heads + h) * length + t) * width);
      }
  return out;
}

function attentionGraph(task: AttentionTask): {
  readonly graph: OnnxGraph;
  readonly inputs: Inputs;
} {
  const { batch, tokens, keys, heads, kvHeads, queryWidth, valueWidth, latent, backward } = task;
  if (backward) throw new Absent("inference only");
  const { q, k, v } = attentionOperands(task);
  const rows = batch * keys * kvHeads;
  const values = latent
    ? Float32Array.from(
        { length: rows * valueWidth },
        (_, i) => k[Math.floor(i / valueWidth) * queryWidth + (i % valueWidth)]!,
      )
    : v;
  const input = (data: Float32Array, length: number, count: number, width: number) => ({
    data: headsFirst(data, [batch, length, count, width]),
    shape: [batch, count, length, width],
  });
  const inputs = {
    q: input(q, tokens, heads, queryWidth),
    k: input(k, keys, kvHeads, queryWidth),
    v: input(values, keys, kvHeads, valueWidth),
  };
  return {
    graph: {
      nodes: [
        {
          op: "Attention",
          inputs: ["q", "k", "v"],
          outputs: ["heads"],
          attributes: { is_causal: tokens > 1 ? 1 : 0 },
          floats: { scale: attentionScale(task) },
        },
        // Heads back behind tokens, as everyone has them.
        { op: "Transpose", inputs: ["heads"], outputs: ["y"], lists: { perm: [0, 2, 1, 3] } },
      ],
      constants: [],
      inputs: Object.entries(inputs).map(([name, { shape }]) => ({ name, type: "float", shape })),
      outputs: [{ name: "y", type: "float", shape: [batch, tokens, heads, valueWidth] }],
      opset: 23,
    },
    inputs,
  };
}

/** A task on one of the runtimes; `options` are the session's. */
export async function prepareOnnx(
  runtime: OnnxRuntime,
  options: Readonly<Record<string, unknown>>,
  task: Task,
): Promise<Prepared> {
  switch (task.kind) {
    case "product": {
      const ways = (task.weights === "f32" ? [1] : [1, 4]).map((accuracy) => () => {
        const { graph, inputs } = productGraph(task, accuracy);
        return prepareModel(runtime, options, graph, inputs);
      });
      return fastest(ways);
    }
    case "attention": {
      const { graph, inputs } = attentionGraph(task);
      return prepareModel(runtime, options, graph, inputs);
    }
    case "ragged":
      throw new Absent("no product over rows in groups");
    case "scaled":
      throw new Absent("no FP8 on a processor");
    case "train":
      throw new Absent("inference only");
    case "generate":
      throw new Absent("no model of this kind was written for it");
    default:
      throw new Absent("our own measure only");
  }
}
