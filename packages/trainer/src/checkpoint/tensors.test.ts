import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type HostTensor, hostTensor } from "@millrace/graph";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { expectTensor, readTensors, writeTensors } from "./tensors.ts";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "millrace-tensors-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("training tensors", () => {
  const tensors = new Map<string, HostTensor>([
    ["w", { dtype: "f32", shape: [2, 2], data: new Float32Array([1, -0, Number.NaN, 1e-45]) }],
    ["m", hostTensor("bf16", [3], [1, 2, 3])],
    ["step", hostTensor("i32", [], [7])],
    ["none", hostTensor("f32", [0, 4], [])],
  ]);

  it("come back with the same bits", async () => {
    await writeTensors(directory, "state.safetensors", tensors);
    const read = await readTensors(join(directory, "state.safetensors"));
    expect([...read.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [name, tensor] of tensors) {
      const got = read.get(name);
      expect(got?.dtype).toBe(tensor.dtype);
      expect(got?.shape).toEqual(tensor.shape);
      const bytes = ({ data }: HostTensor): Uint8Array =>
        new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      expect(got && bytes(got)).toEqual(bytes(tensor));
    }
  });

  it("are named when missing or of another shape", () => {
    const f32 = { dtype: "f32", shape: [2, 2] } as const;
    expect(expectTensor(tensors, "w", f32, "f").shape).toEqual([2, 2]);
    expect(() => expectTensor(tensors, "v", f32, "f")).toThrow(/tensor v is missing.* at f/);
    expect(() => expectTensor(tensors, "w", { ...f32, shape: [4] }, "f")).toThrow(
      /tensor w is f32 \[2, 2\], this run needs f32 \[4\]/,
    );
  });
});
