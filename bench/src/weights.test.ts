import type { HostTensor } from "@millrace/graph";
import { decodeFloat, toNumbers } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { weightFormats } from "./case.ts";
import { uniform } from "./numbers.ts";
import { GROUP, storedWeight, weightBytes } from "./weights.ts";

const [n, k] = [6, 64];
const bytesOf = (stored: Readonly<Record<string, { readonly data: ArrayBufferView }>>): number =>
  Object.values(stored).reduce((sum, { data }) => sum + data.byteLength, 0);

const elements = ({ data }: HostTensor): ArrayLike<number> => data as Uint8Array | Float32Array;

describe("storedWeight", () => {
  it.each(weightFormats)(
    "%s: takes the bytes it is said to take, and stays near the exact values",
    (format) => {
      const { stored, values } = storedWeight(format, n, k, 5, 0.25);
      expect(bytesOf(stored)).toBe(weightBytes(format, n, k));
      const exact = uniform(5, n * k, 0.25);
      const steps = {
        f32: 0,
        f16: 2 ** -11,
        bf16: 2 ** -8,
        e4m3fn: 2 ** -4,
        int8: 1 / 254,
        int4: 1 / 14,
      };
      values.forEach((value, i) =>
        expect(Math.abs(value - exact[i]!)).toBeLessThanOrEqual(0.25 * steps[format] * 1.001),
      );
    },
  );

  it("int8 and int4 codes and scales give the values", () => {
    for (const format of ["int8", "int4"] as const) {
      const { stored, values } = storedWeight(format, n, k, 9, 1);
      const codes = stored["codes"]!;
      const scales = toNumbers(stored["scales"]!);
      values.forEach((value, i) => {
        const code =
          format === "int8"
            ? elements(codes)[i]! - 128
            : ((elements(codes)[i >> 1]! >> (4 * (i % 2))) & 15) - 8;
        expect(value).toBe(Math.fround(code * scales[Math.floor(i / GROUP)]!));
      });
    }
  });

  it("e4m3fn codes times the block's scale give the values", () => {
    const { stored, values } = storedWeight("e4m3fn", n, k, 9, 1);
    const { codes, scales } = { codes: stored["codes"]!, scales: stored["scales"]! };
    expect(scales.data.length).toBe(1);
    values.forEach((value, i) =>
      expect(value).toBe(
        Math.fround(decodeFloat("e4m3fn", elements(codes)[i]!) * elements(scales)[0]!),
      ),
    );
  });
});
