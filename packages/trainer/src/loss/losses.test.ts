import { declare, type Graph, gradients, hostTensor, type HostTensor } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import { type ModelConfig, preset, type Routing } from "@millrace/model-v3";
import { describe, expect, it } from "vitest";

import { nextTokenLoss } from "./next-token.ts";
import { balanceLoss } from "./sequence-balance.ts";

/** Numbers in (0, 1) that look random and are the same every time. */
const noise = (count: number, seed: number): number[] =>
  Array.from({ length: count }, (_, i) => {
    const x = Math.sin(seed * 78.233 + i * 12.9898) * 43758.5453;
    return x - Math.floor(x);
  });

const output = (graph: Graph, inputs: Record<string, HostTensor>, name: string): number[] =>
  Array.from(
    interpret(graph, inputs, { precision: "f64" }).outputs[name]!.data as ArrayLike<number>,
  );

describe("nextTokenLoss", () => {
  it.each([1, 2])("asks position i for token i + %i", (ahead) => {
    const [batch, width, vocabulary] = [2, 5, 7];
    const positions = width - ahead;
    const logits = noise(batch * positions * vocabulary, 1).map((x) => 4 * x - 2);
    const tokens = noise(batch * width, 2).map((x) => Math.floor(x * vocabulary));
    const graph = declare("loss", (b) => ({
      loss: nextTokenLoss(
        b.input("logits", "f32", [batch * positions, vocabulary]),
        b.input("tokens", "i32", [batch, width]),
        ahead,
      ),
    }));
    let expected = 0;
    for (let row = 0; row < batch * positions; row++) {
      const own = logits.slice(row * vocabulary, (row + 1) * vocabulary).map(Math.fround);
      const label = tokens[Math.floor(row / positions) * width + (row % positions) + ahead]!;
      const total = own.reduce((sum, x) => sum + Math.exp(x), 0);
      expected += (Math.log(total) - own[label]!) / (batch * positions);
    }
    const inputs = {
      logits: hostTensor("f32", [batch * positions, vocabulary], logits),
      tokens: hostTensor("i32", [batch, width], tokens),
    };
    expect(output(graph, inputs, "loss")[0]).toBeCloseTo(expected, 10);
  });
});

describe("balanceLoss", () => {
  const [sequences, tokens, experts, k] = [2, 6, 8, 2];
  const rows = sequences * tokens;
  const scores = noise(rows * experts, 3).map(Math.fround);
  const routed = noise(rows * k, 4).map((x) => Math.floor(x * experts));
  const declared = (config: ModelConfig): Graph =>
    declare("balance", (b) => {
      const routing = {
        layer: 1,
        scores: b.input("scores", "f32", [rows, experts]),
        indices: b.input("indices", "i32", [rows, k]),
      } as Routing;
      const { f, p, loss } = balanceLoss(routing, config, sequences);
      return { f, p, loss, gradient: gradients(loss, [routing.scores])[0]! };
    });
  const inputs = {
    scores: hostTensor("f32", [rows, experts], scores),
    indices: hostTensor("i32", [rows, k], routed),
  };
  /** The formula, written out. */
  const expected = (chosen: readonly number[], groups: number, alpha: number): number => {
    const size = rows / groups;
    let loss = 0;
    for (let group = 0; group < groups; group++)
      for (let e = 0; e < experts; e++) {
        let count = 0;
        let p = 0;
        for (let row = group * size; row < (group + 1) * size; row++) {
          count += chosen.slice(row * k, (row + 1) * k).filter((x) => x === e).length;
          const own = scores.slice(row * experts, (row + 1) * experts);
          p += own[e]! / own.reduce((x, y) => x + y, 0) / size;
        }
        loss += (alpha * ((experts / (k * size)) * count) * p) / groups;
      }
    return loss;
  };
  const largest = Array.from({ length: rows }, (_, row) =>
    scores
      .slice(row * experts, (row + 1) * experts)
      .map((score, e) => ({ score, e }))
      .toSorted((a, b) => b.score - a.score)
      .slice(0, k)
      .map(({ e }) => e),
  ).flat();
  const config = { ...preset("tiny"), nRoutedExperts: experts, numExpertsPerTok: k };

  it("counts the largest raw scores per sequence beside the bias", () => {
    const graph = declared({ ...config, balance: "loss_free", auxLossAlpha: 0.25 });
    expect(output(graph, inputs, "loss")[0]).toBeCloseTo(expected(largest, sequences, 0.25), 7);
    const f = output(graph, inputs, "f");
    expect(f.length).toBe(sequences * experts);
    expect(f.reduce((a, b) => a + b)).toBeCloseTo(sequences * experts, 5);
    expect(output(graph, inputs, "p").reduce((a, b) => a + b)).toBeCloseTo(sequences, 10);
  });

  it.each([
    [true, sequences],
    [false, 1],
  ])("as the auxiliary loss counts the choices made (per sequence: %s)", (seqAux, groups) => {
    const graph = declared({ ...config, balance: "auxiliary", seqAux, auxLossAlpha: 0.25 });
    expect(output(graph, inputs, "loss")[0]).toBeCloseTo(expected(routed, groups, 0.25), 7);
  });

  it("has the gradient of P alone, with f a constant", () => {
    const graph = declared({ ...config, balance: "auxiliary", seqAux: true, auxLossAlpha: 1 });
    const gradient = output(graph, inputs, "gradient");
    const lossAt = (at: number, by: number): number => {
      const moved = {
        dtype: "f32" as const,
        shape: [rows, experts],
        data: new Float64Array(scores),
      };
      moved.data[at]! += by;
      const result = interpret(graph, { ...inputs, scores: moved }, { precision: "f64" });
      return Number(result.outputs["loss"]!.data[0]);
    };
    for (const at of [0, 13, 50, rows * experts - 1])
      expect((lossAt(at, 1e-5) - lossAt(at, -1e-5)) / 2e-5).toBeCloseTo(gradient[at]!, 8);
  });
});
