/**
 * A training step of the dense model in jax-js. In: a task. Out: forward, loss, gradients, clipping and AdamW as one jitted
 * function from parameters and moments to new ones.
 */
import type { ModelConfig } from "@millrace/model-v3";
import type { TrainTask } from "../../case.ts";
import { COMPARED_STEPS, LEARNING_RATE } from "../../model-values.ts";
import { denseParameters, denseTables, denseTokens } from "../dense-model.ts";
import { Absent } from "../contestant.ts";
import type { Prepared } from "../contestant.ts";
import type { Jax, JaxArray } from "./api.ts";

type Parameters = Record<string, JaxArray>;

const refs = (tree: Parameters): Parameters =>
  Object.fromEntries(Object.entries(tree).map(([name, array]) => [name, array.ref]));

/** The loss of tokens [B, T] and labels [B·T]. Every parameter is used as `.ref`, and given back at the end. */
function lossOf(jax: Jax, config: ModelConfig, batch: number, tokens: number) {
  const { numpy: np, nn } = jax;
  const { numAttentionHeads: H, qkNopeHeadDim: width, vocabSize } = config;
  const norm = (x: JaxArray, w: JaxArray): JaxArray => {
    const square = np.mean(x.ref.mul(x.ref), -1, { keepdims: true });
    return x.div(np.sqrt(square.add(config.rmsNormEps))).mul(w);
  };
  const linear = (x: JaxArray, w: JaxArray): JaxArray => np.matmul(x, w.transpose());
  const split = (x: JaxArray): JaxArray => x.reshape([batch, tokens, H, width]);
  const rotate = (x: JaxArray, cos: JaxArray, sin: JaxArray): JaxArray => {
    const half = width / 2;
    const first = x.ref.slice([], [], [], [0, half]);
    const second = x.ref.slice([], [], [], [half, width]);
    const turned = np.concatenate([second.neg(), first], 3);
    return x.mul(cos).add(turned.mul(sin));
  };
  return (
    p: Parameters,
    ids: JaxArray,
    labels: JaxArray,
    cos: JaxArray,
    sin: JaxArray,
  ): JaxArray => {
    const at = (name: string): JaxArray => p[name]!.ref;
    // The derivative of a product with a one-hot matrix is a product; that of a lookup scatters.
    let x = np.matmul(nn.oneHot(ids, vocabSize), at("embed"));
    for (let i = 0; i < config.numHiddenLayers; i++) {
      const own = (name: string): JaxArray => at(`${i}.${name}`);
      const y = norm(x.ref, own("norm1"));
      const q = rotate(split(linear(y.ref, own("q"))), cos.ref, sin.ref);
      const k = rotate(split(linear(y.ref, own("k"))), cos.ref, sin.ref);
      const v = split(linear(y, own("v")));
      const scores = np.einsum("bthd,bshd->bhts", q, k).mul(width ** -0.5);
      const visible = np.greater(np.tril(np.ones([tokens, tokens])), 0.5);
      const weights = nn.softmax(np.where(visible, scores, -1e30), -1);
      const mixed = np.einsum("bhts,bshd->bthd", weights, v).reshape([batch * tokens, H * width]);
      x = x.add(linear(mixed, own("o")));
      const z = norm(x.ref, own("norm2"));
      const gated = nn.silu(linear(z.ref, own("gate"))).mul(linear(z, own("up")));
      x = x.add(linear(gated, own("down")));
    }
    const logits = linear(norm(x, at("norm")), at("head"));
    const chosen = nn.logSoftmax(logits, -1).mul(nn.oneHot(labels, vocabSize));
    for (const array of [...Object.values(p), cos, sin]) array.dispose();
    return chosen.sum().mul(-1 / (batch * tokens));
  };
}

export async function prepareJaxTrain(jax: Jax, task: TrainTask): Promise<Prepared> {
  const { config, batch, tokens } = task;
  const np = jax.numpy;
  const values = denseParameters(config);
  if (!values) throw new Absent("only the dense model was written for it");
  const toArrays = (): Parameters =>
    Object.fromEntries(
      Object.entries(values).map(([name, { shape, data }]) => [
        name,
        np.array(data).reshape(shape),
      ]),
    );
  const zeros = (): Parameters =>
    Object.fromEntries(
      Object.entries(values).map(([name, { shape, data }]) => [
        name,
        np.array(new Float32Array(data.length)).reshape(shape),
      ]),
    );
  const names = Object.keys(values);
  const lossAndGrad = jax.valueAndGrad(lossOf(jax, config, batch, tokens));
  const step = jax.jit(
    (
      p: Parameters,
      m: Parameters,
      v: Parameters,
      scales: JaxArray,
      ids: JaxArray,
      labels: JaxArray,
      cos: JaxArray,
      sin: JaxArray,
    ): [Parameters, Parameters, Parameters, JaxArray] => {
      const [loss, grads] = lossAndGrad(refs(p), ids, labels, cos, sin);
      const squares = names.map((name) => grads[name]!.ref.mul(grads[name]!.ref).sum());
      const norm = np.sqrt(squares.reduce((a, b) => a.add(b)));
      const factor = np.minimum(np.ones([]).div(norm.add(1e-6)), 1);
      const stepSize = scales.ref.slice([0, 1]);
      const scale2 = scales.slice([1, 2]);
      const next: [Parameters, Parameters, Parameters] = [{}, {}, {}];
      for (const name of names) {
        const g = grads[name]!.mul(factor.ref);
        const m1 = m[name]!.mul(0.9).add(g.ref.mul(1 - 0.9));
        const v1 = v[name]!.mul(0.95).add(g.ref.mul(g).mul(1 - 0.95));
        const denominator = np.sqrt(v1.ref).div(scale2.ref).add(1e-8);
        const moved = m1.ref.div(denominator).mul(stepSize.ref);
        next[0][name] = p[name]!.mul(1 - LEARNING_RATE * 0.1).sub(moved);
        next[1][name] = m1;
        next[2][name] = v1;
      }
      [factor, stepSize, scale2].forEach((array) => array.dispose());
      return [...next, loss];
    },
  );
  const { inputs, labels } = denseTokens(config, batch, tokens);
  const tables = denseTables(config, tokens);
  const ids = np.array(inputs);
  const targets = np.array(labels);
  const table = (data: Float32Array<ArrayBuffer>): JaxArray =>
    np.array(data).reshape([tokens, 1, config.qkRopeHeadDim]);
  const cos = table(tables.cos);
  const sin = table(tables.sin);
  let [p, m, v] = [toArrays(), zeros(), zeros()];
  const losses: number[] = [];
  let count = 0;
  const run = async (): Promise<void> => {
    count++;
    const scales = np.array(
      Float32Array.of(LEARNING_RATE / (1 - 0.9 ** count), Math.sqrt(1 - 0.95 ** count)),
    );
    let loss: JaxArray;
    [p, m, v, loss] = step(p, m, v, scales, ids.ref, targets.ref, cos.ref, sin.ref);
    const [value] = await loss.data();
    for (const tree of [p, m, v])
      for (const array of Object.values(tree)) await array.blockUntilReady();
    if (losses.length < COMPARED_STEPS) losses.push(value!);
  };
  return {
    run,
    result: async () => {
      while (losses.length < COMPARED_STEPS) await run();
      return losses;
    },
    release: () => {
      const arrays = [p, m, v].flatMap((tree) => Object.values(tree));
      [...arrays, ids, targets, cos, sin].forEach((array) => array.dispose());
    },
  };
}
