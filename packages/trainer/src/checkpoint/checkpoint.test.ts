import { spawn } from "node:child_process";
import { appendFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { findTrainingCheckpoint } from "./load.ts";
import { checkResumable, formatManifest, parseManifest, type TrainingState } from "./manifest.ts";
import { saveTrainingCheckpoint } from "./save.ts";

const state = (step: number): TrainingState => ({
  step,
  seed: 7,
  dataFingerprint: "f",
  options: { precision: "f32", model: { a: 1, b: [2, 3] } },
});

const save = (directory: string, step: number): Promise<string> =>
  saveTrainingCheckpoint(directory, {
    state: state(step),
    async writeModel(into) {
      await writeFile(join(into, "config.json"), "{}");
      await writeFile(join(into, "model.safetensors"), `weights ${step}`);
    },
    async writeTraining(into) {
      await writeFile(join(into, "training_state.safetensors"), `moments ${step}`);
    },
  });

let directory = "";
const warnings: string[] = [];
const find = (): ReturnType<typeof findTrainingCheckpoint> =>
  findTrainingCheckpoint(directory, (message) => warnings.push(message));

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "millrace-checkpoint-"));
  warnings.length = 0;
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe("training checkpoints", () => {
  it("are found as saved, with the model's files in the directory itself", async () => {
    await save(directory, 10);
    const found = await find();
    expect(found?.state).toEqual(state(10));
    expect(found?.files).toEqual([
      "config.json",
      "model.safetensors",
      "training_state.safetensors",
    ]);
    expect((await readdir(directory)).sort()).toEqual([
      "config.json",
      "model.safetensors",
      "training",
    ]);
    expect(warnings).toEqual([]);
  });

  it("are kept two at a time, and the model on top is the newest", async () => {
    for (const step of [10, 20, 30]) await save(directory, step);
    expect((await readdir(join(directory, "training"))).sort()).toEqual([
      "latest",
      "step-20",
      "step-30",
    ]);
    expect(await readFile(join(directory, "model.safetensors"), "utf8")).toBe("weights 30");
    expect(
      await readFile(join(directory, "training", "step-20", "model.safetensors"), "utf8"),
    ).toBe("weights 20");
    await save(directory, 30);
    expect((await find())?.state.step).toBe(30);
  });

  it("leave no leftovers of a killed process, and drop later steps of an abandoned run", async () => {
    await save(directory, 90);
    await mkdir(join(directory, "training", ".tmp-1-step-95"));
    await writeFile(join(directory, ".tmp-1-model.safetensors"), "half");
    await save(directory, 10);
    expect((await readdir(join(directory, "training"))).sort()).toEqual(["latest", "step-10"]);
    expect(await readdir(directory)).not.toContain(".tmp-1-model.safetensors");
  });

  it("are none when a run was killed before its first", async () => {
    expect(await find()).toBeUndefined();
    await mkdir(join(directory, "training", ".tmp-1-step-5"), { recursive: true });
    expect(await find()).toBeUndefined();
  });

  it.each([
    ["one changed byte", "training_state.safetensors", (f: string) => flip(f), /SHA-256 differs/],
    ["a cut file", "model.safetensors", (f: string) => writeFileSync(f, "wei"), /has 3 bytes/],
    ["a longer file", "config.json", (f: string) => appendFileSync(f, " "), /has 3 bytes/],
    ["a torn manifest", "manifest.json", (f: string) => writeFileSync(f, "{"), /is not JSON/],
  ])("fall back past %s, naming the file", async (_, file, damage, message) => {
    await save(directory, 10);
    await save(directory, 20);
    const path = join(directory, "training", "step-20", file);
    // A published model is the same file under two names; damage this name only.
    const content = readFileSync(path);
    await rm(path);
    writeFileSync(path, content);
    damage(path);
    expect((await find())?.state.step).toBe(10);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(message);
    expect(warnings[0]).toContain(path);
  });

  it("fall back past a missing file, and are an error when none is whole", async () => {
    await save(directory, 10);
    await save(directory, 20);
    await rm(join(directory, "training", "step-20", "training_state.safetensors"));
    expect((await find())?.state.step).toBe(10);
    await rm(join(directory, "training", "step-10", "manifest.json"));
    await expect(find()).rejects.toThrow(/none of the 2 training checkpoints is whole.*is missing/);
  });

  it("are found without the pointer", async () => {
    await save(directory, 10);
    await save(directory, 20);
    await rm(join(directory, "training", "latest"));
    expect((await find())?.state.step).toBe(20);
    await writeFile(join(directory, "training", "latest"), "step-10\n");
    expect((await find())?.state.step).toBe(10);
  });

  it("stay as they were when writing the next one fails", async () => {
    await save(directory, 10);
    const failing = saveTrainingCheckpoint(directory, {
      state: state(20),
      writeModel: (into) => writeFile(join(into, "no", "such"), ""),
      writeTraining: () => Promise.resolve(),
    });
    await expect(failing).rejects.toThrow(/step 20 cannot be written \(ENOENT\)/);
    // Nothing half-written takes room on a disk that may be full.
    expect((await readdir(join(directory, "training"))).sort()).toEqual(["latest", "step-10"]);
    expect((await find())?.state.step).toBe(10);
  });

  it("are whole after SIGKILL at any moment", async () => {
    const script = join(directory, "writer.ts");
    const source = new URL("./save.ts", import.meta.url).href;
    writeFileSync(
      script,
      `import { saveTrainingCheckpoint } from ${JSON.stringify(source)};
import { writeFileSync } from "node:fs";
const directory = process.argv[2];
for (let step = 1; ; step++) {
  const content = Buffer.alloc(200_000, step);
  await saveTrainingCheckpoint(directory, {
    state: { step, seed: 1, dataFingerprint: "", options: {} },
    writeModel: async (into) => writeFileSync(into + "/model.safetensors", content),
    writeTraining: async (into) => writeFileSync(into + "/moments.safetensors", content),
  });
  process.stdout.write(step + "\\n");
}`,
    );
    for (let round = 0; round < 6; round++) {
      const run = join(directory, `run-${round}`);
      const child = spawn(process.execPath, ["--conditions=millrace-source", script, run]);
      let out = "";
      child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
      const exited = new Promise((resolve) => child.once("exit", resolve));
      while (!out.includes("\n") && child.exitCode === null) await sleep(2);
      await sleep(round * 3.7);
      child.kill("SIGKILL");
      await exited;
      const reported = Number(out.trim().split("\n").at(-1));
      const found = await findTrainingCheckpoint(run, (message) => warnings.push(message));
      expect(found?.state.step).toBeGreaterThanOrEqual(reported);
      const step = (found?.state.step ?? 0) % 256;
      for (const file of ["model.safetensors", "moments.safetensors"]) {
        const content = readFileSync(join(found?.directory ?? "", file));
        expect(content.length).toBe(200_000);
        expect(content.every((byte) => byte === step)).toBe(true);
      }
      // What others read is whole too, of this step or of the one before.
      expect(statSync(join(run, "model.safetensors")).size).toBe(200_000);
    }
    expect(warnings).toEqual([]);
  }, 60_000);
});

