// Weights in the formats they are held in: what the checkpoint stores is passed on, anything else is rounded once.
import { decodeGroups, hostTensor } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";
import { expect, it } from "vitest";
import type { ModelConfig } from "../config.ts";
import { preset } from "../presets.ts";
import { weightFormats } from "../weight-formats.ts";
import { memoryDirectory } from "./byte-source.ts";
import { chooseWeights } from "./choose-weights.ts";
import { dequantizeBlocks, quantizeBlocks } from "./dequantize.ts";
import { encodeWeight, readWeight } from "./read-weight.ts";
import { openShards, writeShards } from "./shards.ts";
import type { TensorSource } from "./tensor-source.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  quantizationConfig: {
    quantMethod: "fp8",
    fmt: "e4m3",
    activationScheme: "dynamic",
    weightBlockSize: [16, 32],
  },
};

const values = (shape: readonly number[]): HostTensor =>
  hostTensor(
    "f32",
    shape,
    Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      (_, i) => Math.sin(i * i) * (1 + (i % 7)),
    ),
  );

async function sourceOf(tensors: Readonly<Record<string, HostTensor>>): Promise<TensorSource> {
  const directory = memoryDirectory("weights");
  const list = Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
    name,
    dtype,
    shape,
    data: () => data,
  }));
  await writeShards(directory, list);
  return openShards(directory);
}

it("an FP8 weight keeps its codes and its checkpoint's scales, and is widened for other formats", async () => {
  const { codes, scales } = quantizeBlocks(values([40, 96]), [16, 32]);
  const source = await sourceOf({ w: codes, w_scale_inv: scales });
  expect(await readWeight(source, "w", "e4m3fn", config)).toEqual({ codes, scales });
  const wide = dequantizeBlocks(codes, scales, [16, 32]);
  expect(await readWeight(source, "w", "f32", config)).toEqual({ codes: wide });
  for (const format of weightFormats)
    if (format !== "e4m3fn")
      expect(await readWeight(source, "w", format, config)).toEqual(
        encodeWeight(wide, format, config),
      );
});

it.each(["f16", "bf16"] as const)("a weight stored in %s is passed on as it is", async (dtype) => {
  const stored = hostTensor(dtype, [3, 32], Array.from(values([3, 32]).data as Float32Array));
  const source = await sourceOf({ w: stored });
  expect(await readWeight(source, "w", dtype, config)).toEqual({ codes: stored });
});

it("a block's largest magnitude becomes 448, and every value lies within half a step of its code's", () => {
  const exact = values([20, 40]);
  const { codes, scales } = quantizeBlocks(exact, [16, 32]);
  expect(scales.shape).toEqual([2, 2]);
  const back = dequantizeBlocks(codes, scales, [16, 32]).data as Float32Array;
  (exact.data as Float32Array).forEach((value, i) => {
    const scale = scales.data[Math.floor(i / 40 / 16) * 2 + Math.floor((i % 40) / 32)] as number;
    const step = Math.max(Math.abs(value) / 16, scale * 2 ** -10);
    expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(step * 1.0001);
  });
});

it("whole numbers come with a scale for each 32 of a row", () => {
  const exact = values([4, 64]);
  for (const [format, largest] of [
    ["int8", 127],
    ["int4", 7],
  ] as const) {
    const { codes, scales } = encodeWeight(exact, format, config);
    expect(scales!.shape).toEqual([4, 2]);
    const back = decodeGroups({ codes, scales: scales! }).data as Float32Array;
    (exact.data as Float32Array).forEach((value, i) => {
      const scale = scales!.data[Math.floor(i / 32)] as number;
      expect(Math.abs(value) / scale).toBeLessThanOrEqual(largest * 1.0001);
      expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(0.5001 * scale);
    });
  }
});

it("formats are chosen by what is stored and what a parameter is for", async () => {
  const name = "model.layers.0.self_attn.o_proj.weight";
  const at = (dtype: "bf16" | "f32" | "e4m3fn"): Promise<TensorSource> =>
    sourceOf({
      [name]: hostTensor(dtype, [2, 2], [1, 2, 3, 4]),
      "model.norm.weight": hostTensor("bf16", [2], [1, 2]),
      "model.embed_tokens.weight": hostTensor("bf16", [2, 2], [1, 2, 3, 4]),
    });
  for (const dtype of ["bf16", "f32", "e4m3fn"] as const) {
    const formats = chooseWeights(await at(dtype), config, "stored");
    expect(formats.get(name) ?? "f32").toBe(dtype);
    expect(formats.has("model.norm.weight")).toBe(false);
    expect(formats.get("model.embed_tokens.weight")).toBe("bf16");
  }
  const int4 = chooseWeights(await at("f32"), config, "int4");
  expect(int4.get("model.layers.0.self_attn.kv_b_proj.weight")).toBe("int8");
  // 48 columns are no whole groups of 32.
  expect(int4.has("model.layers.0.self_attn.q_b_proj.weight")).toBe(false);
  expect(int4.get("model.layers.0.self_attn.q_a_proj.weight")).toBe("int4");
  expect(chooseWeights(await at("bf16"), config, "f32").size).toBe(0);
});
