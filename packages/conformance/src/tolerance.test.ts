import { expect, test } from "vitest";

import { exact, opTolerance, unitInLastPlace, withinTolerance } from "./tolerance.ts";

test("units in the last place are the distances to the next value", () => {
  expect(unitInLastPlace("f32", 1)).toBe(2 ** -23);
  expect(unitInLastPlace("f32", -3)).toBe(2 ** -22);
  expect(unitInLastPlace("f32", 1 - 2 ** -24)).toBe(2 ** -24);
  expect(unitInLastPlace("f32", 0)).toBe(2 ** -149);
  expect(unitInLastPlace("bf16", 1)).toBe(2 ** -7);
  expect(unitInLastPlace("f16", 65504)).toBe(32);
  expect(unitInLastPlace("e4m3fn", 448)).toBe(32);
  expect(unitInLastPlace("e4m3fn", 2 ** -9)).toBe(2 ** -9);
  expect(unitInLastPlace("i32", 100)).toBe(0);
  expect(unitInLastPlace("f32", Infinity)).toBe(0);
});

test("equality takes any NaN and either zero, and nothing near", () => {
  expect(withinTolerance("f32", NaN, NaN, exact)).toBe(true);
  expect(withinTolerance("f32", 0, -0, exact)).toBe(true);
  expect(withinTolerance("f32", NaN, 0, { ulps: 100, absolute: 100 })).toBe(false);
  expect(withinTolerance("f32", Infinity, 3e38, { ulps: 100, absolute: Infinity })).toBe(false);
  expect(withinTolerance("f32", 1 + 2 ** -23, 1, exact)).toBe(false);
});

test("tolerances are of the expected value's size", () => {
  expect(withinTolerance("f32", 1 + 2 ** -22, 1, { ulps: 2, absolute: 0 })).toBe(true);
  expect(withinTolerance("f32", 1 + 2 ** -21, 1, { ulps: 2, absolute: 0 })).toBe(false);
  expect(withinTolerance("bf16", 1 + 2 ** -7, 1, opTolerance("bf16"))).toBe(true);
  expect(withinTolerance("bf16", 1 + 2 ** -6, 1, opTolerance("bf16"))).toBe(false);
  expect(opTolerance("i32")).toEqual(exact);
  expect(opTolerance("f32", { operations: 2 ** 10, magnitude: 4 }).absolute).toBe(2 ** -12);
});
