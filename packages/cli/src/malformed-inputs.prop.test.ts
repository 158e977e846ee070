// Configurations, tokenizers, token ids and paths that are not what they should be, through the commands that read them: status
// 1 with a line that names the file and the remedy, and no output file that is not whole.
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { hostTensor } from "@millrace/graph";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import {
  changed,
  decodeJson,
  encodeJson,
  type Files,
  type Finished,
  inputIds,
  joinTensors,
  lastLine,
  modelFiles,
  problemOf,
  run,
  tensorFile,
  tokenizerJson,
  writeFiles,
} from "../test/small-model.ts";

let home = "";
let model = "";
let files: Files;
let config: Record<string, unknown>;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "millrace-inputs-"));
  model = join(home, "model");
  files = await modelFiles();
  config = decodeJson(files.get("config.json")!);
  writeFileSync(join(home, "text.txt"), "a line of text\n".repeat(40));
});
afterAll(() => rmSync(home, { recursive: true }));

const path = (name: string): string => join(home, name);

/** Runs a command line and checks its time. */
async function timed(...args: readonly string[]): Promise<Finished> {
  const begun = performance.now();
  const finished = await run(...args);
  expect(performance.now() - begun, args.join(" ")).toBeLessThan(30_000);
  return finished;
}

function expectProblem(finished: Finished, ...mentioned: readonly (string | RegExp)[]): void {
  expect(problemOf(finished), finished.stderr).toBeUndefined();
  for (const text of mentioned) expect(lastLine(finished)).toMatch(text);
}

const training = ["--data", "", "--steps", "1", "--batch-size", "1", "--sequence-length", "4"];

/** A command line over the model's folder. */
function commandOf(name: string): readonly string[] {
  const out = path("out");
  rmSync(out, { recursive: true, force: true });
  switch (name) {
    case "generate":
      return ["generate", model, "--prompt-ids", "1,2", "--max-tokens", "2"];
    case "speculate":
      return [...commandOf("generate"), "--speculative", "1", "--temperature", "1"];
    case "logits":
      return ["logits", model, "--input", path("ids"), "--out", out];
    case "compile":
      return ["compile", model, "--graph", "train", "--print", "graph"];
    case "train":
      return ["train", "--config", join(model, "config.json"), "--out", out].concat(
        training.map((word) => word || path("text.txt")),
      );
    default:
      return [name, model];
  }
}

