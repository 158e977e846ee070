// Plans are found again by what they depend on, come back equal, and not at all once a byte of them has changed.
import { describe, expect, it } from "vitest";
import { buildProgram } from "../compile.ts";
import { declare } from "../declare/declare.ts";
import { defineOp } from "../declare/define-op.ts";
import { concatenate, mul, reshape, select, sum } from "../index.ts";
import type { Graph } from "../graph.ts";
import { hostTensor } from "../host-tensor.ts";
import { size } from "../shape.ts";
import { memoryCache, planKey, readPlan, writePlan } from "./cache.ts";
import { decodeBlocks, decodePlan, encodeBlocks, encodePlan } from "./plan-bytes.ts";

const capabilities = {
  dtypes: ["f32", "i32", "i64", "bool", "bf16"] as const,
  alignment: 16,
  maxBytes: 2 ** 30,
  maxBuffersPerKernel: 16,
  arrayBytes: 0,
};

/** With a named size, large constants of two dtypes, and literals that JSON lacks. */
function example(factor = -0): Graph {
  const T = size("T", 1, 8);
  return declare("example", (b) => {
    const x = b.input("x", "f32", [T, 20]);
    const w = b.constant(
      hostTensor(
        "f32",
        [20],
        Array.from({ length: 20 }, (_, i) => i - 7.25),
      ),
    );
    const n = b.constant(
      hostTensor(
        "i64",
        [20],
        Array.from({ length: 20 }, (_, i) => i),
      ),
    );
    const scaled = mul(x, factor);
    const rows = select(b.scalar(1, "bool"), sum(scaled, [0]), Number.NEGATIVE_INFINITY);
    return { y: concatenate([rows, mul(w, Infinity)], 0), n, z: reshape(scaled, [T, 4, 5]) };
  });
}

describe("planKey", () => {
  it("is the same for what prints alike, and no other", () => {
    const key = planKey(example(), capabilities);
    expect(key).toMatch(/^[a-z0-9-]+$/);
    expect(planKey(example(), capabilities)).toBe(key);
    const others = [
      planKey(example(0), capabilities),
      planKey(example(), { ...capabilities, alignment: 64 }),
      planKey(example(), capabilities, { fuse: false }),
    ];
    expect(new Set([key, ...others]).size).toBe(4);
  });

  it("is not given where code decides", () => {
    const twice = defineOp({
      name: "add",
      infer: ([x]) => [x!],
      vjp: "none",
      body: { class: "elementwise", scalar: ([x]) => x! },
    });
    const graph = declare("custom", (b) => {
      const x = b.input("x", "f32", [2]);
      return { y: b.apply(twice, [x])[0]! };
    });
    expect(planKey(graph, capabilities)).toBeUndefined();
    const passes = [{ name: "mine", apply: () => undefined }];
    expect(planKey(example(), capabilities, { passes })).toBeUndefined();
  });
});

describe("plans as bytes", () => {
  it("come back equal", async () => {
    const { program } = buildProgram(example(), capabilities);
    const cache = memoryCache();
    await writePlan(cache, "plan", program);
    expect(await readPlan(cache, "plan")).toStrictEqual(program);
    expect(await readPlan(cache, "other")).toBeUndefined();
  });

  it("are refused when any byte has changed, is missing or too many", () => {
    const { program } = buildProgram(example(), capabilities);
    const bytes = encodePlan(program);
    expect(decodePlan(bytes)).toStrictEqual(program);
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 << (at % 8);
      expect(decodePlan(changed), `byte ${at}`).toBeUndefined();
    }
    for (const length of [0, 1, 15, 16, 17, bytes.length - 1])
      expect(decodePlan(bytes.slice(0, length)), `${length} bytes`).toBeUndefined();
    expect(decodePlan(new Uint8Array([...bytes, 0]))).toBeUndefined();
  });

  it("hold blocks of any length, from any offset", () => {
    const blocks = [0, 1, 7, 8, 9].map((length) => new Uint8Array(length).fill(length));
    const bytes = encodeBlocks({ a: "ä" }, blocks);
    const shifted = new Uint8Array(bytes.length + 3);
    shifted.set(bytes, 3);
    expect(decodeBlocks(shifted.subarray(3))).toEqual({ data: { a: "ä" }, blocks });
  });
});
