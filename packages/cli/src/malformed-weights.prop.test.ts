// Weight files that are not what they should be, through the commands that read them: every one ends in a line that names file
// and tensor, and no output file is there afterwards that is not whole.
import { truncateSync } from "node:fs";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type CommandName, createModelFolder, type ModelFolder } from "../test/model-folder.ts";
import {
  changed,
  type Files,
  type Header,
  inputIds,
  joinTensors,
  lastLine,
  modelFiles,
  problemOf,
  run,
  smallConfig,
  splitTensors,
  tensorFile,
  writeFiles,
} from "../test/small-model.ts";

let folder: ModelFolder;
let whole: Files;
let names: readonly string[];

beforeAll(async () => {
  folder = await createModelFolder();
  const expected = await tensorFile({ input_ids: inputIds([1, 5]) });
  whole = changed(await modelFiles(), "expected.safetensors", expected);
  names = Object.keys(splitTensors(whole.get(weights)!).header).filter((name) =>
    name.startsWith("model."),
  );
});
afterAll(() => folder.remove());

const weights = "model.safetensors";
const anyReader = fc.constantFrom<CommandName>("generate", "logits");

const edited = (edit: (header: Header) => unknown): Files => {
  const { header, data } = splitTensors(whole.get(weights)!);
  return changed(whole, weights, joinTensors(edit(header) ?? header, data));
};