describe("a configuration", () => {
  beforeAll(async () =>
    writeFileSync(path("ids"), await tensorFile({ input_ids: inputIds([1, 4]) })),
  );

  const numbers = [0, 1, 2, 3, 7, 64, -1, 1.5, 2 ** 31 - 1, 2 ** 31, 2 ** 53, 1e300, -1e300];
  const values = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom<unknown>(...numbers) },
    {
      weight: 1,
      arbitrary: fc.constantFrom<unknown>("8", "", true, false, null, [], {}, [1], { a: 1 }),
    },
    { weight: 1, arbitrary: fc.jsonValue() },
  );

  it("with one key changed works, or is refused with its name", async () => {
    const commands = fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom("generate", "speculate", "logits", "compile") },
      { weight: 1, arbitrary: fc.constantFrom("inspect", "train") },
    );
    await fc.assert(
      fc.asyncProperty(fc.nat(), values, commands, async (which, value, command) => {
        const key = Object.keys(config)[which % Object.keys(config).length]!;
        const other = encodeJson({ ...config, [key]: value });
        writeFiles(model, changed(files, "config.json", other));
        const finished = await timed(...commandOf(command));
        if (finished.status === 0) return;
        // Either the key itself, or sizes that no longer fit (the weights, the device, the text), or factors that no sum bears.
        expectProblem(
          finished,
          new RegExp(
            `${key}|config\\.json|do not fit|model\\.safetensors|device|settings|context|(NaN|Infinity) in step`,
          ),
        );
      }),
      { numRuns: 150 },
    );
  });

  it.each<[Record<string, unknown>, RegExp]>([
    [{ num_experts_per_tok: 5 }, /num_experts_per_tok is 5, but n_routed_experts 4/],
    [{ n_group: 3 }, /n_group is 3, which does not divide n_routed_experts 4/],
    [{ topk_group: 3 }, /topk_group is 3, but n_group 2/],
    [{ qk_rope_head_dim: 3 }, /qk_rope_head_dim is 3, but rotation works on pairs/],
    [{ first_k_dense_replace: 3 }, /first_k_dense_replace is 3, but num_hidden_layers 2/],
    [{ vocab_size: 256 }, /vocab_size is 256, but bos_token_id 256/],
    [{ n_routed_experts: 2 ** 40 }, /n_routed_experts is 1099511627776.*an integer from 0 to 4096/],
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers is 1000000000.*an integer from 1 to 256/],
    [{ hidden_size: "8" }, /hidden_size is "8".*an integer/],
    [{ hidden_size: 16 }, /misshapen: model\.embed_tokens\.weight \(F32 \[264, 8\]/],
    [
      { num_hidden_layers: 256, n_routed_experts: 4096, n_group: 1, topk_group: 1 },
      /256 layers of 4096 experts take/,
    ],
    [{ model_type: "llama" }, /model_type is "llama"/],
    [{ rope_scaling: { type: "yarn", factor: -1 } }, /rope_scaling\.factor is -1/],
    [{ quantization_config: { weight_block_size: [0, 128] } }, /weight_block_size is \[0,128\]/],
    [
      { num_nextn_predict_layers: 2 },
      /missing: model\.layers\.3\..*Set num_nextn_predict_layers to 0/,
    ],
  ])("with %j is refused before anything is loaded", async (edit, message) => {
    const other = changed(files, "config.json", encodeJson({ ...config, ...edit }));
    writeFiles(model, other);
    for (const command of ["generate", "logits"])
      if (command === "logits" || !("num_nextn_predict_layers" in edit))
        expectProblem(await timed(...commandOf(command)), message, model);
  });

  it("with more MTP modules than tokens in a sequence trains nothing, and says so", async () => {
    const many = encodeJson({ ...config, num_nextn_predict_layers: 64 });
    writeFiles(model, changed(files, "config.json", many));
    for (const command of ["compile", "inspect"])
      expectProblem(
        await timed(...commandOf(command)),
        /sequences of 16 tokens leave nothing .* 64 MTP modules.*num_nextn_predict_layers/,
      );
  });

  it.each<[string, Uint8Array | undefined, RegExp]>([
    ["missing", undefined, /there is no config\.json/],
    ["empty", new Uint8Array(), /config\.json/],
    ["a list", encodeJson([]), /not a JSON object/],
    ["cut", encodeJson('{"model_type": "deepseek'), /not valid JSON/],
    ["of no UTF-8", Uint8Array.of(0x7b, 0xff), /not valid UTF-8/],
    [
      "nested deeply",
      encodeJson(`{"model_type":${"[".repeat(1e5)}${"]".repeat(1e5)}}`),
      /model_type is/,
    ],
  ])("that is %s is named by every command", async (_, bytes, message) => {
    const other = new Map(files);
    if (bytes) other.set("config.json", bytes);
    else other.delete("config.json");
    writeFiles(model, other);
    for (const command of ["inspect", "compile", "generate", "logits"])
      expectProblem(await timed(...commandOf(command)), message, model);
    // The file itself is named there.
    expectProblem(await timed(...commandOf("train")), bytes ? message : /ENOENT/, model);
  });
});

