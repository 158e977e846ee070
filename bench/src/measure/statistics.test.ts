import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { median, ratioOf, scaled, spreadOf } from "./statistics.ts";

describe("median", () => {
  it("is the middle value, or the mean of the two middle ones", () => {
    expect(median([3])).toBe(3);
    expect(median([9, 1, 5])).toBe(5);
    expect(median([10, 2, 4, 100])).toBe(7);
  });

  it("refuses an empty list", () => {
    expect(() => median([])).toThrow(/no values/);
  });

  it("has as many values above it as below it, whatever their order", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, min: -1e9, max: 1e9 }), { minLength: 1 }),
        (values) => {
          const middle = median(values);
          const above = values.filter((value) => value > middle).length;
          const below = values.filter((value) => value < middle).length;
          expect(Math.max(above, below)).toBeLessThanOrEqual(values.length / 2);
          expect(median(values.toReversed()) === middle).toBe(true);
        },
      ),
    );
  });
});

describe("ratioOf", () => {
  it("compares round by round, so that a machine that slows down for both leaves it alone", () => {
    const ours = [10, 5, 20, 1];
    const theirs = ours.map((value) => value / 4);
    expect(ratioOf(ours, theirs)).toEqual({ median: 4, low: 4, high: 4 });
  });

  it("uses the rounds that both sides have", () => {
    expect(ratioOf([2, 4, 600], [1, 1])).toEqual({ median: 3, low: 2, high: 4 });
  });
});

it("a spread holds the extremes", () => {
  const spread = spreadOf([4, 1, 3]);
  expect(spread).toEqual({ median: 3, low: 1, high: 4 });
  expect(scaled(spread, 2)).toEqual({ median: 6, low: 2, high: 8 });
});
