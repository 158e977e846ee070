/**
 * Composites as models use them: attention, rotary embedding, routing, mixture of experts, FP8 products, losses and a training
 * step. In: nothing but seeds. Out: samples in which every stage of the compiler has something to do.
 */
import type { Tensor } from "@millrace/graph";
import {
  add,
  attention,
  blockDequantize,
  blockQuantize,
  convert,
  countingSort,
  crossEntropy,
  fp8Linear,
  gradients,
  groupLimitedTopK,
  hostTensor,
  linear,
  mean,
  mul,
  permuteRows,
  raggedDot,
  randomNormal,
  randomUniform,
  repeatRows,
  reshape,
  rmsNorm,
  rope,
  ropeInverseFrequencies,
  ropeTables,
  routingWeights,
  silu,
  sort,
  sub,
  sum,
  swiglu,
  topK,
  updateSlice,
} from "@millrace/graph";
import { seededTensor } from "../arbitraries/tensor.ts";
import type { SuiteContext } from "../describe-backend.ts";
import type { Sample } from "./case.ts";
import { checkSample } from "./case.ts";

const attentionSample: Sample = {
  name: "attention with a cache",
  inputs: {
    x: seededTensor("f32", [1, 3, 24], 1),
    wq: seededTensor("f32", [24, 24], 2),
    rows: seededTensor("f32", [1, 3, 3, 8], 3),
    positions: hostTensor("i32", [3], [5, 6, 7]),
    start: hostTensor("i32", [], [5]),
  },
  states: {
    keys: seededTensor("f32", [1, 9, 3, 8], 4),
    values: seededTensor("f32", [1, 9, 3, 8], 5),
  },
  declare: (b, { x, wq, rows, positions, start, keys, values }) => {
    const frequencies = ropeInverseFrequencies(10_000, 8);
    const table = b.constant(hostTensor("f32", [4], frequencies));
    const { cos, sin } = ropeTables(positions!, table);
    const q = reshape(linear(x!, wq!), [1, 3, 3, 8]);
    const newKeys = updateSlice(keys!, rope(rows!, cos, sin), start!, 1);
    const newValues = updateSlice(values!, rows!, start!, 1);
    b.update(keys!, newKeys);
    b.update(values!, newValues);
    const out = attention(rope(q, cos, sin), newKeys, newValues, {
      scale: 8 ** -0.5,
      start: start!,
    });
    return { out: add(reshape(out, [1, 3, 24]), x!) };
  },
  relative: 1e-4,
};

const expertsSample: Sample = {
  name: "mixture of experts",
  inputs: {
    x: seededTensor("f32", [13, 16], 1),
    scores: seededTensor("f32", [13, 8], 2),
    bias: seededTensor("f32", [8], 3),
    gate: seededTensor("f32", [8, 12, 16], 4),
    up: seededTensor("f32", [8, 12, 16], 5),
    down: seededTensor("f32", [8, 16, 12], 6),
  },
  declare: (_, { x, scores, bias, gate, up, down }) => {
    const k = 3;
    const indices = groupLimitedTopK(scores!, bias, { nGroup: 4, topkGroup: 2, k });
    const weights = routingWeights(scores!, indices, {
      normTopkProb: false,
      routedScalingFactor: 2.5,
    });
    const { permutation, inverse, offsets } = countingSort(reshape(indices, [13 * k]), 8);
    const rows = permuteRows(repeatRows(x!, k), permutation, inverse);
    const hidden = swiglu(raggedDot(rows, gate!, offsets), raggedDot(rows, up!, offsets));
    const out = permuteRows(raggedDot(hidden, down!, offsets), inverse, permutation);
    const weighed = mul(reshape(out, [13, k, 16]), reshape(weights, [13, k, 1]));
    return { y: add(x!, sum(weighed, [1])), indices, offsets };
  },
  relative: 1e-4,
};

const trainingSample: Sample = {
  name: "training step",
  inputs: {
    x: seededTensor("f32", [9, 16], 1),
    labels: hostTensor("i32", [9], [0, 1, 2, 3, 4, 5, 6, 6, -1]),
  },
  states: {
    norm: seededTensor("f32", [16], 2),
    w1: seededTensor("f32", [24, 16], 3),
    w2: seededTensor("f32", [7, 24], 4),
    momentum: seededTensor("f32", [24, 16], 5),
  },
  declare: (b, { x, labels, norm, w1, w2, momentum }) => {
    const hidden = silu(linear(rmsNorm(x!, norm!, 0.1), w1!));
    const loss = mean(crossEntropy(linear(hidden, w2!), labels!));
    const [dNorm, d1, d2] = gradients(loss, [norm!, w1!, w2!]) as [Tensor, Tensor, Tensor];
    const velocity = add(mul(momentum!, 0.9), d1);
    b.update(momentum!, velocity);
    b.update(w1!, sub(w1!, mul(velocity, 0.1)));
    b.update(w2!, sub(w2!, mul(d2, 0.1)));
    b.update(norm!, sub(norm!, mul(dNorm, 0.1)));
    return { loss, norm: sum(mul(d1, d1)) };
  },
  relative: 1e-3,
};

const ordersSample: Sample = {
  name: "orders and random numbers",
  inputs: {
    x: seededTensor("f32", [5, 129], 1, "edges"),
    ties: seededTensor("f32", [3, 64], 2, "integers"),
    key: hostTensor("u32", [2], [1234567, 0xffffffff]),
  },
  declare: (_, { x, ties, key }) => {
    const [sorted, order] = sort(x!);
    const [falling, back] = sort(ties!, { descending: true });
    const [best, at] = topK(x!, 9);
    const uniform = randomUniform(key!, [33, 5]);
    return { sorted, order, falling, back, best, at, uniform };
  },
};

const normalSample: Sample = {
  name: "normal numbers",
  inputs: { key: hostTensor("u32", [2], [7, 8]) },
  declare: (_, { key }) => ({ y: randomNormal(key!, [1000]) }),
  relative: 1e-4,
};

const fp8Sample: Sample = {
  name: "FP8 linear",
  inputs: { x: seededTensor("f32", [5, 130], 1), w: seededTensor("f32", [129, 130], 2) },
  declare: (_, { x, w }) => {
    const quantized = blockQuantize(x!, [1, 128]);
    return {
      y: fp8Linear(x!, w!),
      codes: convert(quantized.codes, "f32"),
      scales: quantized.scales,
      again: blockDequantize(quantized, [1, 128]),
    };
  },
  relative: 1e-5,
};

export function describeLayers(context: SuiteContext): void {
  const { describe, test, timeout, hasDTypes } = context;
  const samples = [attentionSample, expertsSample, trainingSample, ordersSample, normalSample];
  if (hasDTypes("e4m3fn")) samples.push(fp8Sample);
  describe("layers", () => {
    for (const sample of samples) test(sample.name, () => checkSample(sample, context), timeout);
  });
}
