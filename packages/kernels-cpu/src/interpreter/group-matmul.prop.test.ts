// Products of grouped weights against plain arithmetic on doubles: the rounding that their definition states, and no other.
import type { HostTensor } from "@millrace/graph";
import {
  compile,
  DTypeError,
  declare,
  decodeGroups,
  dequantizeGroups,
  encodeGroups,
  groupLinear,
  groupRaggedDot,
  hostTensor,
  quantizeGroups,
  ShapeError,
  toNumbers,
  unpackInt4,
} from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createInterpreterBackend } from "./backend.ts";

const backend = createInterpreterBackend();

function random(shape: readonly number[], seed: number, scale = 1): HostTensor {
  let state = seed | 1;
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
  return hostTensor("f32", shape, values);
}

describe.each([8, 4] as const)("weights of %s bits", (bits) => {
  it("are their codes times their scales", async () => {
    const encoded = encodeGroups(random([3, 2, 96], 1), bits, 32);
    const graph = declare("values", (b) => ({
      w: dequantizeGroups(
        b.input("c", encoded.codes.dtype, encoded.codes.shape),
        b.input("s", "bf16", encoded.scales.shape),
      ),
    }));
    const { w } = await (
      await compile(graph, backend)
    ).run({ c: encoded.codes, s: encoded.scales });
    expect(w).toEqual(decodeGroups(encoded));
  });

  it("times x give the exact product but for x's rounding and f32 sums", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom([32, 32], [64, 64], [128, 32], [256, 128]),
        fc.integer(),
        fc.constantFrom(1e-6, 1, 1e6),
        async (n, [k = 0, group = 0], seed, scale) => {
          const x = random([2, k], seed, scale);
          const { codes, scales } = encodeGroups(random([n, k], seed + 7), bits, group);
          const w = toNumbers(decodeGroups({ codes, scales }));
          const graph = declare("product", (b) => ({
            y: groupLinear(
              b.input("x", "f32", x.shape),
              b.input("c", codes.dtype, codes.shape),
              b.input("s", "bf16", scales.shape),
            ),
          }));
          const program = await compile(graph, backend);
          const { y } = await program.run({ x, c: codes, s: scales });
          const values = toNumbers(x);
          toNumbers(y!).forEach((got, at) => {
            const [row, column] = [Math.floor(at / n), at % n];
            let exact = 0;
            let size = 0;
            for (let i = 0; i < k; i++) {
              const factor = w[column * k + i]!;
              exact += values[row * k + i]! * factor;
              size += Math.abs(factor) * scale;
            }
            // Half a step of x's codes in every term, and the sums' own rounding.
            const step = bits === 8 ? 1 / 32767 : 1 / 127;
            expect(Math.abs(got - exact)).toBeLessThanOrEqual(size * (step / 2 + k * 2 ** -23));
          });
        },
      ),
      { numRuns: 20 },
    ));

  it("belong to experts", async () => {
    const x = random([5, 64], 3);
    const { codes, scales } = encodeGroups(random([2, 4, 64], 4), bits, 32);
    const offsets = hostTensor("i32", [3], [0, 2, 5]);
    const graph = declare("ragged", (b) => {
      const rows = b.input("x", "f32", [5, 64]);
      const c = b.input("c", codes.dtype, codes.shape);
      const s = b.input("s", "bf16", scales.shape);
      return { y: groupRaggedDot(rows, c, s, b.input("o", "i32", [3])) };
    });
    const { y } = await (await compile(graph, backend)).run({ x, c: codes, s: scales, o: offsets });
    const w = toNumbers(decodeGroups({ codes, scales }));
    const values = toNumbers(x);
    toNumbers(y!).forEach((got, at) => {
      const [row, column] = [Math.floor(at / 4), at % 4];
      const expert = row < 2 ? 0 : 1;
      let exact = 0;
      for (let i = 0; i < 64; i++)
        exact += values[row * 64 + i]! * w[(expert * 4 + column) * 64 + i]!;
      expect(got).toBeCloseTo(exact, bits === 8 ? 3 : 1);
    });
  });
});

it.each([16, 8] as const)("x keeps %s bits of each group's largest element", async (bits) => {
  const x = hostTensor("f32", [2, 32], [
    ...random([32], 9).data,
    ...new Float32Array(32),
  ] as number[]);
  const graph = declare("quantize", (b) => ({
    ...quantizeGroups(b.input("x", "f32", x.shape), bits),
  }));
  const { codes, scales } = await (await compile(graph, backend)).run({ x });
  const largest = bits === 16 ? 32767 : 127;
  expect(codes!.dtype).toBe(bits === 16 ? "i16" : "i8");
  const amax = Math.max(...Array.from(x.data as Float32Array, Math.abs));
  expect(scales!.data[0]).toBe(Math.fround(amax / largest));
  expect(Math.max(...Array.from(codes!.data as Int16Array, Math.abs))).toBe(largest);
  for (let i = 0; i < 32; i++) {
    const value = (codes!.data[i] as number) * (scales!.data[0] as number);
    expect(Math.abs(value - (x.data[i] as number))).toBeLessThanOrEqual((0.5001 * amax) / largest);
    expect(codes!.data[32 + i]).toBe(0);
  }
});

it("what does not fit is refused with the shapes", () => {
  declare("misuse", (b) => {
    const x = b.input("x", "f32", [2, 64]);
    const codes = b.input("c", "i8", [3, 64]);
    const scales = b.input("s", "bf16", [3, 2]);
    expect(() => groupLinear(x, codes, b.input("s3", "bf16", [3, 3]))).toThrow(ShapeError);
    expect(() => groupLinear(x, codes, b.input("s4", "bf16", [3, 4]))).toThrow(ShapeError);
    expect(() => groupLinear(x, codes, b.input("sf", "f32", [3, 2]))).toThrow(DTypeError);
    expect(() => groupLinear(x, b.input("c32", "i32", [3, 64]), scales)).toThrow(DTypeError);
    expect(() => groupLinear(b.input("x96", "f32", [2, 96]), codes, scales)).toThrow(ShapeError);
    expect(() => quantizeGroups(b.input("x33", "f32", [2, 33]))).toThrow(ShapeError);
    expect(() => quantizeGroups(b.input("xi", "i32", [2, 32]))).toThrow(DTypeError);
    expect(() => unpackInt4(codes)).toThrow(DTypeError);
    return { y: groupLinear(x, codes, scales) };
  });
});