describe("the header", () => {
  const sizes = (header: Header, name: string): [number, number] =>
    header[name]!.data_offsets as [number, number];

  /** Changes to one tensor's entry, each of which makes it unusable. */
  const edits = fc.oneof(
    fc
      .constantFrom(
        "F64",
        "I64",
        "U8",
        "BOOL",
        "F4",
        "f32",
        "",
        null,
        7,
        ["F32"],
        {},
        "__proto__",
        "toString",
      )
      .map((dtype) => (header: Header, name: string): void => {
        header[name]!.dtype = dtype;
      }),
    fc
      .constantFrom(
        null,
        3,
        "8",
        [],
        [-1],
        [1.5],
        ["8"],
        [[8]],
        [null],
        [2 ** 53],
        [1e300],
        [2 ** 40, 2 ** 40],
        [0],
        [0, 2 ** 50],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 7],
        { 0: 8 },
      )
      .map((shape) => (header: Header, name: string): void => {
        header[name]!.shape = shape;
      }),
    fc
      .oneof(
        fc.constantFrom(null, 4, [], [0], [0, 4, 8], [-4, 0], [4, 0], [0.5, 4.5], ["0", "4"], {}),
        fc.tuple(fc.nat(100_000), fc.nat(100_000)),
        fc.tuple(fc.constant(0), fc.maxSafeNat()),
        fc.tuple(fc.maxSafeNat(), fc.maxSafeNat()),
      )
      .map((offsets) => (header: Header, name: string): void => {
        const [start, end] = sizes(header, name);
        if (Array.isArray(offsets) && offsets[0] === start && offsets[1] === end) offsets = [];
        header[name]!.data_offsets = offsets;
      }),
    // Another tensor's bytes, and bytes that no tensor has.
    fc.integer({ min: 1, max: 64 }).map((by) => (header: Header, name: string): void => {
      const [start, end] = sizes(header, name);
      header[name]!.data_offsets = [start + by, end + by];
    }),
    fc.constantFrom(null, 1, "F32", [], {}).map((entry) => (header: Header, name: string): void => {
      header[name] = entry as never;
    }),
  );

  it("with one entry changed names file and tensor", async () => {
    await fc.assert(
      fc.asyncProperty(edits, fc.nat(), anyReader, async (edit, at, command) => {
        const name = names[at % names.length]!;
        const files = edited((header) => edit(header, name));
        await folder.expectProblem(
          files,
          command,
          weights,
          /tensor model\.|model\.layers|model\.\w+\.weight/,
        );
      }),
      { numRuns: 150 },
    );
  });

  it("with a tensor left out, renamed or of another shape says which", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(2), anyReader, async (at, how, command) => {
        const name = names[at % names.length]!;
        const files = edited((header) => {
          const entry = header[name]!;
          const shape = entry.shape as number[];
          if (how === 0) header[name] = { ...entry, shape: [...shape, 1] };
          else if (how === 1) header[name] = { ...entry, shape: [1, ...shape] };
          else {
            delete header[name];
            header["model.unknown"] = entry;
          }
        });
        // Copies of embedding and head are compared with the originals, and may be absent.
        const isCopy = /layers\.2\.(embed_tokens|shared_head\.head)/.test(name);
        if (isCopy && how === 2) return;
        if (command === "generate" && /layers\.2\./.test(name)) return;
        await folder.expectProblem(files, command, weights, name, /missing|misshapen|differs/);
      }),
      { numRuns: 40 },
    );
  });

  it.each<[string, (header: Header, data: Uint8Array) => Uint8Array, RegExp]>([
    ["empty", () => new Uint8Array(), /at least 10 bytes/],
    ["of one byte", () => new Uint8Array(1), /at least 10 bytes, this one has 1/],
    ["of zeros", () => new Uint8Array(4096), /does not begin with \{/],
    ["cut in the header", (h, d) => joinTensors(h, d).slice(0, 500), /the header claims \d+ bytes/],
    ["cut in the data", (h, d) => joinTensors(h, d).slice(0, -1), /do not lie in the \d+ bytes/],
    [
      "with more data",
      (h, d) => Buffer.concat([joinTensors(h, d), Buffer.alloc(9)]),
      /9 bytes after/,
    ],
    ["that claims 1 TB", (h, d) => joinTensors(h, d, 2n ** 40n), /claims 1099511627776 bytes/],
    [
      "that claims 2^64 - 1",
      (h, d) => joinTensors(h, d, 2n ** 64n - 1n),
      /claims 18446744073709551615/,
    ],
    ["that claims nothing", (h, d) => joinTensors(h, d, 0n), /not valid JSON/],
    ["of a list", (_, d) => joinTensors([], d), /does not begin with \{/],
    ["without an end", (_, d) => joinTensors('{"a": {', d), /not valid JSON/],
    ["nested deeply", (_, d) => joinTensors(`{"a":${"[".repeat(1e6)}`, d), /not valid JSON/],
    [
      "nested deeply and closed",
      (_, d) => joinTensors(`{"a":${"[".repeat(1e5)}${"]".repeat(1e5)}}`, d),
      /the entry is not an object/,
    ],
    [
      "of no UTF-8",
      (_, d) => joinTensors("{", Uint8Array.of(0xff, ...d), 5n),
      /not valid UTF-8|overlap/,
    ],
    [
      "with a key twice",
      (h, d) => {
        const text = JSON.stringify(h);
        return joinTensors(`{${text.slice(1, text.indexOf("}") + 1)},${text.slice(1)}`, d);
      },
      /twice/,
    ],
    [
      "with metadata of numbers",
      (h, d) => joinTensors({ ...h, __metadata__: { format: 1 } }, d),
      /not a string/,
    ],
    [
      "with metadata of text",
      (h, d) => joinTensors({ ...h, __metadata__: "pt" }, d),
      /not an object/,
    ],
    [
      "with a name of a megabyte",
      (h, d) => joinTensors({ ...h, ["x".repeat(1e6)]: 1 }, d),
      /not an object/,
    ],
    [
      "with a name of line ends and escapes",
      (h, d) => joinTensors({ ...h, "a\nb\r\u001B[2J\u2028c": 1 }, d),
      /tensor a b \[2J c\. Copy/,
    ],
  ])("%s", async (_, make, message) => {
    const { header, data } = splitTensors(whole.get(weights)!);
    const files = changed(whole, weights, make(header, data));
    for (const command of ["generate", "logits", "verify"] as const)
      await folder.expectProblem(files, command, weights, message);
  });
});

describe("what a header claims", () => {
  it("is not allocated", async () => {
    const { header, data } = splitTensors(whole.get(weights)!);
    await folder.runOver(whole, "generate");
    const before = process.memoryUsage().rss;
    await fc.assert(
      fc.asyncProperty(
        fc.bigInt({ min: BigInt(data.length), max: 2n ** 63n }),
        fc.constantFrom("header", "tensor", "shape"),
        anyReader,
        async (claimed, where, command) => {
          const bytes = Number(claimed / 4n) * 4;
          const entry = { dtype: "F32", shape: [bytes / 4], data_offsets: [0, bytes] };
          const files = changed(
            whole,
            weights,
            where === "header"
              ? joinTensors(header, data, claimed)
              : where === "tensor"
                ? joinTensors({ ...header, [names[0]!]: entry }, data)
                : joinTensors(
                    { ...header, [names[0]!]: { ...header[names[0]!], shape: [bytes, bytes] } },
                    data,
                  ),
          );
          await folder.expectProblem(files, command, weights);
        },
      ),
      { numRuns: 60 },
    );
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });

  it("is not read before it is known to fit, though the file has it", async () => {
    const size = 2 ** 40;
    const huge = (name: string): Header => ({
      [name]: { dtype: "F32", shape: [size / 4], data_offsets: [0, size] },
    });
    const before = process.memoryUsage().rss;
    /** Puts a file of a terabyte into the model; most of it is a hole that takes no room on the disk. */
    const put = (file: string, header: Header): void => {
      const bytes = joinTensors(header, new Uint8Array());
      writeFiles(folder.model, changed(whole, file, bytes));
      truncateSync(join(folder.model, file), bytes.length + size);
    };
    put(weights, huge("model.embed_tokens.weight"));
    for (const command of ["generate", "logits"] as const) {
      const finished = await folder.run(command);
      expect(problemOf(finished), finished.stderr).toBeUndefined();
      expect(lastLine(finished)).toMatch(/F32 \[274877906944\], not a float dtype \[264, 8\]/);
    }
    put("expected.safetensors", huge("input_ids"));
    const input = join(folder.model, "expected.safetensors");
    const asIds = await run("logits", folder.model, "--input", input, "--out", folder.out);
    expect(problemOf(asIds), asIds.stderr).toBeUndefined();
    expect(lastLine(asIds)).toMatch(/input_ids have shape \[274877906944\]/);
    const [start, end] = [size - 40, size];
    put("expected.safetensors", {
      logits: { dtype: "F32", shape: [start / 4], data_offsets: [0, start] },
      input_ids: { dtype: "I64", shape: [1, 5], data_offsets: [start, end] },
    });
    const verified = await folder.run("verify");
    expect(verified.status).toBe(1);
    expect(verified.stdout).toMatch(/logits .*FAILED +computed \[1, 5, 264\], expected \[\d+\]/);
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 2 ** 20);
  });
});

