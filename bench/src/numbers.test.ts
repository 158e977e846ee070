import { describe, expect, it } from "vitest";
import { integers, samplePositions, SAMPLES, seedOf, uniform } from "./numbers.ts";

describe("uniform", () => {
  it("is the same for the same seed, evenly spread, and within its scale", () => {
    const values = uniform(7, 10_000, 0.5);
    expect(uniform(7, 10_000, 0.5)).toEqual(values);
    expect(uniform(8, 10_000, 0.5)).not.toEqual(values);
    expect(Math.max(...values)).toBeLessThan(0.5);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(-0.5);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const square = values.reduce((a, b) => a + b * b, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.02);
    expect(square).toBeCloseTo(0.25 / 3, 2);
  });

  it("has these first values, which the Python side must have too", () => {
    expect([...uniform(1, 3)]).toEqual([
      -0.11746907234191895, 0.6441757678985596, 0.9268988370895386,
    ]);
    expect([...integers(1, 4, 100)]).toEqual([6, 46, 99, 26]);
    expect(seedOf("model.norm.weight")).toBe(2954013183);
  });
});

describe("samplePositions", () => {
  it("takes all of a short result and scattered elements of a long one", () => {
    expect(samplePositions(3)).toEqual([0, 1, 2]);
    const positions = samplePositions(1024 * 1024);
    expect(positions.length).toBe(SAMPLES);
    expect(Math.max(...positions)).toBeLessThan(1024 * 1024);
    expect(new Set(positions.map((at) => at % 1024)).size).toBeGreaterThan(SAMPLES / 2);
  });
});
