// `--weights` from the command line: what it changes in the numbers, and in the memory that inspect tells.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { elementCount } from "@millrace/graph";
import { preset, saveParameters, writeSafetensors } from "@millrace/model-v3";
import { nodeDirectory, openSafetensorsFile } from "@millrace/model-v3/node";
import { afterAll, beforeAll, expect, it } from "vitest";

import { runCli } from "./program.ts";

const directory = mkdtempSync(join(tmpdir(), "millrace-weights-"));
const at = (name: string): string => join(directory, name);
afterAll(() => rmSync(directory, { recursive: true }));

async function run(...args: string[]): Promise<string> {
  let stdout = "";
  let stderr = "";
  const status = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  expect(status, stderr).toBe(0);
  return stdout;
}

beforeAll(async () => {
  const config = { ...preset("tiny"), vocabSize: 64, bosTokenId: null, eosTokenId: null };
  let seed = 1;
  const values = (count: number): Float32Array =>
    Float32Array.from({ length: count }, () => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return (seed / 2 ** 31 - 1) / 6;
    });
  const parameters = new Map<string, Float32Array>();
  await saveParameters(
    nodeDirectory(at("model")),
    config,
    ({ name, shape }) => {
      const data = parameters.get(name) ?? values(elementCount(shape));
      parameters.set(name, data);
      return { dtype: "f32", shape, data };
    },
    { dtype: "BF16" },
  );
});

async function logits(...options: string[]): Promise<Float32Array> {
  const file = await nodeDirectory(directory).create("input.safetensors");
  const data = Int32Array.from({ length: 12 }, (_, i) => (i * 7) % 64);
  await writeSafetensors(file, [
    { name: "input_ids", dtype: "i32", shape: [1, 12], data: () => data },
  ]);
  await file.finish();
  await file.commit();
  await run(
    "logits",
    at("model"),
    "--input",
    at("input.safetensors"),
    "--out",
    at("out"),
    ...options,
  );
  const out = await openSafetensorsFile(at("out"));
  const found = (await out.read("logits")).data as Float32Array;
  await out.close();
  return found;
}

it("bf16 weights as they are stored give the bits of f32; fewer bits give other logits", async () => {
  const exact = await logits("--weights", "f32");
  expect(await logits()).toEqual(exact);
  const narrow = await logits("--weights", "int4");
  expect(narrow).not.toEqual(exact);
  expect(narrow.every(Number.isFinite)).toBe(true);
});

it("every format generates", async () => {
  for (const weights of ["f16", "e4m3fn", "int8", "int4"]) {
    const options = ["--max-tokens", "3", "--json", "--weights", weights];
    const text = await run("generate", at("model"), "--prompt-ids", "1,2,3", ...options);
    expect((JSON.parse(text) as { tokens: number[] }).tokens).toHaveLength(3);
  }
});

it("inspect tells the memory that a format takes, which is less for decoding and the same for training", async () => {
  const bytes = async (weights: string): Promise<{ decode: number; train: number }> => {
    const text = await run("inspect", at("model"), "--json", "--weights", weights);
    const { planMemory } = JSON.parse(text) as {
      planMemory: Record<"decode" | "train", { stateBytes: number }>;
    };
    return { decode: planMemory.decode.stateBytes, train: planMemory.train.stateBytes };
  };
  const [f32, bf16, int4] = [await bytes("f32"), await bytes("bf16"), await bytes("int4")];
  expect(bf16.decode).toBeLessThan(f32.decode);
  expect(int4.decode).toBeLessThan(bf16.decode);
  expect(int4.train).toBe(f32.train);
  expect(await run("inspect", at("model"), "--weights", "int4")).toContain("weights in int4");
  expect(readFileSync(join(at("model"), "config.json"), "utf8")).toContain("bfloat16");
});

it("inspect plans for the device that is named: temporaries are those that compile tells of there", async () => {
  for (const device of ["wasm", "interpreter"]) {
    const text = await run("inspect", at("model"), "--json", "--device", device);
    const { planMemory } = JSON.parse(text) as {
      planMemory: Record<string, { arenaBytes: number }>;
    };
    for (const graph of ["train", "prefill", "decode"]) {
      const stages = ["--graph", graph, "--print", "program", "--device", device];
      const program = await run("compile", at("model"), ...stages);
      expect(program).toContain(`arena ${planMemory[graph]!.arenaBytes} bytes`);
    }
  }
});
