// `millrace train` as a process: killed at random moments, asked to stop, with a full disk, with a damaged checkpoint. Whatever
// happens, the run that is resumed until it is done leaves the bits of one that nothing happened to.
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { configToJson } from "@millrace/model-v3";
import { openSafetensorsFile } from "@millrace/model-v3/node";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { lastLine, problemOf, run, smallConfig } from "../test/small-model.ts";

let home = "";
const path = (name: string): string => join(home, name);
const steps = 40;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), "millrace-interrupted-"));
  writeFileSync(path("config.json"), JSON.stringify(configToJson(smallConfig)));
  const lines = Array.from({ length: 300 }, (_, i) => `line ${i % 19} of the text\n`);
  writeFileSync(path("text.txt"), lines.join(""));
  await run(...argsOf("whole"));
}, 120_000);
afterAll(() => rmSync(home, { recursive: true }));

/** The run that every test repeats; a checkpoint every ten steps. */
function argsOf(out: string, ...more: readonly string[]): readonly string[] {
  const sizes = ["--steps", String(steps), "--batch-size", "1", "--sequence-length", "8"];
  const files = ["--config", path("config.json"), "--data", path("text.txt"), "--out", path(out)];
  return ["train", "--seed", "3"].concat(sizes, files, more);
}