describe("manifest", () => {
  it("reads back what it wrote", () => {
    const manifest = {
      state: state(3),
      files: { "config.json": { bytes: 2, sha256: "0".repeat(64) } },
    };
    expect(parseManifest(formatManifest(manifest), "m")).toEqual(manifest);
  });

  it.each([
    [{ format: "other" }, /format is "other"/],
    [{ version: 9 }, /version 9/],
    [{ state: state(4) }, /changed after it was written/],
    [{ files: [] }, /changed after it was written/],
  ])("refuses the change %j", (change, message) => {
    const good = JSON.parse(formatManifest({ state: state(3), files: {} })) as object;
    expect(() => parseManifest(JSON.stringify({ ...good, ...change }), "m")).toThrow(message);
  });

  it.each([
    [{ state: { ...state(3), step: -1 } }, /state\.step/],
    [{ files: { "../x": { bytes: 1, sha256: "0".repeat(64) } } }, /is not a file name/],
    [{ files: { x: { bytes: 1, sha256: "0" } } }, /lacks a size or a SHA-256/],
  ])("refuses what nobody should have written: %j", (part, message) => {
    const text = formatManifest({ state: state(3), files: {}, ...part });
    expect(() => parseManifest(text, "m")).toThrow(message);
  });

  it("names the options that differ on resume, whatever the order of keys", () => {
    const same = { ...state(1), options: { model: { b: [2, 3], a: 1 }, precision: "f32" } };
    expect(() => checkResumable(state(1), same, "run")).not.toThrow();
    expect(() =>
      checkResumable(state(1), { ...same, options: { ...same.options, precision: "fp8" } }, "run"),
    ).toThrow(/precision was "f32", is "fp8"/);
    const other = { ...same, options: { ...same.options, model: { a: 1, b: [2, 4], c: {} } } };
    expect(() => checkResumable(state(1), other, "run")).toThrow(
      /options: model\.b was \[2,3\], is \[2,4\]; model\.c was not set, is \{\} at run/,
    );
    expect(() => checkResumable(state(1), { ...same, seed: 8 }, "run")).toThrow(/seed was 7, is 8/);
    expect(() => checkResumable(state(1), { ...same, dataFingerprint: "g" }, "run")).toThrow(
      /training data or the tokenizer changed/,
    );
  });
});

function flip(file: string): void {
  const content = readFileSync(file);
  content[0] = (content[0] ?? 0) ^ 1;
  writeFileSync(file, content);
}
