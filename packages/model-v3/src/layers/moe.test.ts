import { declare, hostTensor, toNumbers } from "@millrace/graph";
import type { HostTensor, Tensor } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import { expect, test } from "vitest";
import type { ModelConfig } from "../config.ts";
import { preset } from "../presets.ts";
import { rootScope } from "./layer-scope.ts";
import { productsFor } from "./linear.ts";
import { moe } from "./moe.ts";

const width = 6;
const inner = 3;
const experts = 4;
const config: ModelConfig = {
  ...preset("tiny"),
  hiddenSize: width,
  moeIntermediateSize: inner,
  nRoutedExperts: experts,
  nSharedExperts: 1,
  numExpertsPerTok: 2,
  nGroup: 1,
  topkGroup: 1,
  routedScalingFactor: 2.5,
};

const shapes: Record<string, readonly number[]> = {
  "gate.weight": [experts, width],
  "gate.e_score_correction_bias": [experts],
  "experts.*.gate_proj.weight": [experts, inner, width],
  "experts.*.up_proj.weight": [experts, inner, width],
  "experts.*.down_proj.weight": [experts, width, inner],
  "shared_experts.gate_proj.weight": [inner, width],
  "shared_experts.up_proj.weight": [inner, width],
  "shared_experts.down_proj.weight": [width, inner],
};

const value = (i: number): number => Math.fround(Math.sin(i * 12.9898 + 4.1) * 0.8);

function parameters(bias: readonly number[]): Record<string, HostTensor> {
  let next = 0;
  const states: Record<string, HostTensor> = {};
  for (const [name, shape] of Object.entries(shapes)) {
    const count = shape.reduce((a, b) => a * b, 1);
    states[name] = hostTensor(
      "f32",
      shape,
      Array.from({ length: count }, () => value(next++)),
    );
  }
  states["gate.e_score_correction_bias"] = hostTensor("f32", [experts], bias);
  return states;
}

/** Rows [out, in] of slice `at` of a parameter, times a vector. */
function product({ shape, data }: HostTensor, x: readonly number[], at = 0): number[] {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return Array.from({ length: rows }, (_, r) =>
    x.reduce((sum, v, c) => sum + v * Number(data[(at * rows + r) * columns + c]), 0),
  );
}

function expertOf(states: Record<string, HostTensor>, name: string, x: number[], at = 0): number[] {
  const gate = product(states[`${name}.gate_proj.weight`]!, x, at);
  const up = product(states[`${name}.up_proj.weight`]!, x, at);
  const gated = gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]!);
  return product(states[`${name}.down_proj.weight`]!, gated, at);
}

function run(rows: number, states: Record<string, HostTensor>, x: readonly number[]) {
  const graph = declare("moe", (b) => {
    const parameter = (name: string): Tensor => {
      const local = name.replace(/^model\.layers\.1\.mlp\./, "");
      return b.state(local, "f32", shapes[local]!);
    };
    const products = productsFor("f32");
    const root = rootScope({ builder: b, config, products, parameter, tap: () => {} });
    const { output, routing } = moe(root.at("layers.1.mlp"), 1, b.input("x", "f32", [rows, width]));
    return { output, indices: routing.indices, weights: routing.weights, load: routing.load };
  });
  return interpret(graph, { x: hostTensor("f32", [rows, width], x) }, { states }).outputs;
}

test.each([
  ["spread over the experts", 7, [0, 0, 0, 0]],
  ["all on the same two experts", 5, [9, 0, 9, 0]],
  ["a single token", 1, [0, 0, 0, 0]],
] as const)("tokens %s: every one reaches its experts", (_how, rows, bias) => {
  const states = parameters(bias);
  const x = Array.from({ length: rows * width }, (_, i) => value(i + 500) * 2);
  const outputs = run(rows, states, x);
  const indices = [...toNumbers(outputs["indices"]!)];
  const weights = toNumbers(outputs["weights"]!);
  const got = toNumbers(outputs["output"]!);
  for (let row = 0; row < rows; row++) {
    const token = x.slice(row * width, (row + 1) * width);
    const expected = expertOf(states, "shared_experts", token);
    for (let j = 0; j < 2; j++)
      expertOf(states, "experts.*", token, indices[row * 2 + j]).forEach((y, i) => {
        expected[i]! += weights[row * 2 + j]! * y;
      });
    expected.forEach((y, i) => expect(got[row * width + i]).toBeCloseTo(y, 4));
  }
  const counts = Array.from({ length: experts }, (_, e) => indices.filter((i) => i === e).length);
  expect([...toNumbers(outputs["load"]!)]).toEqual(counts);
  expect(counts.reduce((a, b) => a + b)).toBe(rows * 2);
  if (bias[0] === 9) expect(counts).toEqual([rows, 0, rows, 0]);
});
