import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFloat, encodeFloat, roundFloat, roundUpToPowerOfTwo } from "./float-formats.ts";

const narrow = ["f16", "bf16", "e4m3fn", "e5m2"] as const;
const signBits = { f16: 0x8000, bf16: 0x8000, e4m3fn: 0x80, e5m2: 0x80 };
const numbers = fc.oneof(
  fc.double({ noNaN: true }),
  fc.float({ noNaN: true }),
  fc.double({ noNaN: true, min: -600, max: 600 }),
  fc.double({ noNaN: true, min: -1e-4, max: 1e-4 }),
);

describe.each(narrow)("%s", (dtype) => {
  test("rounding is monotone, odd and idempotent", () => {
    fc.assert(
      fc.property(numbers, numbers, (a, b) => {
        const [low, high] = a <= b ? [a, b] : [b, a];
        expect(roundFloat(dtype, low)).toBeLessThanOrEqual(roundFloat(dtype, high));
        expect(roundFloat(dtype, -a)).toBe(-roundFloat(dtype, a));
        expect(roundFloat(dtype, roundFloat(dtype, a))).toBe(roundFloat(dtype, a));
      }),
    );
  });

  test("no other value of the format is nearer", () => {
    fc.assert(
      fc.property(numbers, (x) => {
        const code = encodeFloat(dtype, x);
        const value = decodeFloat(dtype, code);
        if (!Number.isFinite(value) || !Number.isFinite(x)) return;
        const magnitude = code & (signBits[dtype] - 1);
        for (const neighbour of [magnitude - 1, magnitude + 1]) {
          if (neighbour < 0) continue;
          const other = Math.sign(x) * decodeFloat(dtype, neighbour);
          if (Number.isFinite(other))
            expect(Math.abs(x - value)).toBeLessThanOrEqual(Math.abs(x - other));
        }
      }),
    );
  });
});

test("roundUpToPowerOfTwo is the least power of two not below", () => {
  fc.assert(
    fc.property(fc.double({ min: 2 ** -126, max: 2 ** 126, noNaN: true }), (x) => {
      const power = roundUpToPowerOfTwo(x);
      expect(Number.isInteger(Math.log2(power))).toBe(true);
      expect(power).toBeGreaterThanOrEqual(x);
      expect(power / 2).toBeLessThan(x);
    }),
  );
});
