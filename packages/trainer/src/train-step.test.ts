import { compile, type Graph, hostTensor, type HostTensor, toNumbers } from "@millrace/graph";
import { createWasmBackend, interpret, type InterpreterValue } from "@millrace/kernels-cpu";
import { declareInit, type ModelConfig, parameterTable, preset } from "@millrace/model-v3";
import { describe, expect, it } from "vitest";

import { declareEvaluation, declareTrainStep, type TrainStepOptions } from "./train-step.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 24,
  hiddenSize: 16,
  intermediateSize: 24,
  moeIntermediateSize: 8,
  nRoutedExperts: 4,
  nGroup: 2,
  topkGroup: 1,
  numExpertsPerTok: 2,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  qLoraRank: 12,
  kvLoraRank: 8,
  qkNopeHeadDim: 4,
  qkRopeHeadDim: 4,
  vHeadDim: 4,
  auxLossAlpha: 0.1,
  initializerRange: 0.3,
};
const v2: Partial<ModelConfig> = {
  modelType: "deepseek_v2",
  scoringFunc: "softmax",
  topkMethod: "group_limited_greedy",
  normTopkProb: false,
  routedScalingFactor: 1,
  balance: "auxiliary",
  numNextnPredictLayers: 0,
  qLoraRank: null,
};
const sizes = { batch: 2, sequenceLength: 6 };
const inputs = {
  input_ids: hostTensor(
    "i32",
    [2, 7],
    Array.from({ length: 14 }, (_, i) => (i * 7 + (i >> 2)) % 24),
  ),
  learning_rate: hostTensor("f32", [], [0.01]),
  step: hostTensor("i32", [], [1]),
};
const initial = (model: ModelConfig): Record<string, HostTensor> =>
  interpret(declareInit(model, 3), {}).states;
const numbers = (tensor: HostTensor | InterpreterValue | undefined): number[] =>
  Array.from(tensor!.data as ArrayLike<number>);
const trained = parameterTable(config).filter((spec) => spec.trainable);
const step = (options: Partial<TrainStepOptions> = {}, model = config): Graph =>
  declareTrainStep(model, { ...sizes, ...options });

