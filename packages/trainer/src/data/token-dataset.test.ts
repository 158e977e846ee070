import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { bitsPerByte } from "./batch.ts";
import type { Tokenizer } from "./packing.ts";
import { findTextFiles, readTokenDataset, textDocuments } from "./text-files.ts";
import { buildTokenDataset, type TextDocument } from "./token-dataset.ts";

const bytes: Tokenizer = {
  vocabSize: 257,
  eosTokenId: 256,
  encode: (text) => [...new TextEncoder().encode(text)],
};

const document = (name: string, content: string | Uint8Array): TextDocument => ({
  name,
  read: () =>
    Promise.resolve(typeof content === "string" ? new TextEncoder().encode(content) : content),
});

describe("buildTokenDataset", () => {
  it("packs documents with the end token after each", async () => {
    const dataset = await buildTokenDataset([document("a", "ab"), document("b", "c")], {
      tokenizer: bytes,
      heldOutFraction: 0,
    });
    expect([...dataset.train]).toEqual([97, 98, 256, 99, 256]);
    expect(dataset.train).toBeInstanceOf(Uint16Array);
    expect(dataset.heldOut.length).toBe(0);
    expect(dataset.trainBytes).toBe(3);
  });

  it("holds text out, and every byte is on one side", async () => {
    const text = "line of text\n".repeat(200);
    const dataset = await buildTokenDataset([document("a", text)], {
      tokenizer: bytes,
      heldOutFraction: 0.1,
    });
    expect(dataset.trainBytes + dataset.heldOutText.length).toBe(text.length);
    expect(dataset.heldOut.length).toBe(dataset.heldOutText.length + 1);
    expect(new TextDecoder().decode(dataset.heldOutText)).toMatch(/^line of text\n/);
    expect(Math.abs(dataset.heldOutText.length - 260)).toBeLessThan(14);
  });

  it("has a fingerprint that changes with any token", async () => {
    const options = { tokenizer: bytes, heldOutFraction: 0 };
    const one = await buildTokenDataset([document("a", "abcdef")], options);
    const same = await buildTokenDataset([document("z", "abcdef")], options);
    const other = await buildTokenDataset([document("a", "abcdeg")], options);
    expect(same.fingerprint).toBe(one.fingerprint);
    expect(other.fingerprint).not.toBe(one.fingerprint);
  });

  it("uses wide tokens for a large vocabulary and a begin token where there is no end token", async () => {
    const dataset = await buildTokenDataset([document("a", "x"), document("b", "y")], {
      tokenizer: { vocabSize: 129_280, bosTokenId: 7, encode: () => [129_279] },
      heldOutFraction: 0,
    });
    expect(dataset.train).toEqual(new Uint32Array([7, 129_279, 7, 129_279]));
  });

  it.each([
    [
      "not UTF-8",
      document("bad.txt", new Uint8Array([97, 0xff, 98])),
      /not UTF-8 text at bad\.txt/,
    ],
    ["empty", document("empty.txt", ""), /the document is empty at empty\.txt/],
  ])("names the file that is %s", async (_, bad, message) => {
    await expect(buildTokenDataset([bad], { tokenizer: bytes })).rejects.toThrow(message);
  });

  it("names the file whose tokens the vocabulary lacks", async () => {
    const tokenizer = { ...bytes, vocabSize: 98 };
    await expect(
      buildTokenDataset([document("a.txt", "ab")], { tokenizer, heldOutFraction: 0 }),
    ).rejects.toThrow(/token id 98, but its vocabulary has 98 entries at a\.txt/);
  });
});

describe("text files", () => {
  let directory = "";
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "millrace-data-"));
    await mkdir(join(directory, "sub"));
    await writeFile(join(directory, "b.txt"), "bbb");
    await writeFile(join(directory, "sub", "a.txt"), "aaa");
    await writeFile(join(directory, "odd[1]{x}.md"), "odd");
  });
  afterEach(() => rm(directory, { recursive: true }));

  const names = async (...patterns: string[]): Promise<string[]> =>
    (await findTextFiles(patterns, directory)).map((file) =>
      file.slice(directory.length + 1).replaceAll("\\", "/"),
    );

  it("come sorted, each once, from globs, paths and directories", async () => {
    expect(await names("**/*.txt")).toEqual(["b.txt", "sub/a.txt"]);
    expect(await names("sub/*.txt", "b.txt", "*.txt")).toEqual(["b.txt", "sub/a.txt"]);
    expect(await names("sub")).toEqual(["sub/a.txt"]);
    expect(await names("odd[1]{x}.md")).toEqual(["odd[1]{x}.md"]);
    expect(await names(join(directory, "*.txt"))).toEqual(["b.txt"]);
  });

  it("are an error when nothing matches, naming the pattern", async () => {
    await expect(names("*.txt", "*.none")).rejects.toThrow(
      /no file matches the data pattern at \*\.none/,
    );
  });

  it("are an error when they cannot be read, naming the file", async () => {
    const [gone] = textDocuments([join(directory, "gone.txt")], directory);
    await expect(gone?.read()).rejects.toThrow(/ENOENT\) at gone\.txt/);
  });

  it("become a dataset, with progress", async () => {
    const seen: string[] = [];
    const dataset = await readTokenDataset([join(directory, "**/*.txt")], {
      tokenizer: bytes,
      heldOutFraction: 0,
      onProgress: (progress) =>
        seen.push(`${progress.phase} ${progress.documents}/${progress.totalDocuments}`),
    });
    expect([...dataset.train]).toEqual([98, 98, 98, 256, 97, 97, 97, 256]);
    expect(seen).toEqual(["scan 1/2", "scan 2/2", "tokenize 1/2", "tokenize 2/2"]);
  });
});

describe("bitsPerByte", () => {
  it("is the loss in bits when a token is a byte", () => {
    expect(bitsPerByte(Math.LN2 * 3, 100, 100)).toBeCloseTo(3, 12);
    expect(bitsPerByte(Math.LN2 * 3, 50, 100)).toBeCloseTo(1.5, 12);
  });
});
