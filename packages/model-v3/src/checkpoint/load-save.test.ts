import { CheckpointError, decodeFloats, elementCount, encodeFloats } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import type { ModelConfig, QuantizationConfig } from "../config.ts";
import { parseConfig } from "../parse-config.ts";
import { parameterTable } from "../parameters.ts";
import type { ParameterSpec } from "../parameters.ts";
import { preset } from "../presets.ts";
import { memoryDirectory, readJson } from "./byte-source.ts";
import { checkParameters, describeReport, loadParameters } from "./load.ts";
import type { LoadOptions } from "./load.ts";
import { openSafetensors } from "./safetensors.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { saveParameters } from "./save.ts";
import type { SaveOptions } from "./save.ts";
import { openShards, singleFile, writeShards } from "./shards.ts";

const tiny = preset("tiny");

/** Values that differ everywhere and need all bits of an f32. */
function valuesOf(spec: ParameterSpec): HostTensor {
  const seed = new TextEncoder().encode(spec.name).reduce((sum, c) => (sum * 31 + c) % 1009, 7);
  const data = new Float32Array(elementCount(spec.shape));
  for (let i = 0; i < data.length; i++) data[i] = Math.sin(i * 0.7 + seed);
  return { dtype: "f32", shape: spec.shape, data };
}

async function save(config: ModelConfig, options: SaveOptions = {}) {
  const files = new Map<string, Uint8Array>();
  const directory = memoryDirectory("ckpt", files);
  await saveParameters(directory, config, valuesOf, options);
  return { files, directory, weights: await openShards(directory) };
}

async function load(
  weights: Parameters<typeof loadParameters>[0],
  config: ModelConfig,
  options: LoadOptions = {},
): Promise<Map<string, HostTensor>> {
  const loaded = new Map<string, HostTensor>();
  for await (const { spec, tensor } of loadParameters(weights, config, options))
    loaded.set(spec.name, tensor);
  return loaded;
}

describe.each(["mla", "mha", "gqa", "mqa"] as const)("%s", (attention) => {
  test("what is saved is loaded, bit for bit, with its configuration", async () => {
    const config = { ...tiny, attention, numKeyValueHeads: 2 };
    const { directory, weights } = await save(config);
    const loaded = await load(weights, config);
    const table = parameterTable(config);
    expect([...loaded.keys()]).toEqual(table.map(({ name }) => name));
    for (const spec of table) expect(loaded.get(spec.name)).toEqual(valuesOf(spec));
    expect(await checkParameters(weights, config)).toEqual({
      missing: [],
      extra: [],
      misshapen: [],
      unequal: [],
    });
    expect(parseConfig(await readJson(directory, "config.json"), "c")).toEqual(config);
  });
});

test("the file has an expert per tensor, and copies of embedding and head for the MTP module", async () => {
  const { weights } = await save(tiny);
  const up = await weights.read("model.layers.1.mlp.experts.3.up_proj.weight");
  const stacked = parameterTable(tiny).find((s) =>
    s.name.endsWith("1.mlp.experts.*.up_proj.weight"),
  );
  const all = valuesOf(stacked as ParameterSpec).data;
  expect(up.shape).toEqual([32, 64]);
  expect(up.data).toEqual(all.slice(3 * 32 * 64, 4 * 32 * 64));
  expect(await weights.read("model.layers.2.shared_head.head.weight")).toEqual(
    await weights.read("lm_head.weight"),
  );
  expect(weights.entries.has("model.layers.2.embed_tokens.weight")).toBe(true);
});

