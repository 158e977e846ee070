import { MillraceError, dtypes, hostArray } from "@millrace/graph";
import type { DType } from "@millrace/graph";
import fc from "fast-check";
import { expect, test } from "vitest";
import { memoryDirectory, memorySource, writeFiles } from "./byte-source.ts";
import type { ByteSource } from "./byte-source.ts";
import { openSafetensors, writeSafetensors } from "./safetensors.ts";
import type { TensorToWrite } from "./safetensors.ts";

interface Drawn {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly seed: number;
}

const names = fc.oneof(
  fc.constantFrom("model.norm.weight", "__proto__", "0", "constructor", 'a"b', "ü"),
  fc.string({ unit: "grapheme", maxLength: 12 }),
);
const drawn: fc.Arbitrary<Drawn> = fc.record({
  name: names.filter((name) => name !== "__metadata__"),
  dtype: fc.constantFrom(...dtypes),
  shape: fc.array(fc.constantFrom(0, 1, 2, 3, 127, 128, 129), { maxLength: 2 }),
  seed: fc.nat(255),
});
const files = fc.uniqueArray(drawn, { selector: ({ name }) => name, maxLength: 5 });

function toWrite({ name, dtype, shape, seed }: Drawn): TensorToWrite {
  const count = shape.reduce((product, size) => product * size, 1);
  const data = hostArray(dtype, count);
  const bytes = new Uint8Array(data.buffer);
  for (let i = 0; i < bytes.length; i++) bytes[i] = dtype === "bool" ? i & 1 : i * 7 + seed;
  return { name, dtype, shape, data: () => data };
}

async function encode(tensors: readonly TensorToWrite[]): Promise<Uint8Array> {
  const written = new Map<string, Uint8Array>();
  const directory = memoryDirectory("m", written);
  await writeFiles(directory, ["x"], (file) => writeSafetensors(file, tensors));
  return written.get("x") as Uint8Array;
}

test("what is written is read, bit for bit", async () => {
  await fc.assert(
    fc.asyncProperty(files, async (specs) => {
      const tensors = specs.map(toWrite);
      const opened = await openSafetensors(memorySource("x", await encode(tensors)));
      expect(new Set(opened.entries.keys())).toEqual(new Set(specs.map(({ name }) => name)));
      for (const tensor of tensors) {
        const { name, dtype, shape } = tensor;
        const read = await opened.read(name);
        expect([read.dtype, read.shape]).toEqual([dtype, shape]);
        const bytes = new Uint8Array(read.data.buffer, read.data.byteOffset, read.data.byteLength);
        expect(bytes).toEqual(new Uint8Array((await tensor.data()).buffer));
      }
    }),
  );
});

type Mutation = (bytes: Uint8Array) => Uint8Array;
const mutations: fc.Arbitrary<Mutation> = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }).map(
    (part): Mutation =>
      (bytes) =>
        bytes.subarray(0, Math.floor(bytes.length * part)),
  ),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((length): Mutation => (bytes) => {
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    return bytes;
  }),
  fc
    .array(fc.tuple(fc.nat(400), fc.nat(255)), { minLength: 1, maxLength: 4 })
    .map((flips): Mutation => (bytes) => {
      for (const [at, value] of flips) bytes[at % bytes.length] = value;
      return bytes;
    }),
  // Digits become other digits: shapes and offsets that are still valid JSON.
  fc
    .array(fc.tuple(fc.nat(1000), fc.nat(9)), { minLength: 1, maxLength: 3 })
    .map((changes): Mutation => (bytes) => {
      const digits = [...bytes.keys()].filter((i) => i >= 8 && isDigit(bytes[i]));
      for (const [at, digit] of changes)
        if (digits.length > 0) bytes[digits[at % digits.length] as number] = 0x30 + digit;
      return bytes;
    }),
);

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

test("a damaged file reads within itself, or is refused with an error of ours", async () => {
  await fc.assert(
    fc.asyncProperty(files, mutations, async (specs, mutate) => {
      const bytes = mutate((await encode(specs.map(toWrite))).slice());
      const inner = memorySource("damaged.safetensors", bytes);
      const watched: ByteSource = {
        ...inner,
        read(offset, length) {
          // Nothing may be asked for, and so allocated, that the file does not have.
          expect(offset + length).toBeLessThanOrEqual(bytes.length);
          return inner.read(offset, length);
        },
      };
      try {
        const opened = await openSafetensors(watched);
        for (const name of opened.entries.keys()) await opened.readNumbers(name);
      } catch (error) {
        expect(error).toBeInstanceOf(MillraceError);
        expect((error as Error).message).toContain("damaged.safetensors");
      }
    }),
    { numRuns: 500 },
  );
});
