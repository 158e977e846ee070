import { describe, expect, test } from "vitest";
import {
  decodeFloat,
  decodeFloats,
  encodeFloat,
  encodeFloats,
  largestFinite,
  roundFloat,
  roundUpToPowerOfTwo,
} from "./float-formats.ts";
import type { NarrowFloatDType } from "./float-formats.ts";

const narrow: readonly NarrowFloatDType[] = ["f16", "bf16", "e4m3fn", "e5m2"];
const bitsOf = { f16: 16, bf16: 16, e4m3fn: 8, e5m2: 8 } as const;

/** Codes of the finite values from 0 up, in order of value. */
function finiteCodes(dtype: NarrowFloatDType): number[] {
  const last = { f16: 0x7bff, bf16: 0x7f7f, e4m3fn: 0x7e, e5m2: 0x7b }[dtype];
  return Array.from({ length: last + 1 }, (_, code) => code);
}

describe.each(narrow)("%s", (dtype) => {
  const signBit = 1 << (bitsOf[dtype] - 1);

  test("every code that is not NaN survives decoding and encoding", () => {
    for (let code = 0; code < 2 ** bitsOf[dtype]; code++) {
      const value = decodeFloat(dtype, code);
      if (Number.isNaN(value)) continue;
      if (encodeFloat(dtype, value) !== code) expect(encodeFloat(dtype, value)).toBe(code);
      if (Math.fround(value) !== value) expect(Math.fround(value)).toBe(value);
    }
  });

  test("values rise with the codes, midpoints go to the even code, neighbours of midpoints to theirs", () => {
    const codes = finiteCodes(dtype);
    for (const code of codes.slice(0, -1)) {
      const low = decodeFloat(dtype, code);
      const high = decodeFloat(dtype, code + 1);
      if (!(low < high)) expect.fail(`code ${code}: ${low} is not below ${high}`);
      const middle = (low + high) / 2;
      const step = (high - low) * 2 ** -30;
      const even = code % 2 === 0 ? code : code + 1;
      const got = [middle - step, middle, middle + step].map((x) => encodeFloat(dtype, x));
      const want = [code, even, code + 1];
      if (got.some((c, i) => c !== want[i])) expect(got, `around ${middle}`).toEqual(want);
      const negative = encodeFloat(dtype, -middle);
      if (negative !== (signBit | even)) expect(negative).toBe(signBit | even);
    }
  });

  test("zeros keep their sign; tiny values round to them", () => {
    expect(encodeFloat(dtype, 0)).toBe(0);
    expect(encodeFloat(dtype, -0)).toBe(signBit);
    expect(decodeFloat(dtype, signBit)).toBe(-0);
    expect(encodeFloat(dtype, Number.MIN_VALUE)).toBe(0);
    expect(encodeFloat(dtype, -Number.MIN_VALUE)).toBe(signBit);
    const half = decodeFloat(dtype, 1) / 2;
    expect(encodeFloat(dtype, half)).toBe(0);
    expect(encodeFloat(dtype, half * (1 + 2 ** -50))).toBe(1);
  });

  test("NaN has one code, whatever its sign", () => {
    const code = encodeFloat(dtype, NaN);
    expect(decodeFloat(dtype, code)).toBeNaN();
    expect(code & signBit).toBe(0);
    expect(encodeFloat(dtype, -NaN)).toBe(code);
  });

  test("overflow starts half a step past the largest value", () => {
    const codes = finiteCodes(dtype);
    const last = codes.at(-1) as number;
    const largest = decodeFloat(dtype, last);
    expect(largest).toBe(largestFinite[dtype]);
    const step = largest - decodeFloat(dtype, last - 1);
    const past = dtype === "e4m3fn" ? last : last + 1;
    expect(encodeFloat(dtype, largest + step * 0.499)).toBe(last);
    for (const value of [largest + step / 2, largest * 2, 1e300, Number.MAX_VALUE, Infinity]) {
      expect(encodeFloat(dtype, value)).toBe(past);
      expect(encodeFloat(dtype, -value)).toBe(signBit | past);
    }
    expect(decodeFloat(dtype, past)).toBe(dtype === "e4m3fn" ? 448 : Infinity);
  });

  test("whole arrays agree with single values", () => {
    const values = [0, -0, 1, 0.1, -3.7, 1e-9, 500, NaN, Infinity];
    const codes = encodeFloats(dtype, values);
    expect([...codes]).toEqual(values.map((x) => encodeFloat(dtype, x)));
    expect([...decodeFloats(dtype, codes)]).toEqual(values.map((x) => roundFloat(dtype, x)));
  });
});

test("published values of the formats", () => {
  expect(decodeFloat("f16", 0x3c00)).toBe(1);
  expect(decodeFloat("f16", 0x3555)).toBe(0.333251953125);
  expect(decodeFloat("f16", 0x0001)).toBe(2 ** -24);
  expect(decodeFloat("bf16", 0x3f80)).toBe(1);
  expect(decodeFloat("bf16", 0x4049)).toBe(3.140625);
  expect(decodeFloat("bf16", 0x0001)).toBe(2 ** -133);
  expect(decodeFloat("e4m3fn", 0x38)).toBe(1);
  expect(decodeFloat("e4m3fn", 0x01)).toBe(2 ** -9);
  expect(decodeFloat("e4m3fn", 0x08)).toBe(2 ** -6);
  expect(decodeFloat("e4m3fn", 0xff)).toBeNaN();
  expect(decodeFloat("e5m2", 0x3c)).toBe(1);
  expect(decodeFloat("e5m2", 0x01)).toBe(2 ** -16);
  expect(decodeFloat("e5m2", 0xfc)).toBe(-Infinity);
});

test("e4m3fn saturates where 480 would be", () => {
  expect([447, 448, 449, 464, 480, 1e9, -464].map((x) => roundFloat("e4m3fn", x))).toEqual([
    448, 448, 448, 448, 448, 448, -448,
  ]);
});

test("a double rounds once: through f32 first it would land on the tie and go the other way", () => {
  const justAboveTie = 1 + 2 ** -8 + 2 ** -40;
  expect(roundFloat("bf16", justAboveTie)).toBe(1 + 2 ** -7);
  expect(roundFloat("bf16", Math.fround(justAboveTie))).toBe(1);
});

test("scales round up to powers of two within ue8m0", () => {
  expect([1, 1.0000001, 0.75, 2 ** -126, 2 ** -126 * 1.5, 3e38].map(roundUpToPowerOfTwo)).toEqual([
    1,
    2,
    1,
    2 ** -126,
    2 ** -125,
    2 ** 127,
  ]);
  expect([0, -1, 1e-300, Infinity].map(roundUpToPowerOfTwo)).toEqual([
    2 ** -127,
    2 ** -127,
    2 ** -127,
    2 ** 127,
  ]);
  expect(roundUpToPowerOfTwo(NaN)).toBeNaN();
});
