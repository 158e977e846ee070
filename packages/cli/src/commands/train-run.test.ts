import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { configToJson, preset } from "@millrace/model-v3";
import { readMetricsFile } from "@millrace/trainer/node";
import { afterEach, beforeEach, expect, it } from "vitest";

import { tokenizerJson } from "../../test/small-model.ts";
import { runCli } from "../program.ts";

let directory = "";
let out = "";
let stderr = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "millrace-train-"));
  out = join(directory, "run");
  const text = Array.from({ length: 500 }, (_, i) => `line ${i % 31} of ${i}\n`).join("");
  await writeFile(join(directory, "text.txt"), text);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const train = async (...more: string[]): Promise<number> => {
  stderr = "";
  let stdout = "";
  const status = await runCli(
    ["train", "--data", join(directory, "*.txt"), "--out", out, ...more],
    {
      stdout: { write: (text) => (stdout += text) },
      stderr: { write: (text) => (stderr += text) },
    },
  );
  expect(stdout).toBe("");
  return status;
};
const small = ["--batch-size", "2", "--sequence-length", "16"];
const steps = (): number[] => readMetricsFile(join(out, "metrics.jsonl")).map(({ step }) => step);

it("trains, shows progress, and leaves model, metrics and report", async () => {
  expect(await train("--preset", "tiny", "--steps", "3", "--seed", "4", ...small)).toBe(0);
  expect(stderr).toMatch(/step 3\/3 +loss \d.*mtp \d.*tok\/s.*MaxVio \d.*left/);
  expect(stderr).toMatch(/held-out: loss .* bits per byte \(gzip -9: /);
  const names = await readdir(out);
  for (const name of ["config.json", "model.safetensors", "metrics.jsonl", "report.html"])
    expect(names).toContain(name);
  expect(steps()).toEqual([1, 2, 3]);
});

it("refuses a directory with a run, and resumes it with the options it was begun with", async () => {
  expect(await train("--steps", "2", "--precision", "bf16", "--seed", "9", ...small)).toBe(0);
  expect(await train("--steps", "2")).toBe(1);
  expect(stderr).toMatch(/already holds a run.*--resume/);
  expect(await train("--resume", "--steps", "4")).toBe(0);
  expect(stderr).toContain("Resuming from step 2");
  expect(steps()).toEqual([1, 2, 3, 4]);
  expect(await train("--resume", "--precision", "f32")).toBe(1);
  expect(stderr).toMatch(/precision was "bf16", is "f32"/);
  expect(await train("--resume")).toBe(0);
  expect(steps()).toEqual([1, 2, 3, 4]);
});

it("takes a configuration of one's own", async () => {
  const config = join(directory, "config.json");
  const own = { ...preset("tiny"), hiddenSize: 32, numNextnPredictLayers: 0 };
  await writeFile(config, JSON.stringify(configToJson(own)));
  expect(await train("--config", config, "--steps", "1", ...small)).toBe(0);
  const written = JSON.parse(await readFile(join(out, "config.json"), "utf8")) as object;
  expect(written).toMatchObject({ hidden_size: 32, num_nextn_predict_layers: 0 });
  expect(await train("--config", config, "--tokenizer", join(directory, "none"))).toBe(1);
  expect(stderr).toMatch(/there is no tokenizer\.json/);
});

it("takes a tokenizer by its folder or its file, and no other file beside it", async () => {
  const folder = join(directory, "tokenizer");
  await mkdir(folder);
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(tokenizerJson()));
  await writeFile(join(folder, "other.json"), "{}");
  await writeFile(join(directory, "text.txt"), "abcde".repeat(200));
  for (const named of [folder, join(folder, "tokenizer.json")]) {
    const options = ["--tokenizer", named, "--steps", "1", ...small];
    expect(await train(...options, "--resume"), stderr).toBe(0);
    expect(stderr).toContain("nothing to resume");
    expect(await readdir(out)).toContain("tokenizer.json");
    await rm(out, { recursive: true });
  }
  expect(await train("--tokenizer", join(folder, "other.json"))).toBe(1);
  expect(stderr).toMatch(/other\.json/);
});

it("keeps a step within a memory limit, or says how much it takes", async () => {
  const sizes = ["--preset", "tiny", "--steps", "2", "--batch-size", "8"];
  expect(await train(...sizes, "--memory-limit", "9MB")).toBe(0);
  expect(stderr).toMatch(/recomputes \d layers to stay within 9000000 bytes/);
  await rm(out, { recursive: true });
  expect(await train(...sizes, "--memory-limit", "1MiB")).toBe(1);
  expect(stderr).toMatch(/takes \d+ bytes with every layer recomputed, 1048576 are allowed/);
  expect(await train(...sizes, "--memory-limit", "much")).toBe(2);
});