test("BF16 rounds to nearest even, keeps the router bias in F32, and splits into shards", async () => {
  const { files, directory, weights } = await save(tiny, { dtype: "BF16", maxShardBytes: 1e5 });
  expect(files.size).toBeGreaterThan(4);
  expect(await readJson(directory, "config.json")).toMatchObject({ torch_dtype: "bfloat16" });
  expect(weights.entries.get("model.layers.1.mlp.gate.e_score_correction_bias")?.dtype).toBe("F32");
  const loaded = await load(weights, tiny);
  for (const spec of parameterTable(tiny)) {
    const { data } = valuesOf(spec);
    const want =
      spec.role === "router_bias"
        ? data
        : decodeFloats("bf16", encodeFloats("bf16", data as Float32Array));
    expect(loaded.get(spec.name)?.data).toEqual(want);
  }
  const stored = await load(weights, tiny, { as: "stored", only: ({ experts }) => experts > 0 });
  expect(stored.size).toBe(6);
  for (const tensor of stored.values()) expect(tensor.dtype).toBe("bf16");
});

test("a tied head is not written and not missed", async () => {
  const tied = { ...tiny, tieWordEmbeddings: true };
  const { weights } = await save(tied);
  expect(weights.entries.has("lm_head.weight")).toBe(false);
  expect((await load(weights, tied)).has("lm_head.weight")).toBe(false);
});

/** The tensors of a saved model, changed by `edit`, as a new source. */
async function edited(edit: (tensors: Map<string, TensorToWrite>) => void, config = tiny) {
  const { files, directory, weights } = await save(config);
  const tensors = new Map<string, TensorToWrite>();
  for (const name of weights.entries.keys()) {
    const tensor = await weights.read(name);
    tensors.set(name, { name, ...tensor, data: () => tensor.data });
  }
  edit(tensors);
  await writeShards(directory, [...tensors.values()]);
  const source = await directory.open(singleFile);
  expect(files.size).toBe(2);
  return openSafetensors(source as NonNullable<typeof source>);
}

describe("FP8", () => {
  const weight = "model.layers.1.mlp.experts.5.down_proj.weight";
  const quantized = async () =>
    edited((tensors) => {
      for (let e = 0; e < 8; e++) {
        const name = `model.layers.1.mlp.experts.${e}.down_proj.weight`;
        const codes = Uint8Array.from({ length: 64 * 32 }, (_, i) => (i + e) % 0x7f);
        tensors.set(name, { name, dtype: "e4m3fn", shape: [64, 32], data: () => codes });
        const scale = `${name}_scale_inv`;
        const data = (): Float32Array => Float32Array.of(0.1 * (e + 1));
        tensors.set(scale, { name: scale, dtype: "f32", shape: [1, 1], data });
      }
    });
  const stackedName = "model.layers.1.mlp.experts.*.down_proj.weight";
  const only = ({ name }: ParameterSpec): boolean => name === stackedName;

  test("experts are dequantised and stacked, or kept with their scales", async () => {
    const source = await quantized();
    expect((await checkParameters(source, tiny)).extra).toEqual([]);
    const widened = (await load(source, tiny, { only })).get(stackedName);
    const codes = Uint8Array.from({ length: 64 * 32 }, (_, i) => (i + 5) % 0x7f);
    const scale = Math.fround(0.1 * 6);
    expect(widened?.data.slice(5 * 2048, 6 * 2048)).toEqual(
      decodeFloats("e4m3fn", codes).map((value) => value * scale),
    );
    for await (const { tensor, scales } of loadParameters(source, tiny, { as: "stored", only })) {
      expect([tensor.dtype, tensor.shape]).toEqual(["e4m3fn", [8, 64, 32]]);
      expect(scales?.shape).toEqual([8, 1, 1]);
      expect(scales?.data[5]).toBe(scale);
    }
  });

  test("missing and misshapen scales are reported", async () => {
    const source = await quantized();
    const entries = new Map(source.entries);
    entries.delete(`${weight}_scale_inv`);
    const report = await checkParameters({ ...source, entries }, tiny);
    expect(report.missing).toEqual([`${weight}_scale_inv`]);
    const quantizationConfig: QuantizationConfig = {
      quantMethod: "fp8",
      fmt: "e4m3",
      activationScheme: "dynamic",
      weightBlockSize: [32, 32],
    };
    const wrong = await checkParameters(source, { ...tiny, quantizationConfig });
    expect(wrong.misshapen).toHaveLength(8);
    expect(wrong.misshapen[0]?.expected).toBe("F32 [2, 1]");
  });
});

