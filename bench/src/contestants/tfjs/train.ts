/**
 * A training step of the dense model in TensorFlow.js. In: a task. Out: forward, loss, gradients, clipping and AdamW, operation
 * by operation. Embedding is a product with a one-hot matrix, since its WebAssembly backend has no derivative of a lookup.
 */
import type { ModelConfig } from "@millrace/model-v3";
import type { TrainTask } from "../../case.ts";
import { COMPARED_STEPS, LEARNING_RATE } from "../../model-values.ts";
import { Absent } from "../contestant.ts";
import type { Prepared } from "../contestant.ts";
import { denseParameters, denseTables, denseTokens } from "../dense-model.ts";
import type { Tensor, TensorFlow } from "./api.ts";
import { causalMask } from "./attention.ts";

interface Constants {
  readonly ids: Tensor;
  readonly labels: Tensor;
  readonly cos: Tensor;
  readonly sin: Tensor;
  readonly mask: Tensor;
}

function lossOf(
  tf: TensorFlow,
  config: ModelConfig,
  batch: number,
  tokens: number,
  constants: Constants,
): (parameters: ReadonlyMap<string, Tensor>) => Tensor {
  const { numAttentionHeads: H, qkNopeHeadDim: width } = config;
  const { ids, labels, cos, sin, mask } = constants;
  const norm = (x: Tensor, w: Tensor): Tensor => {
    const square = tf.mean(tf.square(x), -1, true);
    return tf.mul(tf.mul(x, tf.rsqrt(tf.add(square, config.rmsNormEps))), w);
  };
  const linear = (x: Tensor, w: Tensor): Tensor => tf.matMul(x, w, false, true);
  /** [B·T, H·d] as [B, H, T, d]. */
  const split = (x: Tensor): Tensor =>
    tf.transpose(tf.reshape(x, [batch, tokens, H, width]), [0, 2, 1, 3]);
  const rotate = (x: Tensor): Tensor => {
    const half = width / 2;
    const part = (from: number): Tensor => tf.slice(x, [0, 0, 0, from], [batch, H, tokens, half]);
    const turned = tf.concat([tf.neg(part(half)), part(0)], 3);
    return tf.add(tf.mul(x, cos), tf.mul(turned, sin));
  };
  return (parameters) => {
    const at = (name: string): Tensor => parameters.get(name)!;
    let x = tf.matMul(ids, at("embed"));
    for (let i = 0; i < config.numHiddenLayers; i++) {
      const own = (name: string): Tensor => at(`${i}.${name}`);
      const y = norm(x, own("norm1"));
      const q = rotate(split(linear(y, own("q"))));
      const k = rotate(split(linear(y, own("k"))));
      const v = split(linear(y, own("v")));
      const scores = tf.mul(tf.matMul(q, k, false, true), width ** -0.5);
      const mixed = tf.matMul(tf.softmax(tf.add(scores, mask)), v);
      const joined = tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [batch * tokens, H * width]);
      x = tf.add(x, linear(joined, own("o")));
      const z = norm(x, own("norm2"));
      const gate = linear(z, own("gate"));
      const gated = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(z, own("up")));
      x = tf.add(x, linear(gated, own("down")));
    }
    const logits = linear(norm(x, at("norm")), at("head"));
    return tf.mul(tf.sum(tf.mul(tf.logSoftmax(logits), labels)), -1 / (batch * tokens));
  };
}

export function prepareTfjsTrain(tf: TensorFlow, task: TrainTask): Prepared {
  const { config, batch, tokens } = task;
  const values = denseParameters(config);
  if (!values) throw new Absent("only the dense model was written for it");
  const names = Object.keys(values);
  const rows = denseTokens(config, batch, tokens);
  const tables = denseTables(config, tokens);
  const oneHot = (data: Int32Array): Tensor =>
    tf.tidy(() =>
      tf.cast(tf.oneHot(tf.tensor(data, [batch * tokens], "int32"), config.vocabSize), "float32"),
    );
  const constants: Constants = {
    ids: oneHot(rows.inputs),
    labels: oneHot(rows.labels),
    cos: tf.tensor(tables.cos, [tokens, config.qkRopeHeadDim], "float32"),
    sin: tf.tensor(tables.sin, [tokens, config.qkRopeHeadDim], "float32"),
    mask: tf.tensor(
      causalMask(tokens, tokens, (row) => row),
      [tokens, tokens],
      "float32",
    ),
  };
  const make = (data: (name: string) => Float32Array<ArrayBuffer>) =>
    names.map((name) => tf.variable(tf.tensor(data(name), values[name]!.shape, "float32")));
  const parameters = make((name) => values[name]!.data);
  const zeros = (name: string): Float32Array<ArrayBuffer> =>
    new Float32Array(values[name]!.data.length);
  const [first, second] = [make(zeros), make(zeros)];
  const loss = lossOf(tf, config, batch, tokens, constants);
  const lossAndGrads = tf.valueAndGrads((...inputs) =>
    loss(new Map(names.map((name, i) => [name, inputs[i]!]))),
  );
  const losses: number[] = [];
  let count = 0;
  const step = (): Tensor => {
    const { value, grads } = lossAndGrads(parameters);
    const norm = tf.sqrt(grads.map((g) => tf.sum(tf.square(g))).reduce((a, b) => tf.add(a, b)));
    const factor = tf.minimum(tf.div(1, tf.add(norm, 1e-6)), 1);
    const stepSize = LEARNING_RATE / (1 - 0.9 ** count);
    const scale2 = Math.sqrt(1 - 0.95 ** count);
    parameters.forEach((parameter, i) => {
      const g = tf.mul(grads[i]!, factor);
      const m = tf.add(tf.mul(first[i]!, 0.9), tf.mul(g, 1 - 0.9));
      const v = tf.add(tf.mul(second[i]!, 0.95), tf.mul(tf.square(g), 1 - 0.95));
      const moved = tf.div(m, tf.add(tf.div(tf.sqrt(v), scale2), 1e-8));
      first[i]!.assign(m);
      second[i]!.assign(v);
      const kept = tf.mul(parameter, 1 - LEARNING_RATE * 0.1);
      parameter.assign(tf.sub(kept, tf.mul(moved, stepSize)));
    });
    return value;
  };
  const run = (): void => {
    count++;
    const value = tf.tidy(step);
    if (losses.length < COMPARED_STEPS) losses.push(value.dataSync()[0]!);
    value.dispose();
  };
  return {
    run,
    result: () => {
      while (losses.length < COMPARED_STEPS) run();
      return losses;
    },
    release: () => tf.dispose([...parameters, ...first, ...second, ...Object.values(constants)]),
  };
}