describe("a tokenizer", () => {
  const generate = (): Promise<Finished> =>
    timed("generate", model, "--prompt", "abcab", "--max-tokens", "2", "--json");
  const withTokenizer = (json: unknown, others: Readonly<Record<string, unknown>> = {}): void => {
    const all = changed(files, "tokenizer.json", encodeJson(json));
    for (const [name, value] of Object.entries(others)) all.set(name, encodeJson(value));
    writeFiles(model, all);
  };

  it("that is whole is used", async () => {
    withTokenizer(tokenizerJson());
    const { status, stdout } = await generate();
    expect(status).toBe(0);
    expect((JSON.parse(stdout) as { tokens: number[] }).tokens.length).toBe(2);
  });

  it("with any part changed works, or is named", async () => {
    /** Paths to every value in it. */
    const pathsOf = (value: unknown, before: readonly string[] = []): (readonly string[])[] =>
      typeof value === "object" && value !== null
        ? Object.entries(value).flatMap(([key, inner]) => {
            const place = before.concat(key);
            return [place].concat(pathsOf(inner, place) as string[][]);
          })
        : [];
    const places = pathsOf(tokenizerJson());
    const values = fc.oneof(
      fc.constantFrom<unknown>(null, -1, 0, 1.5, 2 ** 40, "", "x", true, [], {}, [[]], [null]),
      fc.jsonValue(),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...places), values, async (place, value) => {
        const json = tokenizerJson();
        let inside: Record<string, unknown> = json;
        for (const key of place.slice(0, -1)) inside = inside[key] as Record<string, unknown>;
        inside[place.at(-1)!] = value;
        withTokenizer(json);
        const finished = await generate();
        // Ids that the model does not have are the prompt's fault; all else is the file's.
        if (finished.status !== 0) expectProblem(finished, /tokenizer|vocabulary|prompt/);
      }),
      { numRuns: 60 },
    );
  });

  it.each<[string, unknown, Readonly<Record<string, unknown>>, RegExp]>([
    ["cut", '{"model": ', {}, /tokenizer\.json/],
    ["a list", [], {}, /tokenizer\.json/],
    ["without a model", {}, {}, /no model object at .*tokenizer\.json/],
    [
      "without a vocabulary",
      { model: { type: "BPE" } },
      {},
      /there is no vocabulary at .*tokenizer\.json/,
    ],
    [
      "with a config of text",
      tokenizerJson(),
      { "tokenizer_config.json": '"text"' },
      /tokenizer_config\.json/,
    ],
    [
      "with a broken config",
      tokenizerJson(),
      { "tokenizer_config.json": "{" },
      /tokenizer_config\.json/,
    ],
  ])("that is %s is named", async (_, json, others, message) => {
    withTokenizer(json, others);
    expectProblem(await generate(), message, model);
    const train = await timed(...commandOf("train"));
    expectProblem(train, message, model);
  });

  it("with more tokens than the model is refused where that matters", async () => {
    const json = tokenizerJson();
    const { vocab } = json["model"] as { vocab: Record<string, number> };
    vocab["ab"] = 9999;
    withTokenizer(json);
    expectProblem(await generate(), /9999.*vocabulary of 264/);
    expectProblem(await timed(...commandOf("train")), /tokenizer has 10000 tokens.*vocabulary 264/);
  });
});

