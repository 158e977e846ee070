// What random numbers look like once they are evaluated: in range, centred, spread as asked, and different under another key.
import {
  declare,
  hostTensor,
  randomBits,
  randomNormal,
  randomUniform,
  threefry2x32,
  toNumbers,
} from "@millrace/graph";
import { expect, test } from "vitest";
import { interpret } from "./interpret.ts";

const count = 4096;

const graph = declare("random", (b) => {
  const key = b.input("key", "u32", [2]);
  return {
    bits: randomBits(key, [64, count / 64]),
    uniform: randomUniform(key, [count], -2, 6),
    normal: randomNormal(key, [count], 3, 0.5),
  };
});

const run = (key: readonly number[]): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(interpret(graph, { key: hostTensor("u32", [2], key) }).outputs).map(
      ([name, value]) => [name, toNumbers(value)],
    ),
  );

const moments = (x: Float64Array): { mean: number; deviation: number } => {
  const mean = x.reduce((total, value) => total + value, 0) / x.length;
  const square = x.reduce((total, value) => total + (value - mean) ** 2, 0) / x.length;
  return { mean, deviation: Math.sqrt(square) };
};

test("bits are the hash of the key and the position", () => {
  const { bits } = run([7, 0xdeadbeef]);
  for (const i of [0, 1, 63, 64, count - 1]) {
    const [x0, x1] = threefry2x32(7, 0xdeadbeef, 0, i);
    expect(bits![i]).toBe((x0 ^ x1) >>> 0);
  }
});

// Five standard errors of 4096 samples; the key is fixed, so this does not vary from run to run.
test("uniform numbers lie in their range, evenly", () => {
  const uniform = run([1, 2])["uniform"]!;
  expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-2);
  expect(Math.max(...uniform)).toBeLessThanOrEqual(6);
  const { mean, deviation } = moments(uniform);
  expect(Math.abs(mean - 2)).toBeLessThan((5 * 8) / Math.sqrt(12 * count));
  expect(deviation).toBeCloseTo(8 / Math.sqrt(12), 1);
});

test("normal numbers have the mean and deviation asked for, and their tails", () => {
  const normal = run([1, 2])["normal"]!;
  const { mean, deviation } = moments(normal);
  expect(Math.abs(mean - 3)).toBeLessThan((5 * 0.5) / Math.sqrt(count));
  expect(Math.abs(deviation - 0.5)).toBeLessThan((5 * 0.5) / Math.sqrt(2 * count));
  const within = normal.filter((x) => Math.abs(x - 3) < 0.5).length / count;
  expect(Math.abs(within - 0.6827)).toBeLessThan(0.04);
});

test("another key gives other numbers", () => {
  const [first, second] = [run([1, 2])["bits"]!, run([1, 3])["bits"]!];
  expect(first.filter((x, i) => x === second[i])).toHaveLength(0);
});
