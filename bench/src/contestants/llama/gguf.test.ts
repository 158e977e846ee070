import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { decodeFloat, decodeGroups, encodeGroups } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { uniform } from "../../numbers.ts";
import { encodeTensor, ggufBytes, writeGguf } from "./gguf.ts";

const values = uniform(3, 96, 0.5);

describe("encodeTensor", () => {
  it.each(["f32", "f16", "bf16", "int8", "int4"] as const)(
    "%s takes the bytes it should",
    (format) => {
      expect(encodeTensor(format, values).length).toBe(ggufBytes(format, values.length));
    },
  );

  it("int8 blocks decode to the values within half a step", () => {
    const bytes = encodeTensor("int8", values);
    values.forEach((value, i) => {
      const at = Math.floor(i / 32) * 34;
      const step = decodeFloat("f16", bytes[at]! | (bytes[at + 1]! << 8));
      const code = new Int8Array(bytes.buffer, bytes.byteOffset)[at + 2 + (i % 32)]!;
      expect(Math.abs(code * step - value)).toBeLessThan(0.51 * step + 127 * step * 2 ** -11);
    });
  });

  it("int4 blocks keep the two halves of a block in the halves of bytes, and hold our values", () => {
    const bytes = encodeTensor("int4", values);
    const tensor = { dtype: "f32", shape: [values.length], data: values } as const;
    const ours = decodeGroups(encodeGroups(tensor, 4)).data as Float32Array;
    ours.forEach((value, i) => {
      const at = Math.floor(i / 32) * 18;
      const step = decodeFloat("f16", bytes[at]! | (bytes[at + 1]! << 8));
      const byte = bytes[at + 2 + (i % 16)]!;
      const code = (i % 32 < 16 ? byte & 15 : byte >> 4) - 8;
      expect(Math.abs(code * step - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -10);
    });
  });
});

describe("writeGguf", () => {
  it("writes a head that says where each tensor is", () => {
    const folder = mkdtempSync(join(tmpdir(), "millrace-gguf-"));
    try {
      const path = join(folder, "x.gguf");
      const tensors = [
        { name: "a", shape: [3, 32], format: "int8", make: () => values },
        { name: "b", shape: [32], format: "f32", make: () => uniform(4, 32) },
      ] as const;
      writeGguf(path, { "general.architecture": { kind: "text", value: "llama" } }, tensors);
      const file = readFileSync(path);
      expect(file.subarray(0, 4).toString()).toBe("GGUF");
      expect(file.readUInt32LE(4)).toBe(3);
      expect(file.readBigUInt64LE(8)).toBe(2n);
      // b's bytes are the last ones, a's the ones before, each from a multiple of 32 on.
      const tail = file.subarray(file.length - 128);
      expect([
        ...new Float32Array(tail.buffer.slice(tail.byteOffset, tail.byteOffset + 128)),
      ]).toEqual([...uniform(4, 32)]);
      expect(file.length % 32).toBe(0);
      const a = file.subarray(file.length - 128 - 128, file.length - 128 - 128 + 102);
      expect(new Uint8Array(a)).toEqual(encodeTensor("int8", values));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
