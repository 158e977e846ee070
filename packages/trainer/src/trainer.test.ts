import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { createWasmBackend } from "@millrace/kernels-cpu";
import { byteTokenizer, type ModelConfig, preset } from "@millrace/model-v3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { buildTokenDataset, type TokenDataset } from "./data/token-dataset.ts";
import { readMetricsFile } from "./metrics-file.ts";
import { train, type TrainOptions, type TrainResult } from "./trainer.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  hiddenSize: 16,
  intermediateSize: 24,
  moeIntermediateSize: 8,
  nRoutedExperts: 4,
  nGroup: 2,
  topkGroup: 1,
  numExpertsPerTok: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  qLoraRank: 12,
  kvLoraRank: 8,
  qkNopeHeadDim: 4,
  qkRopeHeadDim: 4,
  vHeadDim: 4,
};
const text = Array.from({ length: 400 }, (_, i) => `line ${i % 17} of the text\n`).join("");
const readDataset = (): Promise<TokenDataset> =>
  buildTokenDataset(
    [{ name: "text", read: () => Promise.resolve(new TextEncoder().encode(text)) }],
    { tokenizer: byteTokenizer() },
  );
const settings = {
  steps: 12,
  batchSize: 2,
  sequenceLength: 8,
  learningRate: 0.01,
  seed: 5,
};

let directory = "";
let said = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "millrace-trainer-"));
  said = "";
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const run = async (name: string, options: Partial<TrainOptions> = {}): Promise<TrainResult> =>
  train({
    config,
    backend: createWasmBackend(),
    dataset: await readDataset(),
    settings,
    directory: join(directory, name),
    checkpointEvery: 3,
    evaluateEvery: 4,
    heldOutBatches: 1,
    progress: { write: (line) => (said += line) },
    ...options,
  });

/** The bytes of everything a finished run keeps. */
const contents = async (name: string): Promise<Buffer[]> => {
  const last = join(directory, name, "training", `step-${settings.steps}`);
  const files = (await readdir(last)).filter((file) => file.endsWith(".safetensors"));
  expect(files.length).toBe(2);
  return Promise.all(files.toSorted().map((file) => readFile(join(last, file))));
};
const losses = (name: string): number[] =>
  readMetricsFile(join(directory, name, "metrics.jsonl")).map(({ loss }) => loss);

describe("train", () => {
  it("lowers the loss and leaves model, metrics and report", async () => {
    const result = await run("a", { settings: { ...settings, steps: 40 }, checkpointEvery: 20 });
    expect(result.step).toBe(40);
    expect(result.interrupted).toBe(false);
    expect(result.records.length).toBe(40);
    const [first] = result.records;
    expect(first!.loss).toBeGreaterThan(5);
    expect(result.records.at(-1)!.loss).toBeLessThan(0.8 * first!.loss);
    expect(first!.maxVioPerLayer?.length).toBe(2);
    expect(result.heldOut!.bitsPerByte).toBeGreaterThan(0);
    expect(result.heldOut!.maxVioGlobal).toBeGreaterThanOrEqual(0);
    const names = await readdir(join(directory, "a"));
    for (const name of ["config.json", "model.safetensors", "metrics.jsonl", "report.html"])
      expect(names).toContain(name);
    expect(await readFile(join(directory, "a", "report.html"), "utf8")).toContain("gzip -9");
  });

  it("gives the same bits for the same seed, others for another", async () => {
    await run("a");
    await run("b");
    await run("c", { settings: { ...settings, seed: 6 } });
    expect(await contents("b")).toEqual(await contents("a"));
    expect(losses("b")).toEqual(losses("a"));
    expect((await contents("c"))[0]!.equals((await contents("a"))[0]!)).toBe(false);
  });

  it("refuses a directory that holds a run or a model, with the remedy", async () => {
    await run("a");
    await expect(run("a")).rejects.toThrow(/already holds a run.*--resume, or train into another/);
    await mkdir(join(directory, "model"));
    await writeFile(join(directory, "model", "config.json"), "{}");
    await expect(run("model")).rejects.toThrow(/already holds a model/);
    await expect(run("model", { resume: true })).rejects.toThrow(/no training checkpoint/);
    await writeFile(join(directory, "file"), "");
    await expect(run("file")).rejects.toThrow(/cannot be used \(EEXIST\)/);
  });

  it("stops on request after a checkpoint, and goes on to the same bits", async () => {
    await run("a");
    const controller = new AbortController();
    const progress = {
      write: (line: string): void => {
        said += line;
        if (line.includes("step  5/")) controller.abort();
      },
    };
    const stopped = await run("b", { signal: controller.signal, progress });
    expect(stopped.interrupted).toBe(true);
    expect(stopped.step).toBeGreaterThanOrEqual(5);
    expect(stopped.step).toBeLessThan(12);
    expect(said).toContain("Go on with --resume");
    expect(said).not.toContain("nothing to resume");
    const resumed = await run("b", { resume: true });
    expect(resumed.step).toBe(12);
    expect(await contents("b")).toEqual(await contents("a"));
    expect(losses("b")).toEqual(losses("a"));
  });

  it("refuses to resume with other options or data, and may go on for longer", async () => {
    await run("a");
    const other = (changed: Partial<typeof settings>): Promise<TrainResult> =>
      run("a", { resume: true, settings: { ...settings, ...changed } });
    await expect(other({ seed: 6 })).rejects.toThrow(/seed was 5, is 6/);
    await expect(other({ batchSize: 3 })).rejects.toThrow(/batchSize was 2, is 3/);
    await expect(other({ learningRate: 1 })).rejects.toThrow(/schedule.peak was 0.01, is 1/);
    const longer = await other({ steps: 14 });
    expect(longer.step).toBe(14);
    expect(losses("a").length).toBe(14);
    expect(said).toContain("begun for 12 steps and goes on for 14");
  });

  it("stops at a loss that is no number, naming the step", async () => {
    const wild = { ...settings, learningRate: 1e30 };
    await expect(run("a", { settings: wild })).rejects.toThrow(/in step \d+.*learning rate/);
  });

  it.each([
    [{ steps: 0 }, /steps is 0/],
    [{ learningRate: Number.NaN }, /learning rate is NaN/],
    [{ sequenceLength: 513 }, /513 tokens, but the model has 512/],
    [{ sequenceLength: 1 }, /nothing to predict/],
  ])("refuses the settings %j", async (changed, message) => {
    await expect(run("a", { settings: { ...settings, ...changed } })).rejects.toThrow(message);
  });
});

