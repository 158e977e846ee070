import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CheckpointError, elementCount } from "@millrace/graph";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { CheckpointDirectory } from "./checkpoint/byte-source.ts";
import { writeWhole } from "./checkpoint/byte-source.ts";
import { saveParameters } from "./checkpoint/save.ts";
import {
  fileError,
  nodeDirectory,
  openCheckpoint,
  openFile,
  openSafetensorsFile,
  readConfig,
  readGenerationConfig,
  readTokenizer,
  writeFolder,
} from "./node.ts";
import type { ParameterSpec } from "./parameters.ts";
import { preset } from "./presets.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-node-"));
});
afterEach(() => rm(folder, { recursive: true }));

const zeros = ({ shape }: ParameterSpec) => ({
  dtype: "f32" as const,
  shape,
  data: new Float32Array(elementCount(shape)),
});

test("a model folder is written and opened, whole and in shards", async () => {
  for (const maxShardBytes of [1e9, 2e5]) {
    const path = join(folder, String(maxShardBytes));
    await saveParameters(nodeDirectory(path), preset("tiny"), zeros, { maxShardBytes });
    const checkpoint = await openCheckpoint(path);
    expect(checkpoint.config).toEqual(preset("tiny"));
    expect((await checkpoint.weights.read("model.norm.weight")).data).toEqual(new Float32Array(64));
    await checkpoint.close();
    expect((await readdir(path)).filter((name) => name.startsWith("."))).toEqual([]);
    expect(await readConfig(join(path, "config.json"))).toEqual(preset("tiny"));
  }
});

test("a folder without tokenizer.json has bytes as tokens; a broken one is named", async () => {
  expect((await readTokenizer(folder)).vocabSize).toBe(264);
  await writeFile(join(folder, "tokenizer.json"), "{}");
  await expect(readTokenizer(folder)).rejects.toThrow(/tokenizer\.json/);
});

test("a folder may say how to choose tokens; a file that says it wrongly is named", async () => {
  expect(await readGenerationConfig(folder)).toBeUndefined();
  const path = join(folder, "generation_config.json");
  await writeFile(path, '{"do_sample": true, "eos_token_id": [1, 2]}');
  expect(await readGenerationConfig(folder)).toMatchObject({ doSample: true, eosTokenId: [1, 2] });
  for (const text of ["{", '{"top_p": 2}', "null"]) {
    await writeFile(path, text);
    await expect(readGenerationConfig(folder)).rejects.toThrow(/generation_config\.json\. [A-Z]/);
  }
});

describe("errors are CheckpointErrors with path and remedy", () => {
  test("paths that are not there, or not what they should be", async () => {
    const gone = join(folder, "gone");
    for (const open of [openFile, openCheckpoint, openSafetensorsFile]) {
      const error = await open(gone).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(CheckpointError);
      expect((error as Error).message).toMatch(/gone.*Check the path/);
    }
    await expect(openFile(folder)).rejects.toThrow(/not a regular file/);
    await expect(openCheckpoint(folder)).rejects.toThrow(/no config\.json/);
    await writeFile(gone, "{}");
    await expect(openCheckpoint(gone)).rejects.toThrow(/not a folder.*gone\. Name the folder/);
  });

  test("a file that shrinks while it is open", async () => {
    const path = join(folder, "x");
    await writeFile(path, new Uint8Array(100));
    const source = await openFile(path);
    await truncate(path, 50);
    await expect(source.read(40, 20)).rejects.toThrow(/ends before byte 60.*x.*truncated/);
    await expect(source.read(90, 20)).rejects.toThrow(/ends before byte 110/);
    expect(await source.read(40, 10)).toEqual(new Uint8Array(10));
    await source.close();
  });

  test("a tensor larger than memory, in a file that has all of it", async () => {
    const path = join(folder, "huge.safetensors");
    const entry = { dtype: "U8", shape: [2 ** 40], data_offsets: [0, 2 ** 40] };
    const header = new TextEncoder().encode(JSON.stringify({ huge: entry }));
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
    await writeFile(path, Buffer.concat([length, header]));
    // No block of the disk is used for what was never written.
    await truncate(path, 8 + header.length + 2 ** 40);
    const file = await openSafetensorsFile(path);
    try {
      await expect(file.read("huge")).rejects.toThrow(/do not fit into memory.*huge\.safetensors/);
    } finally {
      await file.close();
    }
  });

  test("a truncated weight file", async () => {
    await saveParameters(nodeDirectory(folder), preset("tiny"), zeros);
    await truncate(join(folder, "model.safetensors"), 5000);
    await expect(openCheckpoint(folder)).rejects.toThrow(/model\.safetensors/);
  });
});

/** A directory whose disk fills after so many bytes. */
function filling(directory: CheckpointDirectory, room: number): CheckpointDirectory {
  let left = room;
  return {
    ...directory,
    async create(name) {
      const file = await directory.create(name);
      return {
        ...file,
        write(bytes) {
          left -= bytes.byteLength;
          const full = Object.assign(new RangeError("no space"), { code: "ENOSPC" });
          return left < 0
            ? Promise.reject(fileError(full, "writing", file.name))
            : file.write(bytes);
        },
      };
    },
  };
}

describe("all or nothing", () => {
  test("a full disk leaves the old checkpoint and no partial files", async () => {
    const directory = nodeDirectory(folder);
    const config = { ...preset("tiny"), numNextnPredictLayers: 0 };
    await saveParameters(directory, config, zeros);
    const before = await readFile(join(folder, "model.safetensors"));
    for (const room of [0, 10, 3000, 300_000]) {
      const saving = saveParameters(filling(directory, room), preset("tiny"), zeros);
      await expect(saving).rejects.toThrow(/the disk is full.*Free some disk space/);
      expect((await readdir(folder)).sort()).toEqual(["config.json", "model.safetensors"]);
      expect(await readFile(join(folder, "model.safetensors"))).toEqual(before);
      expect(await readConfig(folder)).toEqual(config);
    }
  });

  test("a folder is replaced whole, or stays", async () => {
    const path = join(folder, "model");
    const write = (text: string) => (directory: CheckpointDirectory) =>
      writeWhole(directory, text, new TextEncoder().encode(text));
    await writeFolder(path, write("first"));
    await writeFolder(path, write("second"));
    expect(await readdir(path)).toEqual(["second"]);
    const failing = writeFolder(path, async (directory) => {
      await write("third")(directory);
      throw new RangeError("stopped");
    });
    await expect(failing).rejects.toThrow("stopped");
    expect(await readdir(path)).toEqual(["second"]);
    expect(await readdir(folder)).toEqual(["model"]);
  });

  test("a folder that survives only as .previous is kept until the new one is there", async () => {
    const path = join(folder, "model");
    await mkdir(`${path}.previous`);
    const stopped = writeFolder(path, () => Promise.reject(new RangeError("stopped")));
    await expect(stopped).rejects.toThrow("stopped");
    expect(await readdir(folder)).toEqual(["model.previous"]);
    await writeFolder(path, () => Promise.resolve());
    expect(await readdir(folder)).toEqual(["model"]);
  });
});