/** The command as its users start it, and what it said. */
function start(args: readonly string[]): {
  readonly said: () => string;
  /** Resolves when `moment` has come, or the process is over. */
  readonly until: (moment: () => boolean) => Promise<void>;
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly done: Promise<number | NodeJS.Signals>;
} {
  const bin = fileURLToPath(new URL("../bin/millrace.js", import.meta.url));
  const flags = ["--conditions=millrace-source"];
  const child = spawn(process.execPath, [...flags, bin, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => (said += text));
  const done = new Promise<number | NodeJS.Signals>((resolve) => {
    child.on("close", (code, signal) => resolve(code ?? signal!));
  });
  const isOver = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const until = async (moment: () => boolean): Promise<void> => {
    while (!isOver() && !moment()) await sleep(1);
  };
  return { said: () => said, until, kill: (signal) => void child.kill(signal), done };
}

const bytes = (...names: string[]): Buffer => readFileSync(path(join(...names)));

/** Steps that a running process has written down. */
function stepsOf(out: string): number {
  try {
    return bytes(out, "metrics.jsonl").toString().split("\n").length - 1;
  } catch {
    return 0;
  }
}

/** Everything a step measures but the time it took. */
function metrics(out: string): unknown[] {
  const lines = bytes(out, "metrics.jsonl").toString().trimEnd().split("\n");
  return lines.map((line) => Object.assign(JSON.parse(line) as object, { tokensPerSecond: 0 }));
}

function expectSameAsWhole(out: string): void {
  for (const name of ["model.safetensors", "config.json"])
    expect(bytes(out, name).equals(bytes("whole", name)), name).toBe(true);
  const last = ["training", `step-${steps}`, "training_state.safetensors"];
  expect(bytes(out, ...last).equals(bytes("whole", ...last))).toBe(true);
  expect(metrics(out)).toEqual(metrics("whole"));
  expect(metrics(out).length).toBe(steps);
  const left = readdirSync(path(out), { recursive: true }).map(String);
  expect(left.filter((name) => /tmp|partial/.test(name))).toEqual([]);
}

/** True while a checkpoint is being written. */
function isSaving(out: string): boolean {
  try {
    return readdirSync(path(join(out, "training"))).some((name) => name.startsWith(".tmp-"));
  } catch {
    return false;
  }
}

describe("train, killed", () => {
  it("at random moments and resumed until it is done, gives the same bits", async () => {
    let finished = false;
    for (let kills = 0; !finished; kills++) {
      expect(kills).toBeLessThan(40);
      const child = start(argsOf("killed", "--resume"));
      // Every other time in the middle of a checkpoint, else some time after the first step that was seen.
      const begun = stepsOf("killed");
      await child.until(() => (kills % 2 === 1 ? isSaving("killed") : stepsOf("killed") !== begun));
      await Promise.race([child.done, sleep(Math.random() * (20 + 40 * kills))]);
      child.kill("SIGKILL");
      const status = await child.done;
      finished = status === 0;
      if (!finished) expect(status, child.said()).toBe("SIGKILL");
      // What others see of the run is whole at any time.
      if (readdirSync(path("killed")).includes("model.safetensors"))
        await (await openSafetensorsFile(path("killed/model.safetensors"))).close();
      if (kills > 0 || !finished) continue;
      // Done before this process was given time to kill it: that shows nothing.
      rmSync(path("killed"), { recursive: true });
      finished = false;
    }
    expectSameAsWhole("killed");
  }, 120_000);

  it.each(["SIGINT", "SIGTERM"] as const)(
    "asked to stop by %s, saves and goes on to the same bits",
    async (signal) => {
      let child = start(argsOf(signal));
      for (let attempt = 0; attempt < 5; attempt++) {
        await child.until(() => stepsOf(signal) >= 3);
        child.kill(signal);
        // The same key press, as a terminal and a parent process would both hand it on.
        child.kill(signal);
        if ((await child.done) !== 0) break;
        // Done before this process was given time to stop it.
        rmSync(path(signal), { recursive: true });
        child = start(argsOf(signal));
      }
      expect(await child.done, child.said()).toBe(1);
      const step = Number(
        /Stopped after step (\d+); a checkpoint was saved/.exec(child.said())?.[1],
      );
      expect(step).toBeLessThan(steps);
      expect(readdirSync(path(join(signal, "training")))).toContain(`step-${step}`);
      const { status, stderr } = await run(...argsOf(signal, "--resume"));
      expect(stderr).toContain(`Resuming from step ${step}.`);
      expect(status).toBe(0);
      expectSameAsWhole(signal);
    },
  );
});

type Failing = Record<"write" | "writeFile", (...args: unknown[]) => Promise<unknown>>;

/** A disk that is full after `room` more bytes, for everything that is written in `body`. */
async function withRoom<T>(room: number, body: () => Promise<T>): Promise<T> {
  const handle = await open(path("config.json"));
  const files = Object.getPrototypeOf(handle) as Failing;
  await handle.close();
  let left = room;
  const take = (size: number): void => {
    left -= size;
    if (left < 0) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  };
  const { write, writeFile: writeAll } = files;
  const spies = [
    vi.spyOn(files, "write").mockImplementation(async function (this: unknown, ...args) {
      take(args[2] as number);
      return write.apply(this, args);
    }),
    vi.spyOn(files, "writeFile").mockImplementation(async function (this: unknown, ...args) {
      take((args[0] as string | Uint8Array).length);
      return writeAll.apply(this, args);
    }),
  ];
  try {
    return await body();
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

describe("train, on a disk that becomes full", () => {
  it("keeps the checkpoint before, says so, and goes on when there is room", async () => {
    const size = readdirSync(path("whole/training/step-40"))
      .map((name) => bytes("whole/training/step-40", name).length)
      .reduce((sum, length) => sum + length, 0);
    for (const share of [0.1, 0.99, 1.2, 2.9]) {
      rmSync(path("full"), { recursive: true, force: true });
      const full = await withRoom(size * share, () => run(...argsOf("full")));
      expect(problemOf(full), full.stderr).toBeUndefined();
      expect(lastLine(full)).toMatch(/disk is full|ENOSPC/);
      expect(lastLine(full)).toMatch(/Free some/);
      const training = readdirSync(path("full/training"));
      for (const names of [training, readdirSync(path("full"))])
        expect(names.filter((name) => name.startsWith("."))).toEqual([]);
      const whole = training.filter((name) => name.startsWith("step-"));
      expect(whole.length > 0).toBe(share > 1);
      const resumed = await run(...argsOf("full", "--resume"));
      if (share > 1) expect(resumed.stderr).toMatch(/Resuming from step \d0/);
      expect(resumed.status, resumed.stderr).toBe(0);
      expectSameAsWhole("full");
    }
  });
});

describe("train, resumed", () => {
  const runHalf = async (out: string): Promise<void> => {
    rmSync(path(out), { recursive: true, force: true });
    const finished = await run(...argsOf(out));
    expect(finished.status, finished.stderr).toBe(0);
  };

  it("from a damaged checkpoint takes the one before, and says which file", async () => {
    await runHalf("damaged");
    for (const name of readdirSync(path("damaged/training/step-40"))) {
      const file = path(join("damaged/training/step-40", name));
      const good = readFileSync(file);
      good[good.length >> 1]! ^= 1;
      writeFileSync(file, good);
      const { status, stderr } = await run(...argsOf("damaged", "--resume"));
      expect(stderr.match(/Trying the checkpoint before it/g)?.length, stderr).toBe(1);
      expect(stderr).toContain(file);
      expect(stderr).toContain("Resuming from step 30.");
      expect(status).toBe(0);
      expectSameAsWhole("damaged");
    }
    for (const step of ["step-30", "step-40"])
      rmSync(path(join("damaged/training", step, "config.json")));
    const none = await run(...argsOf("damaged", "--resume"));
    expect(problemOf(none), none.stderr).toBeUndefined();
    expect(lastLine(none)).toMatch(/none of the 2 training checkpoints is whole.*config\.json/);
  });

  it("with other options is refused with the differences", async () => {
    await runHalf("other");
    writeFileSync(path("other.txt"), "another text\n".repeat(300));
    const other = { ...configToJson(smallConfig), hidden_size: 16, q_lora_rank: null };
    writeFileSync(path("other.json"), JSON.stringify(other));
    const before = metrics("other");
    for (const [option, value, message] of [
      ["--seed", "4", /seed was 3, is 4/],
      ["--batch-size", "2", /batchSize was 1, is 2/],
      ["--sequence-length", "9", /sequenceLength was 8, is 9/],
      ["--precision", "bf16", /precision was "f32", is "bf16"/],
      ["--learning-rate", "0.5", /schedule\.peak was [\d.]+, is 0\.5/],
      ["--steps", "20", /has done 40 steps, more than the 20 asked for/],
      [
        "--config",
        path("other.json"),
        /model\.hidden_size was 8, is 16; model\.q_lora_rank was 6, is null/,
      ],
    ] as const) {
      const refused = await run(...argsOf("other", "--resume", option, value));
      expect(problemOf(refused), refused.stderr).toBeUndefined();
      expect(lastLine(refused)).toMatch(message);
    }
    const text = await run(...argsOf("other", "--resume", "--data", path("other.txt")));
    expect(lastLine(text)).toMatch(/training data or the tokenizer changed/);
    const again = await run(...argsOf("other"));
    expect(lastLine(again)).toMatch(/already holds a run.*--resume/);
    expect(metrics("other")).toEqual(before);
  });

  it("without naming what it was begun with, goes on the same way", async () => {
    const child = start(argsOf("plain"));
    await child.until(() => stepsOf("plain") >= 12);
    child.kill("SIGKILL");
    await child.done;
    const files = ["--out", path("plain"), "--data", path("text.txt")];
    const { status, stderr } = await run("train", "--resume", ...files);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/Resuming from step \d0\./);
    expectSameAsWhole("plain");
  });
});