describe("declareTrainStep", () => {
  it("has the gradients that finite differences have, along a direction through all parameters", () => {
    const states = initial(config);
    const taps = interpret(step({ taps: true }), inputs, { states, precision: "f64" }).outputs;
    const directions = Object.fromEntries(
      trained.map(({ name }, p) => [
        name,
        numbers(states[name]).map((_, i) => Math.sin(1.7 * i + p)),
      ]),
    );
    const evaluation = declareEvaluation(config, sizes);
    const lossAt = (by: number): number => {
      const moved = Object.fromEntries(
        Object.entries(states).map(([name, { shape, data }]) => [
          name,
          {
            dtype: "f32" as const,
            shape,
            data: Float64Array.from(data as Float32Array, (x, i) => {
              return x + by * (directions[name]?.[i] ?? 0);
            }),
          },
        ]),
      );
      const { outputs } = interpret(
        evaluation,
        { input_ids: inputs.input_ids },
        { states: moved, precision: "f64" },
      );
      return numbers(outputs["total_loss"])[0]!;
    };
    const expected = (lossAt(1e-5) - lossAt(-1e-5)) / 2e-5;
    const slope = trained
      .flatMap(({ name }) => numbers(taps[`grad.${name}`]).map((g, i) => g * directions[name]![i]!))
      .reduce((a, b) => a + b);
    expect(Math.abs(expected)).toBeGreaterThan(0.01);
    expect(slope / expected).toBeCloseTo(1, 5);
    // Every parameter matters to the loss: none was left out of the graph.
    for (const { name } of trained)
      expect(Math.max(...numbers(taps[`grad.${name}`]).map(Math.abs)), name).toBeGreaterThan(0);
  });

  it("clips, applies AdamW to every parameter and moves the bias, in one run", () => {
    const states = initial(config);
    const maxGradNorm = 0.5;
    const result = interpret(step({ taps: true, maxGradNorm }), inputs, { states });
    const norm = Math.hypot(
      ...trained.flatMap(({ name }) => numbers(result.outputs[`grad.${name}`])),
    );
    expect(numbers(result.outputs["grad_norm"])[0]).toBeCloseTo(norm, 4);
    expect(norm).toBeGreaterThan(maxGradNorm);
    for (const { name } of trained) {
      const before = numbers(states[name]);
      const gradients = numbers(result.outputs[`grad.${name}`]);
      const first = numbers(result.states[`adam.m.${name}`]);
      numbers(result.states[name]).forEach((after, i) => {
        const g = (gradients[i]! * maxGradNorm) / (norm + 1e-6);
        // The first step of Adam is the sign of the gradient, softened where it is tiny.
        const expected = before[i]! * (1 - 0.01 * 0.1) - (0.01 * g) / (Math.abs(g) + 1e-8);
        expect(after).toBeCloseTo(expected, 4);
        expect(first[i]).toBeCloseTo(0.1 * g, 6);
      });
    }
    for (const { name, layer } of parameterTable(config).filter(
      (spec) => spec.role === "router_bias",
    )) {
      const load = numbers(result.outputs[`load.layers.${layer}`]);
      const mean = load.reduce((a, b) => a + b) / load.length;
      const moves = load.map((x) => Math.fround(0.001) * Math.sign(mean - x));
      expect(numbers(result.states[name])).toEqual(moves.map((x) => x || 0));
    }
  });

  it("leaves the bias alone where an auxiliary loss balances", () => {
    const auxiliary: ModelConfig = { ...config, balance: "auxiliary" };
    const result = interpret(step({}, auxiliary), inputs, { states: initial(auxiliary) });
    for (const { name } of parameterTable(auxiliary).filter((spec) => spec.role === "router_bias"))
      expect(numbers(result.states[name])).toEqual([0, 0, 0, 0]);
    expect(numbers(result.outputs["balance_loss"])[0]).toBeGreaterThan(0);
  });

  it.each([
    ["without MTP modules", { numNextnPredictLayers: 0 }],
    ["with two MTP modules", { numNextnPredictLayers: 2 }],
    ["with dense layers only", { nRoutedExperts: 0, topkMethod: "greedy" as const }],
    ["with tied embeddings", { tieWordEmbeddings: true }],
    ["of the V2 family", v2],
  ])("trains a model %s", async (_, changes) => {
    const model: ModelConfig = { ...config, ...changes };
    const losses: number[] = [];
    const backend = createWasmBackend();
    const store = backend.createStore();
    await (await compile(declareInit(model, 3), backend, { store })).run({});
    const program = await compile(step({}, model), backend, { store });
    for (let i = 1; i <= 12; i++) {
      const outputs = await program.run({ ...inputs, step: hostTensor("i32", [], [i]) });
      losses.push(toNumbers(outputs["total_loss"]!)[0]!);
    }
    store.dispose();
    expect(losses.at(-1)).toBeLessThan(0.8 * losses[0]!);
  });

  it("gives on WebAssembly what the graph interpreter gives", async () => {
    const states = initial(config);
    const graph = step({ taps: true });
    const expected = interpret(graph, inputs, { states });
    const backend = createWasmBackend();
    const store = backend.createStore();
    const program = await compile(graph, backend, { store });
    for (const [name, tensor] of Object.entries(states)) await store.write(name, tensor);
    const outputs = await program.run(inputs);
    for (const [name, tensor] of Object.entries(outputs)) {
      const wanted = numbers(expected.outputs[name]);
      const scale = Math.max(...wanted.map(Math.abs), 1e-6);
      numbers(tensor).forEach((x, i) =>
        expect(Math.abs(x - wanted[i]!) / scale, name).toBeLessThan(1e-4),
      );
    }
    store.dispose();
  });
});
