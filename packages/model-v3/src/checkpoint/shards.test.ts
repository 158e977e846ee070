import { CheckpointError, hostTensor } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { memoryDirectory } from "./byte-source.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { indexFile, openShards, singleFile, writeShards } from "./shards.ts";

function tensors(count: number): TensorToWrite[] {
  return Array.from({ length: count }, (_, i) => {
    const { data } = hostTensor("f32", [2, 2], [i, i + 1, i + 2, i + 3]);
    return { name: `t${i}`, dtype: "f32", shape: [2, 2], data: () => data };
  });
}

async function sharded(): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  await writeShards(memoryDirectory("ckpt", files), tensors(5), { maxShardBytes: 40 });
  return files;
}

const [first, second, third] = [1, 2, 3].map((i) => `model-0000${i}-of-00003.safetensors`) as [
  string,
  string,
  string,
];

function editIndex(
  files: Map<string, Uint8Array>,
  edit: (index: { metadata: Record<string, unknown>; weight_map: Record<string, unknown> }) => void,
): void {
  const index = JSON.parse(new TextDecoder().decode(files.get(indexFile)));
  edit(index);
  files.set(indexFile, new TextEncoder().encode(JSON.stringify(index)));
}

test("small checkpoints are one file, larger ones shards with an index; both read alike", async () => {
  const files = await sharded();
  expect([...files.keys()]).toEqual([first, second, third, indexFile]);
  const split = await openShards(memoryDirectory("ckpt", files));
  await writeShards(memoryDirectory("ckpt", files), tensors(5));
  expect([...files.keys()]).toEqual([singleFile]);
  const single = await openShards(memoryDirectory("ckpt", files));
  expect([...split.entries.keys()]).toEqual([...single.entries.keys()]);
  for (const name of split.entries.keys()) {
    expect(await split.read(name)).toEqual(await single.read(name));
    expect(await split.readRange(name, 1, 3)).toEqual(await single.readRange(name, 1, 3));
  }
  await expect(split.read("t9")).rejects.toThrow(/no tensor t9 at ckpt/);
});

test("an empty checkpoint and a tensor larger than a shard", async () => {
  const files = new Map<string, Uint8Array>();
  await writeShards(memoryDirectory("ckpt", files), []);
  expect((await openShards(memoryDirectory("ckpt", files))).entries.size).toBe(0);
  await writeShards(memoryDirectory("ckpt", files), tensors(2), { maxShardBytes: 1 });
  expect(files.size).toBe(3);
  await expect(
    writeShards(memoryDirectory("ckpt", files), [], { maxShardBytes: 0 }),
  ).rejects.toThrow(/maxShardBytes is 0/);
});

test("files written beside appear with the weights", async () => {
  const files = new Map<string, Uint8Array>();
  const beside = new Map([["config.json", Uint8Array.of(123, 125)]]);
  await writeShards(memoryDirectory("ckpt", files), tensors(1), { beside });
  expect([...files.keys()]).toEqual(["config.json", singleFile]);
});

test("a failing tensor leaves what was there", async () => {
  const files = await sharded();
  const before = new Map(files);
  const last: TensorToWrite = {
    name: "last",
    dtype: "f32",
    shape: [2],
    data: () => Promise.reject(new RangeError("no memory")),
  };
  const failing = [...tensors(4), last];
  await expect(
    writeShards(memoryDirectory("ckpt", files), failing, { maxShardBytes: 40 }),
  ).rejects.toThrow("no memory");
  expect(files).toEqual(before);
});

describe("index and shards must agree", () => {
  type Edit = (files: Map<string, Uint8Array>) => void;
  const cases: [string, Edit, RegExp][] = [
    ["no weights at all", (files) => files.clear(), /neither model.safetensors nor .* at ckpt/],
    ["missing shard", (files) => files.delete(second), /shard model-00002.* is missing at ckpt/],
    [
      "index without map",
      (files) => files.set(indexFile, new TextEncoder().encode("{}")),
      /no weight_map object at ckpt\/model.safetensors.index.json/,
    ],
    [
      "index that is no JSON",
      (files) => files.set(indexFile, new TextEncoder().encode("{")),
      /not valid JSON/,
    ],
    [
      "tensor in a shard but not in the index",
      (files) => editIndex(files, ({ weight_map: map }) => delete map["t0"]),
      /not in model.safetensors.index.json at ckpt\/model-00001.*tensor t0/,
    ],
    [
      "tensor in the index but in no shard",
      (files) => editIndex(files, ({ weight_map: map }) => (map["extra"] = second)),
      /missing at ckpt\/model-00002.*tensor extra/,
    ],
    [
      "tensor in another shard than the index says",
      (files) => editIndex(files, ({ weight_map: map }) => (map["t0"] = second)),
      /says it is in model-00002.* at ckpt\/model-00001.*tensor t0/,
    ],
    [
      "tensor in two shards",
      (files) => files.set(second, files.get(first) as Uint8Array),
      /in another shard as well at ckpt\/model-00002/,
    ],
    [
      "wrong total size",
      (files) => editIndex(files, ({ metadata }) => (metadata["total_size"] = 81)),
      /total_size is 81, the shards hold 80/,
    ],
    [
      "total size that is no size",
      (files) => editIndex(files, ({ metadata }) => (metadata["total_size"] = "many")),
      /total_size is "many"/,
    ],
    [
      "a path out of the folder",
      (files) => editIndex(files, ({ weight_map: map }) => (map["t0"] = "../x.safetensors")),
      /not a .safetensors file name/,
    ],
    [
      "truncated shard",
      (files) => files.set(third, (files.get(third) as Uint8Array).subarray(0, -1)),
      /ckpt\/model-00003/,
    ],
  ];
  test.each(cases)("%s", async (_name, edit, message) => {
    const files = await sharded();
    edit(files);
    const error = await openShards(memoryDirectory("ckpt", files)).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  test("an index without total_size is accepted", async () => {
    const files = await sharded();
    editIndex(files, ({ metadata }) => delete metadata["total_size"]);
    expect((await openShards(memoryDirectory("ckpt", files))).entries.size).toBe(5);
  });
});
