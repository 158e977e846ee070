import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AttributeError, ShapeError } from "./errors.ts";
import { decodeFloat, encodeFloat } from "./float-formats.ts";
import { decodeGroups, encodeGroups } from "./group-formats.ts";
import { toNumbers } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";

const f32 = (shape: readonly number[], data: ArrayLike<number>): HostTensor => ({
  dtype: "f32",
  shape,
  data: Float32Array.from(data),
});

describe.each([8, 4] as const)("codes of %s bits", (bits) => {
  const largest = bits === 8 ? 127 : 7;

  it("are the nearest multiples of the scale, which the group's largest magnitude sets", () => {
    const value = fc.float({ noNaN: true, min: -(2 ** 100), max: 2 ** 100 });
    fc.assert(
      fc.property(
        fc.constantFrom(32, 64, 128),
        fc.array(value, { minLength: 256, maxLength: 256 }),
        (group, values) => {
          const tensor = f32([2, 128], values);
          const encoded = encodeGroups(tensor, bits, group);
          const decoded = decodeGroups(encoded).data as Float32Array;
          const scales = toNumbers(encoded.scales);
          expect(encoded.scales.dtype).toBe("bf16");
          expect(encoded.scales.shape).toEqual([2, 128 / group]);
          scales.forEach((scale, g) => {
            const own = tensor.data.slice(g * group, (g + 1) * group) as Float32Array;
            const amax = own.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
            expect(scale).toBe(
              decodeFloat("bf16", encodeFloat("bf16", Math.fround(amax / largest))),
            );
            own.forEach((exact, i) => {
              // A subnormal scale is not exactly the largest magnitude by 127.
              const slack = Math.max(0.5001 * scale, amax < 1e-35 ? amax : 0);
              expect(Math.abs(decoded[g * group + i]! - exact)).toBeLessThanOrEqual(slack);
            });
          });
        },
      ),
    );
  });

  it("come back from their values", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: -largest, max: largest }), { minLength: 31, maxLength: 31 }),
        (codes) => {
          const tensor = f32([32], [largest, ...codes]);
          expect(decodeGroups(encodeGroups(tensor, bits))).toEqual(tensor);
        },
      ),
    );
  });

  it("of zeros are zeros, and a value that is no number takes its group with it", () => {
    const zeros = f32([32], new Float32Array(32));
    expect(decodeGroups(encodeGroups(zeros, bits))).toEqual(zeros);
    const bad = new Float32Array(64);
    bad[40] = NaN;
    const { scales } = encodeGroups(f32([1, 64], bad), bits);
    expect(toNumbers(scales)).toEqual(Float64Array.of(0, NaN));
  });

  it("need whole groups of f32", () => {
    expect(() => encodeGroups(f32([33], new Float32Array(33)), bits)).toThrow(ShapeError);
    expect(() => encodeGroups(f32([48], new Float32Array(48)), bits, 16)).toThrow(AttributeError);
    const half: HostTensor = { dtype: "f16", shape: [32], data: new Uint16Array(32) };
    expect(() => encodeGroups(half, bits)).toThrow(ShapeError);
  });
});

it("two codes of 4 bits share a byte, the earlier one in the lower half", () => {
  const values = Array.from({ length: 32 }, (_, i) => (i === 0 ? 7 : i === 1 ? -7 : 0));
  const { codes } = encodeGroups(f32([32], values), 4);
  expect(codes.shape).toEqual([16]);
  expect(codes.data[0]).toBe(0x1f);
});