describe("any byte of any file of a model", () => {
  const change = fc.oneof(
    fc.record({
      kind: fc.constant("flip" as const),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      by: fc.integer({ min: 1, max: 255 }),
    }),
    fc.record({
      kind: fc.constant("cut" as const),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    fc.record({
      kind: fc.constant("insert" as const),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }),
    }),
    fc.record({ kind: fc.constant("replace" as const), bytes: fc.uint8Array({ maxLength: 64 }) }),
  );

  it("may change: the command works or says what is wrong", async () => {
    const sharded = await modelFiles(smallConfig, 8192);
    await fc.assert(
      fc.asyncProperty(
        change,
        fc.nat(),
        fc.boolean(),
        fc.constantFrom<CommandName>("generate", "logits", "verify"),
        async (how, which, early, command) => {
          const from = command === "verify" ? whole : which % 2 === 0 ? whole : sharded;
          const file = [...from.keys()][which % from.size]!;
          const good = from.get(file)!;
          // The header is a small part of a file and the one that matters.
          const range = early ? Math.min(good.length, 4000) : good.length;
          const at = "at" in how ? Math.floor(how.at * range) : 0;
          const bytes =
            how.kind === "cut"
              ? good.slice(0, at)
              : how.kind === "insert"
                ? Buffer.concat([good.subarray(0, at), how.bytes, good.subarray(at)])
                : how.kind === "replace"
                  ? how.bytes
                  : good.map((byte, i) => (i === at ? byte ^ how.by : byte));
          const finished = await folder.runOver(changed(from, file, bytes), command);
          if (finished.status === 0) return;
          // A verification that fails prints its rows.
          if (command === "verify" && finished.stdout.includes("tensors: ")) return;
          expect(problemOf(finished), finished.stderr).toBeUndefined();
        },
      ),
      { numRuns: 120 },
    );
  });
});