describe("a checkpoint that does not fit", () => {
  const gate = "model.layers.1.mlp.gate.weight";
  const rejection = async (source: Parameters<typeof load>[0], config = tiny) => {
    const error = await load(source, config).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    return (error as Error).message;
  };

  test("missing, misshapen and extra tensors are named", async () => {
    const source = await edited((tensors) => {
      tensors.delete("model.norm.weight");
      const data = (): Float32Array => new Float32Array(8);
      tensors.set(gate, { name: gate, dtype: "f32", shape: [8, 1], data });
      tensors.set("rotary.inv_freq", { name: "rotary.inv_freq", dtype: "f32", shape: [8], data });
    });
    const report = await checkParameters(source, tiny);
    expect(report).toEqual({
      missing: ["model.norm.weight"],
      extra: ["rotary.inv_freq"],
      misshapen: [{ name: gate, got: "F32 [8, 1]", expected: "a float dtype [8, 64]" }],
      unequal: [],
    });
    expect(describeReport(report)).toBe(
      `missing: model.norm.weight; misshapen: ${gate} (F32 [8, 1], not a float dtype [8, 64]); ` +
        "extra: rotary.inv_freq",
    );
    expect(await rejection(source)).toMatch(/missing: model\.norm\.weight.*at ckpt.*config\.json/);
  });

  test("millions of claimed experts are refused before a name is made for each", async () => {
    const { weights } = await save(tiny);
    const claimed = { ...tiny, numHiddenLayers: 256, nRoutedExperts: 4096 };
    const begun = performance.now();
    await expect(load(weights, claimed)).rejects.toThrow(
      /are \d+ tensors, but 256 layers of 4096 experts take 31\d{5} at ckpt/,
    );
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  test("extra tensors alone do not stop loading", async () => {
    const source = await edited((tensors) => {
      const data = (): Float32Array => new Float32Array(1);
      tensors.set("more", { name: "more", dtype: "f32", shape: [1], data });
    });
    expect((await load(source, tiny)).size).toBe(parameterTable(tiny).length);
  });

  test("a missing MTP module is explained", async () => {
    const { weights } = await save({ ...tiny, numNextnPredictLayers: 0 });
    expect(await rejection(weights)).toMatch(/and 37 more.*Set num_nextn_predict_layers to 0/);
  });

  test("an MTP head that is not the main head is refused", async () => {
    const head = "model.layers.2.shared_head.head.weight";
    const source = await edited((tensors) => {
      const tensor = tensors.get(head) as TensorToWrite;
      tensors.set(head, { ...tensor, data: () => new Float32Array(264 * 64) });
    });
    expect((await checkParameters(source, tiny)).unequal).toEqual([head]);
    expect(await rejection(source)).toMatch(/repeat: .*shared_head.*copy the main ones/);
  });

  test("weights that are no floats", async () => {
    const source = await edited((tensors) => {
      const data = (): Int32Array => new Int32Array(64);
      tensors.set("model.norm.weight", {
        name: "model.norm.weight",
        dtype: "i32",
        shape: [64],
        data,
      });
    });
    expect(await rejection(source)).toMatch(/model\.norm\.weight \(I32 \[64\], not a float/);
  });

  test("values of another shape are not saved", async () => {
    const directory = memoryDirectory("ckpt");
    const wrong = (): HostTensor => ({ dtype: "f32", shape: [1], data: new Float32Array(1) });
    await expect(saveParameters(directory, tiny, wrong)).rejects.toThrow(
      /shape \[1\], the configuration says \[264, 64\] at ckpt, tensor model.embed_tokens.weight/,
    );
    expect(await directory.list()).toEqual([]);
  });
});
