import { describe, expect, test } from "vitest";
import { drawToken, seededUniform } from "./sampler.ts";

describe("drawToken", () => {
  test("takes the token whose interval the number falls into", () => {
    const p = Float64Array.of(0, 0.25, 0, 0.5, 0.25, 0);
    for (const [uniform, token] of [
      [0, 1],
      [0.2499, 1],
      [0.25, 3],
      [0.7499, 3],
      [0.75, 4],
      [1 - 2 ** -53, 4],
    ] as const)
      expect(drawToken(p, uniform)).toBe(token);
  });

  test("never takes a token of probability 0, even where rounding reaches the whole sum", () => {
    const p = Float64Array.from({ length: 11 }, (_, i) => (i === 10 ? 0 : 0.1));
    expect(drawToken(p, 1)).toBe(9);
  });
});

describe("seededUniform", () => {
  test("is a function of seed, position and purpose", () => {
    const uniform = seededUniform(7);
    expect(uniform(3, "token")).toBe(seededUniform(7)(3, "token"));
    const values = new Set<number>();
    for (const seed of [0, 1, 2 ** 32, 2 ** 53 - 1])
      for (const position of [0, 1, 100_000])
        for (const purpose of ["token", "draft", "accept"] as const)
          values.add(seededUniform(seed)(position, purpose));
    expect(values.size).toBe(4 * 3 * 3);
  });

  test("spreads evenly from 0 to below 1", () => {
    const uniform = seededUniform(1);
    const bins = new Float64Array(16);
    for (let i = 0; i < 16_000; i++) {
      const value = uniform(i, "token");
      bins[Math.floor(value * 16)]!++;
    }
    expect(bins.reduce((sum, count) => sum + count, 0)).toBe(16_000);
    const chiSquare = bins.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    // 15 degrees of freedom: above 37.7 once in a thousand seeds; this seed is fixed.
    expect(chiSquare).toBeLessThan(37.7);
  });

  test.each([-1, 0.5, Number.NaN])("refuses seed %d", (seed) => {
    expect(() => seededUniform(seed)).toThrow(/the seed is/);
  });
});
