import { describe, expect, test } from "vitest";
import { cachedValues, flopsPerToken, inspectConfig } from "./inspect.ts";
import { parameterTable } from "./parameters.ts";
import { preset } from "./presets.ts";

const billions = (count: number): number => count / 1e9;

describe("the published numbers", () => {
  test("V3", () => {
    const { parameters, cacheBytesPerToken } = inspectConfig(preset("v3-671b"));
    expect(Math.round(billions(parameters.total))).toBe(671);
    expect(Math.floor(billions(parameters.activated))).toBe(37);
    expect(Math.round(billions(parameters.totalWithMtp))).toBe(685);
    expect(cacheBytesPerToken).toEqual({
      mla: 70272,
      mha: 61 * 2 * 128 * (128 + 128),
      gqa: 61 * 2 * 8 * (128 + 128),
      mqa: 61 * 2 * (128 + 128),
    });
  });

  test("V2-Lite", () => {
    const { parameters, cacheBytesPerToken } = inspectConfig(preset("v2-lite"));
    expect(billions(parameters.total).toFixed(1)).toBe("15.7");
    expect(billions(parameters.activated).toFixed(1)).toBe("2.7");
    expect(parameters.totalWithMtp).toBe(parameters.total);
    expect(cacheBytesPerToken.mla).toBe(31104);
  });

  test("V2", () => {
    const { parameters } = inspectConfig(preset("v2"));
    expect(Math.round(billions(parameters.total))).toBe(236);
    expect(Math.floor(billions(parameters.activated))).toBe(21);
  });
});

test("by hand, for one dense layer without experts", () => {
  const config = {
    ...preset("tiny"),
    numHiddenLayers: 1,
    numNextnPredictLayers: 0,
    nRoutedExperts: 0,
    qLoraRank: null,
  };
  // q [96, 64], kv_a [40, 64], kv_b [128, 32], o [64, 64], three of [128, 64]
  const matrices = 96 * 64 + 40 * 64 + 128 * 32 + 64 * 64 + 3 * 128 * 64;
  const vocabulary = config.vocabSize * 64;
  const norms = 3 * 64 + 32;
  const { parameters } = inspectConfig(config);
  expect(parameters.total).toBe(matrices + 2 * vocabulary + norms);
  expect(parameters.activated).toBe(parameters.total);
  expect(flopsPerToken(config)).toBe(2 * (matrices + vocabulary));
  expect(flopsPerToken(config, 10) - flopsPerToken(config)).toBe(2 * 10 * 4 * (24 + 16));
  const tied = { ...config, tieWordEmbeddings: true };
  expect(inspectConfig(tied).parameters.total).toBe(parameters.total - vocabulary);
  expect(flopsPerToken(tied)).toBe(flopsPerToken(config));
});

test("activated counts the chosen experts only", () => {
  const { parameters } = inspectConfig(preset("tiny"));
  const idle = (8 - 2) * 3 * 32 * 64;
  expect(parameters.total - parameters.activated).toBe(idle);
});

test("GQA compares with the model's own groups, or eight, or the next smaller divisor", () => {
  const config = { ...preset("small"), attention: "gqa" as const, numKeyValueHeads: 2 };
  expect(cachedValues(config, "gqa")).toBe(2 * 32);
  expect(cachedValues(preset("small"), "gqa")).toBe(4 * 32);
  expect(cachedValues({ ...preset("small"), numAttentionHeads: 10 }, "gqa")).toBe(5 * 32);
});

test("stacked experts are as many values as their checkpoint tensors", () => {
  for (const spec of parameterTable(preset("small")))
    if (spec.experts > 0) expect(spec.shape[0]).toBe(16);
});
