import { describe, expect, test } from "vitest";

import { largestError, type Measure, type Numbers } from "./compare.ts";
import { ruleFor, skipReason } from "./rules.ts";

const numbers = (
  values: readonly number[],
  shape: readonly number[] = [values.length],
): Numbers => ({
  shape,
  values: Float64Array.from(values),
});

const error = (measure: Measure, got: readonly number[], expected: Numbers): number =>
  largestError(numbers(got), expected, { measure, tolerance: 0 });

describe("each measure has its own unit", () => {
  const expected = numbers([1, -4, 10, 100], [2, 2]);
  test.each([
    ["absolute", 0.5],
    ["relative", 0.05],
    ["row", 0.005],
    ["tensor", 0.005],
  ] as const)("%s", (measure, largest) => {
    expect(error(measure, [1, -4, 10.5, 100], expected)).toBeCloseTo(largest, 12);
  });

  test("a row counts by its own largest value", () => {
    expect(error("row", [1.4, -4, 10, 100], expected)).toBeCloseTo(0.1, 12);
    expect(error("tensor", [1.4, -4, 10, 100], expected)).toBeCloseTo(0.004, 12);
  });

  test("rms is over all elements", () => {
    expect(error("rms", [3, 4], numbers([3, 3]))).toBeCloseTo(1 / Math.sqrt(18), 12);
  });
});

describe("what cannot be compared is infinitely wrong", () => {
  test.each(["absolute", "relative", "row", "tensor", "rms", "exact"] as const)("%s", (measure) => {
    expect(error(measure, [1, 2], numbers([1]))).toBe(Infinity);
    expect(error(measure, [1, Number.NaN], numbers([1, 2]))).toBe(Infinity);
    expect(error(measure, [1, 2], numbers([1, 2]))).toBe(0);
  });
});

test("exact means the same bits", () => {
  expect(error("exact", [Number.NaN], numbers([Number.NaN]))).toBe(0);
  expect(error("exact", [0], numbers([-0]))).toBe(Infinity);
  expect(error("exact", [3], numbers([5]))).toBe(2);
});

test("zeros are met by zeros only, whatever the unit", () => {
  for (const measure of ["relative", "row", "tensor", "rms"] as const) {
    expect(error(measure, [0, 0], numbers([0, 0]))).toBe(0);
    expect(error(measure, [0, 1e-9], numbers([0, 0]))).toBe(Infinity);
  }
});

describe("rules by name", () => {
  test.each([
    ["logits", 1e-4, "absolute"],
    ["decode.logits_naive", 1e-4, "absolute"],
    ["prefill.hidden.layers.2", 1e-4, "absolute"],
    ["mtp.eh_proj_output", 1e-4, "absolute"],
    ["mla.layers.0.c_kv", 5e-5, "absolute"],
    ["router.layers.1.topk_weights", 2e-5, "absolute"],
    ["decode.router.layers.1.topk_indices", 0, "exact"],
    ["greedy.tokens", 0, "exact"],
    ["mtp.target_ids", 0, "exact"],
    ["dequant.model.layers.0.self_attn.kv_b_proj.weight", 0, "exact"],
    ["fp8_linear.model.layers.0.mlp.up_proj.weight.output", 1e-5, "row"],
    ["loss_f64.total", 1e-5, "relative"],
    ["grad.model.layers.1.mlp.gate.weight", 1e-4, "tensor"],
    ["model_after.lm_head.weight", 5e-5, "absolute"],
  ] as const)("%s", (name, tolerance, measure) => {
    expect(ruleFor(name, false)).toEqual({ measure, tolerance });
  });

  test("YaRN doubles the room of logits and hidden states only", () => {
    expect(ruleFor("logits", true)?.tolerance).toBe(2e-4);
    expect(ruleFor("mla.layers.0.c_kv", true)?.tolerance).toBe(5e-5);
  });

  test("other names have no rule", () => {
    expect(ruleFor("no.such.tensor", false)).toBeUndefined();
    expect(skipReason("variant.mtp_logits")).toMatch(/orientation only/);
    expect(skipReason("mtp.logits")).toBeUndefined();
  });
});
