/**
 * TensorFlow.js on its WebAssembly backend. In: a task. Out: the task in tensors that stay in its memory. Its threads need a
 * browser, so in Node there is one.
 */
import type { ProductTask, Task } from "../case.ts";
import { nthWeight, productOperands } from "../operands.ts";
import { Absent, optionalPackage, versionOf } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { fastest, weightAs } from "./fastest.ts";
import type { Layout } from "./fastest.ts";
import type { Tensor, TensorFlow } from "./tfjs/api.ts";
import { prepareTfjsAttention } from "./tfjs/attention.ts";
import { prepareTfjsTrain } from "./tfjs/train.ts";

const CORE = "@tensorflow/tfjs";
const BACKEND = "@tensorflow/tfjs-backend-wasm";

function prepareProduct(tf: TensorFlow, task: ProductTask): Promise<Prepared> {
  const { m, k, weights, copies } = task;
  if (weights !== "f32") throw new Absent("no product with weights of this format");
  const { x: rows, w: stored } = productOperands(task);
  const way = (layout: Layout): Prepared => {
    const x = tf.tensor(rows, [m, k], "float32");
    const w = Array.from({ length: copies }, (_, copy) => {
      const { shape, values } = weightAs(layout, task, nthWeight(task, stored.values, copy));
      return tf.tensor(values, shape, "float32");
    });
    let y: Tensor | undefined;
    return {
      run: () => {
        y?.dispose();
        y = tf.tidy(() =>
          w.reduce((left, weight) => tf.matMul(left, weight, false, layout === "nk"), x),
        );
      },
      result: () => y!.dataSync(),
      release: () => [x, ...w, ...(y ? [y] : [])].forEach((tensor) => tensor.dispose()),
    };
  };
  return fastest([() => way("kn"), () => way("nk")]);
}

async function prepare(tf: TensorFlow, task: Task): Promise<Prepared> {
  switch (task.kind) {
    case "product":
      return prepareProduct(tf, task);
    case "attention":
      return prepareTfjsAttention(tf, task);
    case "train":
      return prepareTfjsTrain(tf, task);
    case "ragged":
      throw new Absent("no product over rows in groups");
    case "scaled":
      throw new Absent("no FP8");
    case "generate":
      throw new Absent("no language model in the package");
    default:
      throw new Absent("our own measure only");
  }
}

/** In an engine that joins registers: where it helps most, in products of f32. */
export async function enterWide(threads: number): Promise<Contestant> {
  const tfjs = await enter(threads);
  return {
    version: tfjs.version,
    prepare: async (task) => {
      if (task.kind === "product") return tfjs.prepare(task);
      throw new Absent("only products with the engine's option");
    },
  };
}

export async function enter(threads: number): Promise<Contestant> {
  if (threads > 1) throw new Absent("one thread in Node");
  const tf = await optionalPackage<TensorFlow>(CORE);
  await optionalPackage(BACKEND);
  await tf.setBackend("wasm");
  await tf.ready();
  return { version: versionOf(BACKEND), prepare: (task) => prepare(tf, task) };
}