it("removes what a killed process left behind, also where no step is left to do", async () => {
  await run("a");
  const left = [".tmp-1-model.safetensors", join("training", ".tmp-1-old-step-9")];
  for (const name of left) await mkdir(join(directory, "a", name));
  await run("a", { resume: true });
  const names = await readdir(join(directory, "a"), { recursive: true });
  expect(names.filter((name) => name.includes(".tmp-"))).toEqual([]);
});

describe("a run killed with SIGKILL", () => {
  /** Trains in a process of its own; what it prints arrives in `onText`. */
  const child = (name: string): ReturnType<typeof spawn> => {
    const program = `
import { createWasmBackend } from "@millrace/kernels-cpu";
import { byteTokenizer } from "@millrace/model-v3";
const { modules, config, settings, text, directory } = JSON.parse(process.argv[1]);
const [{ buildTokenDataset }, { train }] = await Promise.all(modules.map((url) => import(url)));
const document = { name: "text", read: async () => new TextEncoder().encode(text) };
await train({
  config, settings, directory, resume: true, checkpointEvery: 3, evaluateEvery: 4, heldOutBatches: 1,
  backend: createWasmBackend(),
  dataset: await buildTokenDataset([document], { tokenizer: byteTokenizer() }),
  progress: process.stdout,
});`;
    const modules = ["index.ts", "node.ts"].map((file) => new URL(file, import.meta.url).href);
    const options = { modules, config, settings, text, directory: join(directory, name) };
    const input = JSON.stringify(options);
    return spawn(
      process.execPath,
      ["--conditions=millrace-source", "--input-type=module", "--eval", program, input],
      { cwd: fileURLToPath(new URL("..", import.meta.url)), stdio: ["ignore", "pipe", "inherit"] },
    );
  };

  it("resumes at any moment to the bits of one never killed", async () => {
    await run("whole");
    // Killed over and over: each time a little later after the process first showed a step.
    for (let attempts = 0, kills = 0; ; attempts++) {
      expect(attempts).toBeLessThan(60);
      const process = child("killed");
      let out = "";
      process.stdout!.on("data", (chunk: Buffer) => (out += chunk.toString()));
      const exited = new Promise<number | null>((resolve) => process.once("exit", resolve));
      while (!out.includes("step ") && process.exitCode === null) await sleep(1);
      await Promise.race([sleep(17 * kills), exited]);
      process.kill("SIGKILL");
      const status = await exited;
      if (status === 0) {
        if (kills > 0) break;
        // It was done before it could be killed, as may happen on a busy machine: once more.
        await rm(join(directory, "killed"), { recursive: true });
        continue;
      }
      // Killed, not failed.
      expect(status).toBe(null);
      kills++;
    }
    expect(await contents("killed")).toEqual(await contents("whole"));
    expect(losses("killed")).toEqual(losses("whole"));
  });
});