describe("token ids", () => {
  beforeAll(() => writeFiles(model, files));
  const logits = async (bytes: Uint8Array): Promise<Finished> => {
    writeFileSync(path("ids"), bytes);
    const finished = await timed(...commandOf("logits"));
    expect(existsSync(path("out"))).toBe(finished.status === 0);
    return finished;
  };

  it("of any dtype, shape and value work, or are refused with file and place", async () => {
    const dims = fc.array(fc.integer({ min: 0, max: 18 }), { maxLength: 3 });
    const dtype = fc.constantFrom("i64", "i32", "u32", "u8", "f32", "bool", "bf16" as const);
    const id = fc.oneof(fc.integer({ min: 0, max: 263 }), fc.constantFrom(-1, 264, 2 ** 31 - 1));
    await fc.assert(
      fc.asyncProperty(
        dims,
        dtype,
        fc.boolean(),
        fc.array(id, { minLength: 9, maxLength: 9 }),
        async (shape, of, anyId, some) => {
          const count = shape.reduce((product, size) => product * size, 1);
          const values = Array.from({ length: count }, (_, i) => (anyId ? some[i % 9]! : i % 200));
          const tensor = hostTensor(of, shape, values);
          const fits = tensor.data.every((value) => value >= 0 && value < 264);
          const isShape = shape.length === 2 && count > 0 && shape[1]! <= 16;
          const finished = await logits(await tensorFile({ input_ids: tensor }));
          const isInteger = ["i64", "i32", "u32", "u8"].includes(of);
          if (isShape && isInteger && fits) expect(finished.status, finished.stderr).toBe(0);
          else expectProblem(finished, path("ids"), "input_ids");
        },
      ),
      { numRuns: 100 },
    );
  });

  it.each<[string, () => Promise<Uint8Array> | Uint8Array, RegExp]>([
    ["another name", () => tensorFile({ ids: inputIds([1, 4]) }), /no tensor input_ids at .*ids/],
    ["no tensors", () => joinTensors({}, new Uint8Array()), /no tensor input_ids/],
    [
      "an id of 40 bits",
      () =>
        tensorFile({
          input_ids: { dtype: "i64", shape: [1, 2], data: BigInt64Array.of(1n, 2n ** 40n) },
        }),
      /1099511627776 at \[0, 1\]/,
    ],
    [
      "an id below zero",
      () => tensorFile({ input_ids: hostTensor("i32", [2, 1], [3, -4]) }),
      /-4 at \[1, 0\]/,
    ],
    [
      "a sequence beyond the context",
      () => tensorFile({ input_ids: inputIds([1, 17]) }),
      /17 tokens, the model's context 16/,
    ],
    [
      "floats",
      () => tensorFile({ input_ids: hostTensor("f32", [1, 2], [1, 2]) }),
      /f32.*Store them as I64/,
    ],
    [
      "doubles",
      () =>
        joinTensors(
          { input_ids: { dtype: "F64", shape: [1, 1], data_offsets: [0, 8] } },
          new Uint8Array(8),
        ),
      /F64/,
    ],
    ["one dimension", () => tensorFile({ input_ids: inputIds([4]) }), /shape \[4\].*\[B, T\]/],
    ["text", () => encodeJson("1 2 3 4 5 6 7 8 9"), /claims \d+ bytes/],
    ["nothing", () => new Uint8Array(), /at least 10 bytes/],
  ])("in a file with %s", async (_, bytes, message) => {
    expectProblem(await logits(await bytes()), message, path("ids"));
  });

  it("of a prompt are checked against vocabulary and context", async () => {
    const generate = (...args: string[]): Promise<Finished> => timed("generate", model, ...args);
    expectProblem(await generate("--prompt-ids", "1,264"), /264 at position 1.*vocabulary of 264/);
    expectProblem(await generate("--prompt-ids", "2147483647"), /position 0 of the prompt/);
    const long = Array.from({ length: 17 }, () => 1).join();
    expectProblem(await generate("--prompt-ids", long), /prompt has 17 tokens, the context 16/);
    expectProblem(
      await generate("--prompt", "x".repeat(1e6)),
      /prompt has 1000000 tokens, the context 16/,
    );
    expectProblem(await generate("--prompt", ""), /prompt has no tokens/);
    // A prompt that fills the context leaves room for one token.
    const full = await generate("--prompt-ids", long.slice(2), "--json");
    expect(full.status, full.stderr).toBe(0);
    expect(JSON.parse(full.stdout)).toMatchObject({ finishReason: "context" });
  });

  it("are drafted only by a model with an MTP module", async () => {
    const plain = await modelFiles({ ...(await smallConfigWithoutMtp()) });
    writeFiles(path("plain"), plain);
    const args = ["generate", path("plain"), "--prompt-ids", "1", "--speculative", "1"];
    expectProblem(await timed(...args), /no MTP module.*Turn speculation off/);
  });
});

async function smallConfigWithoutMtp(): Promise<Parameters<typeof modelFiles>[0] & object> {
  const { smallConfig } = await import("../test/small-model.ts");
  return { ...smallConfig, numNextnPredictLayers: 0 };
}

