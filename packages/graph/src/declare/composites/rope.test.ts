import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { rope, ropeInverseFrequencies, ropeTables, yarnInverseFrequencies } from "./rope.ts";

describe("inverse frequencies", () => {
  test("fall geometrically from 1", () => {
    expect([...ropeInverseFrequencies(10_000, 4)]).toEqual([1, Math.fround(0.01)]);
    expect(() => ropeInverseFrequencies(10_000, 5)).toThrow(AttributeError);
    expect(() => ropeInverseFrequencies(10_000, 0)).toThrow(AttributeError);
  });

  test("YaRN keeps fast ones, divides slow ones and blends between, as DeepSeek-V3 is configured", () => {
    const yarn = { theta: 10_000, dim: 64, factor: 40, originalMaxPosition: 4096 };
    const stretched = yarnInverseFrequencies({ ...yarn, betaFast: 32, betaSlow: 1 });
    const plain = ropeInverseFrequencies(10_000, 64);
    // A pair turns 4096 / (2 pi 10000^(j/32)) times in the original context: 32 times at j = 10.47, once at 22.51.
    for (let j = 0; j <= 10; j++) expect(stretched[j]).toBe(plain[j]);
    for (let j = 11; j <= 22; j++) {
      const ramp = (j - 10) / 13;
      expect(stretched[j]! / plain[j]!).toBeCloseTo(ramp / 40 + 1 - ramp, 5);
    }
    for (let j = 23; j < 32; j++) expect(stretched[j]! / plain[j]!).toBeCloseTo(1 / 40, 6);
  });

  test("YaRN with factor 1 is plain, and refuses a factor of 0", () => {
    const yarn = { theta: 10_000, dim: 16, originalMaxPosition: 64, betaFast: 32, betaSlow: 1 };
    expect(yarnInverseFrequencies({ ...yarn, factor: 1 })).toEqual(
      ropeInverseFrequencies(10_000, 16),
    );
    expect(() => yarnInverseFrequencies({ ...yarn, factor: 0 })).toThrow(AttributeError);
  });
});

test("rope takes tables of half the width, for the positions of x", () => {
  const b = new GraphBuilder("rope");
  const x = b.input("x", "bf16", [2, 5, 3, 8]);
  const tables = (name: string, ...shape: number[]) =>
    ropeTables(b.input(`p${name}`, "i32", shape), b.input("f", "f32", [4]));
  for (const { cos, sin } of [tables("a", 5), tables("b", 2, 5), tables("c", 1 * 5)])
    expect(rope(x, cos, sin).type).toEqual(x.type);
  for (const { cos, sin } of [tables("d", 4), tables("e", 3, 5)])
    expect(() => rope(x, cos, sin)).toThrow(ShapeError);
  const { cos, sin } = tables("f", 5);
  expect(() => rope(b.input("y", "f32", [5, 3, 6]), cos, sin)).toThrow(ShapeError);
  expect(() => rope(b.input("z", "f32", [8]), cos, sin)).toThrow(ShapeError);
  expect(() => rope(b.input("i", "i32", [5, 3, 8]), cos, sin)).toThrow(DTypeError);
});
