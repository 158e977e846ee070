import { declare, hostTensor, toNumbers } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { ModelConfig } from "../config.ts";
import { preset } from "../presets.ts";
import { gate } from "./gate.ts";
import { rootScope } from "./layer-scope.ts";
import { productsFor } from "./linear.ts";

interface Routed {
  readonly indices: readonly number[];
  readonly weights: readonly number[];
  /** Whether rounding could have chosen otherwise. */
  readonly isClose: boolean;
}

/** Whether two of these sums, which are below 4, differ by less than a few roundings to f32 of 2^-22 each can. */
function hasTies(values: readonly number[]): boolean {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.some((value, i) => i > 0 && value - sorted[i - 1]! < 2e-6);
}

/** The rule of arXiv 2412.19437 §2.1.2 (and of V2) for one token, one line per sentence. */
function reference(
  config: ModelConfig,
  affinity: readonly number[],
  bias: readonly number[],
): Routed {
  const { nGroup, topkGroup, numExpertsPerTok: k, topkMethod } = config;
  const total = affinity.reduce((sum, x) => sum + Math.exp(x), 0);
  const scores = affinity.map((x) =>
    config.scoringFunc === "sigmoid" ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / total,
  );
  const choice = scores.map((s, e) => (topkMethod === "noaux_tc" ? s + bias[e]! : s));
  const descending = (values: readonly number[]): number[] =>
    values.map((_, i) => i).toSorted((a, b) => values[b]! - values[a]! || a - b);
  const size = scores.length / nGroup;
  const ratings = Array.from({ length: nGroup }, (_, g) => {
    const group = choice.slice(g * size, (g + 1) * size).toSorted((a, b) => b - a);
    return topkMethod === "noaux_tc" ? group[0]! + (group[1] ?? 0) : group[0]!;
  });
  const kept = new Set(descending(ratings).slice(0, topkGroup));
  const open = choice.map((z, e) =>
    topkMethod === "greedy" || kept.has(Math.floor(e / size)) ? z : -Infinity,
  );
  const indices = descending(open).slice(0, k);
  const chosen = indices.map((e) => scores[e]!);
  const sum = config.normTopkProb ? chosen.reduce((a, b) => a + b, 0) : 1;
  const weights = chosen.map((s) => (s / sum) * config.routedScalingFactor);
  return { indices, weights, isClose: hasTies(choice) || hasTies(ratings) };
}

const sizes = fc.record({
  nGroup: fc.integer({ min: 1, max: 4 }),
  perGroup: fc.integer({ min: 2, max: 5 }),
  groupShare: fc.double({ min: 0, max: 1, noNaN: true }),
  expertShare: fc.double({ min: 0, max: 1, noNaN: true }),
  method: fc.constantFrom("noaux_tc", "greedy", "group_limited_greedy"),
  normTopkProb: fc.boolean(),
  routedScalingFactor: fc.constantFrom(1, 2.5, 16),
});

type Sizes = typeof sizes extends fc.Arbitrary<infer T> ? T : never;

function configOf({
  nGroup,
  perGroup,
  groupShare,
  expertShare,
  method,
  ...rest
}: Sizes): ModelConfig {
  const topkGroup = 1 + Math.floor(groupShare * (nGroup - 1));
  const available = (method === "greedy" ? nGroup : topkGroup) * perGroup;
  return {
    ...preset("tiny"),
    ...rest,
    hiddenSize: nGroup * perGroup,
    nRoutedExperts: nGroup * perGroup,
    nGroup,
    topkGroup,
    numExpertsPerTok: 1 + Math.floor(expertShare * (available - 1)),
    topkMethod: method,
    scoringFunc: method === "noaux_tc" ? "sigmoid" : "softmax",
  };
}

test("routing follows the rule, negative biases included", () => {
  fc.assert(
    fc.property(
      sizes.map(configOf),
      fc.integer({ min: 1, max: 6 }),
      fc.nat(),
      (config, rows, seed) => {
        const experts = config.nRoutedExperts;
        // Distinct values; sums of them may still be too close to tell.
        const value = (i: number): number =>
          ((((i + 1) * 2654435761 + seed * 40503) >>> 0) / 2 ** 32) * 4 - 2;
        const x = Array.from({ length: rows * experts }, (_, i) => Math.fround(value(i)));
        const bias = Array.from({ length: experts }, (_, e) => Math.fround(value(e + 1000) - 1));
        const graph = declare("gate", (b) => {
          const parameter = (name: string) =>
            name.endsWith("bias")
              ? b.state("bias", "f32", [experts])
              : b.state("weight", "f32", [experts, experts]);
          const scope = rootScope({
            builder: b,
            config,
            products: productsFor("f32"),
            parameter,
            tap: () => {},
          });
          const { indices, weights } = gate(scope, b.input("x", "f32", [rows, experts]));
          return { indices, weights };
        });
        // With the identity as the gate's weight, affinities are the input itself.
        const identity = x.slice(0, 0);
        for (let i = 0; i < experts * experts; i++)
          identity.push(Math.floor(i / experts) === i % experts ? 1 : 0);
        const { outputs } = interpret(
          graph,
          { x: hostTensor("f32", [rows, experts], x) },
          {
            states: {
              weight: hostTensor("f32", [experts, experts], identity),
              bias: hostTensor("f32", [experts], bias),
            },
          },
        );
        const k = config.numExpertsPerTok;
        const indices = [...toNumbers(outputs["indices"]!)];
        const weights = toNumbers(outputs["weights"]!);
        for (let row = 0; row < rows; row++) {
          const affinity = x.slice(row * experts, (row + 1) * experts);
          const expected = reference(config, affinity, bias);
          fc.pre(!expected.isClose);
          expect(indices.slice(row * k, (row + 1) * k)).toEqual(expected.indices);
          expected.weights.forEach((weight, i) =>
            expect(weights[row * k + i]).toBeCloseTo(weight, 4),
          );
        }
      },
    ),
    { numRuns: 60 },
  );
});
