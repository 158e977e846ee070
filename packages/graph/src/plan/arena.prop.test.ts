import fc from "fast-check";
import { expect, test } from "vitest";
import type { Lifetime } from "./arena.ts";
import { placeInArena } from "./arena.ts";

const lifetimes: fc.Arbitrary<Lifetime[]> = fc.array(
  fc
    .tuple(fc.nat({ max: 300 }), fc.integer({ min: -1, max: 20 }), fc.integer({ min: -1, max: 20 }))
    .map(([bytes, a, b]) => ({
      bytes,
      from: Math.min(a, b),
      to: a === b ? Infinity : Math.max(a, b),
    })),
  { maxLength: 30 },
);

test("buffers that live at the same time do not overlap, and the peak covers all", () => {
  fc.assert(
    fc.property(lifetimes, fc.constantFrom(1, 16, 64), (all, alignment) => {
      const { offsets, bytes } = placeInArena(all, alignment);
      all.forEach((a, i) => {
        expect(offsets[i]! % alignment).toBe(0);
        expect(offsets[i]! + a.bytes).toBeLessThanOrEqual(bytes);
        all.slice(0, i).forEach((b, j) => {
          const together = a.from <= b.to && b.from <= a.to;
          const apart =
            offsets[i]! + a.bytes <= offsets[j]! || offsets[j]! + b.bytes <= offsets[i]!;
          expect(!together || apart).toBe(true);
        });
      });
    }),
  );
});

test("memory is used again once its value is dead", () => {
  const { offsets, bytes } = placeInArena(
    [
      { bytes: 100, from: 0, to: 1 },
      { bytes: 100, from: 1, to: 2 },
      { bytes: 100, from: 2, to: 3 },
    ],
    4,
  );
  expect(offsets).toEqual([0, 100, 0]);
  expect(bytes).toBe(200);
});