describe("paths", () => {
  beforeAll(async () => {
    writeFiles(model, files);
    writeFileSync(path("ids"), await tensorFile({ input_ids: inputIds([1, 4]) }));
    mkdirSync(path("folder"));
    symlinkSync(path("loop"), path("loop"));
  });

  const logits = (input: string, out: string): Promise<Finished> =>
    timed("logits", model, "--input", path(input), "--out", path(out));

  it.each(["none", "folder", "loop", "ids", "ids/below"])(
    "%s in place of a model",
    async (name) => {
      for (const args of [
        ["inspect", path(name)],
        ["compile", path(name), "--graph", "decode", "--print", "graph"],
        ["generate", path(name), "--prompt-ids", "1"],
        ["logits", path(name), "--input", path("ids"), "--out", path("out")],
        ["verify", path(name)],
        ["train", "--config", path(name), "--data", path("text.txt"), "--out", path("run")],
      ])
        expectProblem(await timed(...args), path(name));
      expect(existsSync(path("out"))).toBe(false);
      expect(existsSync(path("run"))).toBe(false);
    },
  );

  it.each(["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"])(
    "a folder, a loop, a pipe and no permission in place of %s",
    async (name) => {
      const put: (() => void)[] = [
        () => mkdirSync(join(model, name)),
        () => symlinkSync(join(model, name), join(model, name)),
        // Without a writer, whoever opens a pipe to read waits.
        () => void (process.platform !== "win32" && execFileSync("mkfifo", [join(model, name)])),
      ];
      // Root may read everything.
      if (process.getuid?.() !== 0)
        put.push(() => {
          writeFileSync(join(model, name), "");
          chmodSync(join(model, name), 0);
        });
      for (const place of put) {
        writeFiles(model, files);
        rmSync(join(model, name), { force: true });
        place();
        if (!readdirSync(model).includes(name)) continue;
        expectProblem(await timed("generate", model, "--prompt", "a"), join(model, name));
        if (name !== "model.safetensors")
          expectProblem(await timed(...commandOf("train")), join(model, name));
      }
      writeFiles(model, files);
    },
  );

  it("of inputs and outputs that cannot be read or written", async () => {
    for (const name of ["none", "folder", "loop", "text.txt"])
      expectProblem(await logits(name, "out"), path(name));
    // A rename would put a file in the place of a pipe, and in that of /dev/null.
    if (process.platform !== "win32") {
      execFileSync("mkfifo", [path("out-pipe")]);
      expectProblem(await logits("ids", "out-pipe"), /not a regular file/, path("out-pipe"));
      expect(statSync(path("out-pipe")).isFIFO()).toBe(true);
    }
    // Where nothing can be made, not even a folder that seems to be missing only.
    if (process.platform === "linux") {
      expectProblem(
        await timed("logits", model, "--input", path("ids"), "--out", "/proc/none/out"),
      );
      expectProblem(await timed("train", "--data", path("text.txt"), "--out", "/proc/none"));
    }
    for (const name of ["folder", "text.txt/out", "loop/out"]) {
      expectProblem(await logits("ids", name), path(name.split("/")[0]!));
      expectProblem(
        await timed(
          "train",
          "--data",
          path("text.txt"),
          "--out",
          path(name === "folder" ? "ids" : name),
        ),
        path(name === "folder" ? "ids" : name.split("/")[0]!),
      );
    }
    expect(readdirSync(path("folder"))).toEqual([]);
    expect(readdirSync(home).filter((name) => name.includes("partial"))).toEqual([]);
  });

  it("of data that is not there, not text or too short", async () => {
    const train = (...data: string[]): Promise<Finished> => {
      rmSync(path("run"), { recursive: true, force: true });
      return timed("train", "--data", ...data, "--out", path("run"));
    };
    writeFileSync(path("empty.txt"), "");
    writeFileSync(path("short.txt"), "ab");
    writeFileSync(
      path("bytes.bin"),
      Uint8Array.from({ length: 4000 }, (_, i) => (i * 97) % 256),
    );
    expectProblem(await train(path("none.txt")), /no file matches/, path("none.txt"));
    expectProblem(await train(path("*.none")), /no file matches/);
    expectProblem(await train(path("folder")), /no file matches|folder/);
    expectProblem(await train(path("empty.txt")), /the document is empty/);
    expectProblem(await train(path("short.txt")), /tokens/);
    expectProblem(await train(path("loop")), path("loop"));
    if (process.platform !== "win32") {
      execFileSync("mkfifo", [path("pipe")]);
      expectProblem(await train(path("pipe")), path("pipe"));
    }
    expectProblem(await train(path("text.txt"), path("none.txt")), path("none.txt"));
    const binary = await train(path("bytes.bin"));
    if (binary.status !== 0) expectProblem(binary, "bytes.bin");
  });
});
