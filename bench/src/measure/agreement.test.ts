import { describe, expect, it } from "vitest";
import { differenceOf } from "./agreement.ts";

describe("differenceOf", () => {
  it("is relative to the size of the expected elements, not to each one", () => {
    expect(differenceOf([3, 4.5], [3, 4])).toBeCloseTo(0.5 / Math.sqrt(12.5), 12);
    // A small element with a large relative error is a small difference.
    expect(differenceOf([1000, 0.02], [1000, 0.01])).toBeLessThan(1e-4);
  });

  it("finds nothing between equal results, zeros too", () => {
    expect(differenceOf([1, -2], [1, -2])).toBe(0);
    expect(differenceOf([0, 0], [0, 0])).toBe(0);
  });

  it.each([
    ["another length", [1], [1, 2]],
    ["no elements", [], []],
    ["a result that is not a number", [Number.NaN, 1], [1, 1]],
    ["an infinite result", [Infinity, 1], [1, 1]],
    ["one as JSON carries it", [null, 1], [1, 1]],
    ["something where nothing is expected", [1, 1], [0, 0]],
  ])("is infinite for %s", (_, actual, expected) => {
    expect(differenceOf(actual, expected)).toBe(Infinity);
  });
});
