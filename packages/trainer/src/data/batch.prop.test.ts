import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createBatchSource, heldOutBatches } from "./batch.ts";
import { counterBits, permuteIndex } from "./counter-random.ts";

const counting = (length: number): Uint32Array => Uint32Array.from({ length }, (_, i) => i);

describe("permuteIndex", () => {
  it("is a permutation of every size", () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.constantFrom(1, 2, 3, 127, 128, 129), fc.integer({ min: 1, max: 700 })),
        fc.nat(),
        (size, key) => {
          const images = new Set(
            Array.from({ length: size }, (_, i) => permuteIndex(i, size, key)),
          );
          expect(images.size).toBe(size);
          expect(Math.max(...images)).toBe(size - 1);
        },
      ),
    );
  });

  it("mixes: neighbours do not stay neighbours", () => {
    const size = 1000;
    const neighbours = Array.from({ length: size - 1 }, (_, i) =>
      Math.abs(permuteIndex(i + 1, size, 5) - permuteIndex(i, size, 5)),
    ).filter((distance) => distance === 1);
    expect(neighbours.length).toBeLessThan(20);
  });
});

describe("counterBits", () => {
  it("depends on every counter, past 2^32 too", () => {
    const seen = new Set(
      [[], [0], [1], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 33]].map((c) => counterBits(1, ...c)),
    );
    seen.add(counterBits(2));
    expect(seen.size).toBe(9);
  });

  it("is even over its range", () => {
    const buckets = Array.from({ length: 16 }, () => 0);
    for (let i = 0; i < 16_000; i++) {
      const bucket = counterBits(3, i) >>> 28;
      buckets[bucket] = (buckets[bucket] ?? 0) + 1;
    }
    for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(160);
  });
});

describe("createBatchSource", () => {
  it("gives windows of the text, the same ones for the same step", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 33 }),
        fc.nat({ max: 200 }),
        fc.nat(),
        fc.nat({ max: 1000 }),
        (batchSize, sequenceLength, extra, seed, step) => {
          const tokens = counting(sequenceLength + 1 + extra);
          const options = { tokens, batchSize, sequenceLength, seed };
          const batch = createBatchSource(options).batchAt(step);
          expect(batch.inputIds.length).toBe(batchSize * (sequenceLength + 1));
          for (let row = 0; row < batchSize; row++) {
            const start = batch.inputIds[row * batch.width] as number;
            for (let i = 0; i < batch.width; i++)
              expect(batch.inputIds[row * batch.width + i]).toBe(start + i);
            expect(start + batch.width).toBeLessThanOrEqual(tokens.length);
          }
          expect(createBatchSource(options).batchAt(step)).toEqual(batch);
        },
      ),
    );
  });

  it("visits every window once in a pass", () => {
    const source = createBatchSource({
      tokens: counting(16 * 64 + 5),
      batchSize: 3,
      sequenceLength: 16,
      seed: 1,
    });
    expect(source.stepsPerPass).toBe(21);
    const starts = new Set<number>();
    for (let step = 0; step < source.stepsPerPass; step++)
      for (let row = 0; row < 3; row++)
        starts.add(source.batchAt(step).inputIds[row * 17] as number);
    expect(starts.size).toBe(63);
  });

  it("changes with the seed", () => {
    const batches = [1, 2].map((seed) =>
      createBatchSource({ tokens: counting(5000), batchSize: 4, sequenceLength: 16, seed }).batchAt(
        0,
      ),
    );
    expect(batches[0]).not.toEqual(batches[1]);
  });

  it("refuses too little text, odd sizes and odd steps", () => {
    const make = (tokens: number, batchSize = 1): unknown =>
      createBatchSource({ tokens: counting(tokens), batchSize, sequenceLength: 16, seed: 1 });
    expect(() => make(16)).toThrow(/16 tokens, but one sequence takes 17/);
    expect(() => make(17, 0)).toThrow(/batchSize is 0/);
    expect(() =>
      createBatchSource({
        tokens: counting(17),
        batchSize: 1,
        sequenceLength: 16,
        seed: 1,
      }).batchAt(-1),
    ).toThrow(/batch of step -1/);
  });
});

describe("heldOutBatches", () => {
  it("uses each token as a label at most once, spread evenly", () => {
    const all = heldOutBatches({ tokens: counting(101), batchSize: 2, sequenceLength: 10 });
    expect(all.length).toBe(5);
    const labels = all.flatMap((batch) =>
      [0, 1].flatMap((row) => Array.from(batch.inputIds.subarray(row * 11 + 1, row * 11 + 11))),
    );
    expect(labels).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    const some = heldOutBatches({
      tokens: counting(101),
      batchSize: 2,
      sequenceLength: 10,
      maxBatches: 2,
    });
    expect(some.map((batch) => batch.inputIds[0])).toEqual([0, 40]);
    expect(heldOutBatches({ tokens: counting(10), batchSize: 1, sequenceLength: 10 })).toEqual([]);
  });
});
