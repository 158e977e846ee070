import { expect, test } from "vitest";
import type { ModelConfig } from "../config.ts";
import { preset } from "../presets.ts";
import { inverseFrequencies, softmaxScale } from "./rope.ts";

const yarn = {
  type: "yarn",
  factor: 40,
  originalMaxPositionEmbeddings: 64,
  betaFast: 32,
  betaSlow: 1,
  mscale: 1,
  mscaleAllDim: 1,
} as const;

const config = (changes: Partial<ModelConfig>): ModelConfig => ({
  ...preset("tiny"),
  qkNopeHeadDim: 16,
  qkRopeHeadDim: 16,
  ...changes,
});

test("YaRN keeps fast frequencies, divides slow ones and blends between", () => {
  const plain = inverseFrequencies(config({}));
  const scaled = inverseFrequencies(config({ ropeScaling: yarn }));
  const ratios = [...scaled].map((f, j) => Math.round((plain[j]! / f) * 1e4) / 1e4);
  expect(plain[0]).toBe(1);
  expect(ratios[0]).toBeCloseTo(1, 5);
  expect(ratios.at(-1)).toBeCloseTo(40, 3);
  expect(ratios.some((ratio) => ratio > 1.01 && ratio < 39.9)).toBe(true);
  expect(ratios).toEqual(ratios.toSorted((a, b) => a - b));
});

test.each([
  ["without YaRN", {}, 32 ** -0.5],
  ["mscale squared under YaRN", { ropeScaling: yarn }, 32 ** -0.5 * (0.1 * Math.log(40) + 1) ** 2],
  [
    "mscale_all_dim counts, not mscale",
    { ropeScaling: { ...yarn, mscaleAllDim: 0.707 } },
    32 ** -0.5 * (0.0707 * Math.log(40) + 1) ** 2,
  ],
  ["mscale_all_dim 0", { ropeScaling: { ...yarn, mscaleAllDim: 0 } }, 32 ** -0.5],
  ["a factor of 1", { ropeScaling: { ...yarn, factor: 1 } }, 32 ** -0.5],
  ["heads without a rotary part of their own", { attention: "mha" }, 16 ** -0.5],
] as const)("softmax scale: %s", (_, changes, expected) => {
  expect(softmaxScale(config(changes as Partial<ModelConfig>))).toBeCloseTo(expected, 12);
});
