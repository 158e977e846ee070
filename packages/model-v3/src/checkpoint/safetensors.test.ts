import { CheckpointError, hostTensor } from "@millrace/graph";
import type { DType, HostTensor } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { memoryDirectory, memorySource, writeFiles } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
import { maxHeaderBytes, openSafetensors, writeSafetensors } from "./safetensors.ts";
import type { TensorToWrite } from "./safetensors.ts";

/** A file of a header given as text (or object) and as many data bytes, counting up. */
function file(header: unknown, dataBytes: number, pad = 8): Uint8Array {
  const text = typeof header === "string" ? header : JSON.stringify(header);
  const json = new TextEncoder().encode(text);
  const length = Math.ceil(json.byteLength / pad) * pad;
  const bytes = new Uint8Array(8 + length + dataBytes).fill(0x20, 0, 8 + length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  for (let i = 0; i < dataBytes; i++) bytes[8 + length + i] = i;
  return bytes;
}

const open = (bytes: Uint8Array) => openSafetensors(memorySource("weights.safetensors", bytes));

function entry(dtype: string, shape: number[], start: number, end: number): unknown {
  return { dtype, shape, data_offsets: [start, end] };
}

async function write(tensors: readonly TensorToWrite[]): Promise<Uint8Array> {
  const files = new Map<string, Uint8Array>();
  await writeFiles(memoryDirectory("m", files), ["x"], (to) => writeSafetensors(to, tensors));
  return files.get("x") as Uint8Array;
}

function toWrite(name: string, tensor: HostTensor): TensorToWrite {
  return { name, ...tensor, data: () => tensor.data };
}

test("reads every dtype that a program takes", async () => {
  const dtypes: DType[] = [
    "f32",
    "f16",
    "bf16",
    "e4m3fn",
    "e5m2",
    "i64",
    "i32",
    "u32",
    "u8",
    "bool",
  ];
  const tensors = dtypes.map((dtype) => hostTensor(dtype, [2, 3], [0, 1, 1, 0, 1, 1]));
  const bytes = await write(tensors.map((tensor) => toWrite(`t.${tensor.dtype}`, tensor)));
  const opened = await open(bytes);
  expect(opened.metadata).toEqual(new Map([["format", "pt"]]));
  for (const tensor of tensors) {
    const name = `t.${tensor.dtype}`;
    expect(await opened.read(name)).toEqual(tensor);
    expect([...(await opened.readNumbers(name)).values]).toEqual([0, 1, 1, 0, 1, 1]);
    expect(Array.from(await opened.readRange(name, 2, 5), Number)).toEqual(
      Array.from(tensor.data.subarray(2, 5), Number),
    );
    expect((opened.entries.get(name)?.byteOffset ?? 1) % tensor.data.BYTES_PER_ELEMENT).toBe(0);
  }
});

test("the header is padded with spaces to 8 bytes and the data begins aligned", async () => {
  const bytes = await write([toWrite("a", hostTensor("u8", [3], [1, 2, 3]))]);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  expect(length % 8).toBe(0);
  expect(new TextDecoder().decode(bytes.subarray(8, 8 + length))).toMatch(/^\{.*\} *$/);
  expect([...bytes.subarray(8 + length)]).toEqual([1, 2, 3]);
});

test("scalars, empty tensors and odd offsets", async () => {
  const header = {
    byte: entry("U8", [1], 0, 1),
    empty: entry("F32", [0, 5], 1, 1),
    scalar: entry("F32", [], 1, 5),
  };
  const opened = await open(file(header, 5));
  expect((await opened.read("scalar")).data).toHaveLength(1);
  expect((await opened.read("empty")).shape).toEqual([0, 5]);
  expect(new Uint8Array((await opened.read("scalar")).data.buffer)).toEqual(
    Uint8Array.of(1, 2, 3, 4),
  );
});

test("F64 is read as numbers, not into a program", async () => {
  const bytes = file({ x: entry("F64", [2], 0, 16) }, 16);
  new DataView(bytes.buffer).setFloat64(bytes.length - 8, 0.1, true);
  const opened = await open(bytes);
  expect((await opened.readNumbers("x")).values[1]).toBe(0.1);
  await expect(opened.read("x")).rejects.toThrow(/F64.*weights.safetensors, tensor x.*readNumbers/);
});

test("only asked-for ranges are read", async () => {
  const bytes = file({ a: entry("F32", [1000], 0, 4000), b: entry("F32", [2], 4000, 4008) }, 4008);
  const reads: number[] = [];
  const inner = memorySource("f", bytes);
  const counting: ByteSource = {
    ...inner,
    read(offset, length) {
      reads.push(length);
      return inner.read(offset, length);
    },
  };
  const opened = await openSafetensors(counting);
  const headerReads = reads.splice(0);
  expect(headerReads.reduce((sum, n) => sum + n, 0)).toBeLessThan(200);
  await opened.readRange("a", 10, 12);
  await opened.read("b");
  expect(reads).toEqual([8, 8]);
});

describe("errors name the file, the tensor and the remedy", () => {
  const good = { a: entry("F32", [2], 0, 8) };
  const cases: [string, Uint8Array, RegExp][] = [
    ["empty file", new Uint8Array(0), /at least 10 bytes/],
    ["truncated data", file(good, 7), /do not lie in the 7 bytes.*tensor a/],
    ["header past the end", file(good, 8).subarray(0, 20), /claims \d+ bytes, but only 12 follow/],
    ["not JSON", file("{nope}", 0), /not valid JSON/],
    ["not an object", file("[]", 0), /does not begin with/],
    ["bytes that are not UTF-8", file("{\xff", 0).fill(0xff, 9, 12), /not valid UTF-8/],
    ["duplicate name", file('{"a":1,"a":2}', 0), /key a twice/],
    ["no object", file({ a: 3 }, 0), /entry is not an object.*tensor a/],
    ["unknown dtype", file({ a: entry("F4", [2], 0, 8) }, 8), /dtype "F4".*tensor a.*Convert/],
    ["negative size", file({ a: entry("F32", [-2], 0, 8) }, 8), /shape \[-2\] is not/],
    ["fractional size", file({ a: entry("F32", [0.5], 0, 2) }, 2), /shape \[0.5\] is not/],
    ["huge size", file({ a: entry("F32", [2 ** 53], 0, 8) }, 8), /is not a list of sizes/],
    ["huge product", file({ a: entry("F32", [2 ** 40, 2 ** 40], 0, 8) }, 8), /takes \d+/],
    ["shape missing", file({ a: { dtype: "F32", data_offsets: [0, 8] } }, 8), /shape \(missing\)/],
    ["shape against bytes", file({ a: entry("F32", [3], 0, 8) }, 8), /takes 12 bytes.*give 8/],
    [
      "three offsets",
      file({ a: { ...(good.a as object), data_offsets: [0, 4, 8] } }, 8),
      /two byte/,
    ],
    ["backward offsets", file({ a: entry("F32", [2], 8, 0) }, 8), /data_offsets \[8, 0\]/],
    ["past the end", file({ a: entry("F32", [2], 8, 16) }, 8), /data_offsets \[8, 16\]/],
    ["overlap", file({ ...good, b: entry("F32", [2], 4, 12) }, 12), /overlap those of a.*tensor b/],
    ["gap", file({ ...good, b: entry("F32", [1], 12, 16) }, 16), /4 bytes between a and it/],
    ["left over", file(good, 12), /4 bytes after a belong to no tensor/],
    ["metadata that is no text", file({ __metadata__: { a: 1 }, ...good }, 8), /holds a, which is/],
  ];
  test.each(cases)("%s", async (_name, bytes, message) => {
    const error = await open(bytes).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toContain("weights.safetensors");
  });

  test("a header beyond the format's limit is not read", async () => {
    const claimed = maxHeaderBytes + 8;
    let largest = 0;
    const source: ByteSource = {
      name: "big.safetensors",
      byteLength: 2 ** 40,
      read(_offset, length) {
        largest = Math.max(largest, length);
        const bytes = new Uint8Array(length);
        new DataView(bytes.buffer).setBigUint64(0, BigInt(claimed), true);
        return Promise.resolve(bytes);
      },
      close: () => Promise.resolve(),
    };
    await expect(openSafetensors(source)).rejects.toThrow(/the format allows 100000000/);
    expect(largest).toBe(9);
  });

  test("reading what is not there", async () => {
    const opened = await open(file(good, 8));
    await expect(opened.read("b")).rejects.toThrow(/no tensor b at weights.safetensors/);
    await expect(opened.readRange("a", 1, 3)).rejects.toThrow(/1 to 3.*has 2/);
    const flags = await open(file({ f: entry("BOOL", [3], 0, 3) }, 3));
    await expect(flags.read("f")).rejects.toThrow(/neither 0 nor 1/);
  });

  test("writing values that do not fit their entry, or a name twice", async () => {
    const tensor = hostTensor("f32", [2], [1, 2]);
    await expect(write([{ ...toWrite("a", tensor), shape: [3] }])).rejects.toThrow(
      /8 bytes.*\[3\]/,
    );
    await expect(write([toWrite("a", tensor), toWrite("a", tensor)])).rejects.toThrow(
      /a is given twice/,
    );
  });
});
