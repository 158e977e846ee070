/**
 * jax-js on its WebAssembly backend. In: a task. Out: the task as a jitted function of arrays that stay where they are. Arrays
 * are counted by reference: every use but the last is of `x.ref`.
 */
import type { ProductTask, Task } from "../case.ts";
import { nthWeight, productOperands } from "../operands.ts";
import { Absent, optionalPackage, versionOf } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { fastest, weightAs } from "./fastest.ts";
import type { Layout } from "./fastest.ts";
import type { Jax, JaxArray } from "./jax/api.ts";
import { prepareJaxAttention } from "./jax/attention.ts";
import { prepareJaxTrain } from "./jax/train.ts";
import { installWebWorker } from "./web-worker.ts";

const PACKAGE = "@jax-js/jax";

function prepareProduct(jax: Jax, task: ProductTask): Promise<Prepared> {
  const { m, k, weights, copies } = task;
  if (weights !== "f32") throw new Absent("no product with weights of this format");
  const { x: rows, w: stored } = productOperands(task);
  const np = jax.numpy;
  const way = (layout: Layout): Prepared => {
    const x = np.array(rows).reshape([m, k]);
    const w = Array.from({ length: copies }, (_, copy) => {
      const { shape, values } = weightAs(layout, task, nthWeight(task, stored.values, copy));
      return np.array(values).reshape(shape);
    });
    const product = jax.jit((a: JaxArray, b: JaxArray) =>
      np.matmul(a, layout === "kn" ? b : b.transpose()),
    );
    let y: JaxArray | undefined;
    return {
      run: async () => {
        y?.dispose();
        y = x.ref;
        for (const weight of w) y = product(y, weight.ref);
        await y.blockUntilReady();
      },
      result: () => y!.ref.data(),
      release: () => [x, ...w, ...(y ? [y] : [])].forEach((array) => array.dispose()),
    };
  };
  return fastest([() => way("kn"), () => way("nk")]);
}

async function prepare(jax: Jax, task: Task): Promise<Prepared> {
  switch (task.kind) {
    case "product":
      return prepareProduct(jax, task);
    case "attention":
      return prepareJaxAttention(jax, task);
    case "train":
      return prepareJaxTrain(jax, task);
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

export async function enter(threads: number): Promise<Contestant> {
  // It starts workers where it finds `Worker`, as many as there are processors; in Node there is none unless we make one.
  if (threads > 1) installWebWorker(threads);
  const jax = await optionalPackage<Jax>(PACKAGE);
  await jax.init("wasm");
  jax.defaultDevice("wasm");
  return { version: versionOf(PACKAGE), prepare: (task) => prepare(jax, task) };
}
