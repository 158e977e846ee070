// Checkpoints in shards that do not fit together, and models that no device holds, through the commands that read them.
import { truncateSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { createModelFolder, type ModelFolder } from "../test/model-folder.ts";
import {
  changed,
  decodeJson,
  encodeJson,
  type Files,
  joinTensors,
  lastLine,
  modelFiles,
  problemOf,
  smallConfig,
  splitTensors,
  writeFiles,
} from "../test/small-model.ts";

let folder: ModelFolder;
let sharded: Files;

beforeAll(async () => {
  folder = await createModelFolder();
  sharded = await modelFiles(smallConfig, 8192);
});
afterAll(() => folder.remove());

describe("shards", () => {
  const index = "model.safetensors.index.json";
  const withIndex = (
    edit: (index: {
      metadata: Record<string, unknown>;
      weight_map: Record<string, unknown>;
    }) => unknown,
  ): Files => {
    const parsed = decodeJson(sharded.get(index)!) as never;
    return changed(sharded, index, encodeJson(edit(parsed) ?? parsed));
  };
  const shard = "model-00002-of-00006.safetensors";
  const first = "model.layers.0.input_layernorm.weight";

  it("load when they are whole", async () => {
    expect([...sharded.keys()]).toContain(shard);
    expect((await folder.runOver(sharded, "logits")).status).toBe(0);
  });

  it.each<[string, () => Files, RegExp]>([
    [
      "a shard missing",
      () => new Map([...sharded].filter(([name]) => name !== shard)),
      /model-00002.* is missing/,
    ],
    [
      "no weights at all",
      () => new Map([["config.json", sharded.get("config.json")!]]),
      /neither model\.safetensors nor/,
    ],
    ["an empty shard", () => changed(sharded, shard, new Uint8Array()), /model-00002/],
    [
      "one shard in the place of another",
      () => changed(sharded, shard, sharded.get("model-00001-of-00006.safetensors")!),
      /model-0000[12]/,
    ],
    ["an index of no JSON", () => changed(sharded, index, encodeJson("{")), /index\.json/],
    ["an index of a list", () => changed(sharded, index, encodeJson([])), /no weight_map/],
    ["an empty index", () => changed(sharded, index, new Uint8Array()), /index\.json/],
    ["no weight_map", () => withIndex(() => ({ metadata: {} })), /no weight_map/],
    [
      "a shard outside the folder",
      () => withIndex((i) => void (i.weight_map[first] = "../x.safetensors")),
      /not a \.safetensors file name/,
    ],
    [
      "a number for a shard",
      () => withIndex((i) => void (i.weight_map[first] = 3)),
      /not a \.safetensors file name/,
    ],
    [
      "a tensor in the wrong shard",
      () => withIndex((i) => void (i.weight_map[first] = "model-00006-of-00006.safetensors")),
      new RegExp(first),
    ],
    [
      "a tensor that no shard has",
      () => withIndex((i) => void (i.weight_map["model.new"] = shard)),
      /model\.new/,
    ],
    [
      "a tensor left out",
      () => withIndex((i) => void delete i.weight_map[first]),
      new RegExp(first),
    ],
    [
      "another total size",
      () => withIndex((i) => void (i.metadata["total_size"] = 7)),
      /total_size is 7/,
    ],
    [
      "a negative total size",
      () => withIndex((i) => void (i.metadata["total_size"] = -7)),
      /total_size is -7/,
    ],
    [
      "ten thousand shards",
      () =>
        withIndex((i) => {
          for (let n = 0; n < 1e4; n++) i.weight_map[`t${n}`] = `s${n}.safetensors`;
        }),
      /is missing/,
    ],
  ])("%s", async (_, files, message) => {
    for (const command of ["generate", "logits"] as const)
      await folder.expectProblem(files(), command, message);
  });
});

describe("a model larger than the device", () => {
  it("is refused before its weights are read", async () => {
    const weights = "model.safetensors";
    const files = await modelFiles({ ...smallConfig, numNextnPredictLayers: 0 });
    const vocabSize = 150_000_000;
    const config = { ...decodeJson(files.get("config.json")!), vocab_size: vocabSize };
    const { header } = splitTensors(files.get(weights)!);
    delete header["__metadata__"];
    let end = 0;
    for (const [name, entry] of Object.entries(header)) {
      if (/embed_tokens|lm_head/.test(name)) entry.shape = [vocabSize, 8];
      const begin = end;
      end += (entry.shape as number[]).reduce((product, size) => product * size, 4);
      entry.data_offsets = [begin, end];
    }
    const bytes = joinTensors(header, new Uint8Array());
    const large = changed(files, "config.json", encodeJson(config));
    writeFiles(folder.model, changed(large, weights, bytes));
    // The values are a hole of ten gigabytes that takes no room on the disk.
    truncateSync(join(folder.model, weights), bytes.length + end);
    const before = process.memoryUsage().rss;
    for (const command of ["generate", "logits"] as const) {
      const finished = await folder.run(command);
      expect(problemOf(finished), finished.stderr).toBeUndefined();
      expect(lastLine(finished)).toMatch(
        /no room for 4800000000 bytes.*embed_tokens.*smaller model/,
      );
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });
});
