import { expect, test } from "vitest";
import { preset, presetNames } from "./presets.ts";
import { byteTokenizer } from "./tokenizer.ts";

test("unknown names are refused with the list of known ones", () => {
  expect(() => preset("huge")).toThrow(/no preset "huge".*tiny, small, v3-671b, v2-lite, v2/);
  expect(() => preset("__proto__")).toThrow(/no preset/);
});

test("the trainable presets have the byte tokenizer's vocabulary", () => {
  for (const name of ["tiny", "small"])
    expect(preset(name)).toMatchObject({
      vocabSize: byteTokenizer().vocabSize,
      bosTokenId: byteTokenizer().bosTokenId,
      eosTokenId: byteTokenizer().eosTokenId,
    });
  expect(presetNames).toHaveLength(5);
});

test("small is the quickstart's model", () => {
  expect(preset("small")).toMatchObject({
    numHiddenLayers: 4,
    firstKDenseReplace: 1,
    nRoutedExperts: 16,
    nSharedExperts: 1,
    numExpertsPerTok: 4,
    numNextnPredictLayers: 1,
  });
});
