// `--profile` and `--threads`: a trace and a table beside what the command does anyway; a bad place for the trace costs nothing.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { probeWasm } from "@millrace/kernels-cpu";

import { runCli } from "./program.ts";
import { type Finished, modelFiles, run, writeFiles } from "../test/small-model.ts";

let directory = "";
let model = "";
let text = "";
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "millrace-profile-"));
  model = writeFiles(join(directory, "model"), await modelFiles());
  text = join(writeFiles(join(directory, "text"), new Map([["a.txt", letters()]])), "a.txt");
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const letters = (): Uint8Array =>
  Uint8Array.from({ length: 4000 }, (_, i) => (i % 7 === 0 ? 10 : 97 + ((i * i) % 26)));

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly ts: number;
  readonly dur: number;
  readonly tid: number;
  readonly args: Readonly<Record<string, unknown>>;
}

/** The complete events of a trace, by row. */
function spansOf(path: string): ReadonlyMap<string, readonly TraceEvent[]> {
  const { traceEvents } = JSON.parse(readFileSync(path, "utf8")) as {
    traceEvents: readonly TraceEvent[];
  };
  const rows = traceEvents.filter(({ ph }) => ph === "M");
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  return new Map(
    rows.map(({ tid, args }) => [String(args["name"]), spans.filter((span) => span.tid === tid)]),
  );
}

const generate = (...args: readonly string[]): Promise<Finished> =>
  run("generate", model, "--prompt-ids", "1,2,3", "--max-tokens", "4", ...args);

describe("--profile", () => {
  it("of a generation: every step of every run, a table, and the same tokens", async () => {
    const path = join(directory, "new", "generate.json");
    const plain = await generate("--threads", "1");
    const { status, stdout, stderr } = await generate("--threads", "1", "--profile", path);
    expect([status, stdout]).toEqual([0, plain.stdout]);
    const rows = spansOf(path);
    expect([...rows.keys()]).toEqual(["runs", "thread 0"]);
    const runs = rows.get("runs")!;
    expect(runs.length).toBeGreaterThanOrEqual(4);
    const steps = rows.get("thread 0")!;
    for (const { ts, dur } of steps) {
      expect(dur).toBeGreaterThanOrEqual(0);
      // Times are rounded to nanoseconds.
      const inside = runs.some(
        (each) => ts >= each.ts - 0.01 && ts + dur <= each.ts + each.dur + 0.01,
      );
      expect(inside).toBe(true);
    }
    expect(stderr).toMatch(/^kernel +calls +ms +share +GFLOP\/s/m);
    expect(stderr).toMatch(/^\d+\.\d % of the time in products$/m);
    expect(stderr).toContain(`wrote ${path}: open it in https://ui.perfetto.dev`);
  });

  it("of a training: three steps, by thread", async () => {
    const path = join(directory, "train.json");
    const out = join(directory, "run");
    const size = ["--batch-size", "1", "--sequence-length", "8", "--steps", "6"];
    const args = ["--data", text, "--out", out, ...size, "--threads", "2", "--profile", path];
    const { status, stderr } = await run("train", ...args);
    expect(stderr).toContain("3 runs on 2 threads");
    expect(status).toBe(0);
    const rows = spansOf(path);
    expect([...rows.keys()]).toEqual(["runs", "thread 0", "thread 1"]);
    const runs = rows.get("runs")!;
    expect(runs.map(({ name }) => name)).toEqual(["train_step", "train_step", "train_step"]);
    // Whoever runs a step, each one has an event.
    const steps = [...rows].flatMap(([row, spans]) => (row === "runs" ? [] : spans));
    const numbers = new Set(steps.map(({ args: { step } }) => Number(step)));
    expect(numbers.size).toBe(Math.max(...numbers) + 1);
    expect(steps.length).toBeGreaterThanOrEqual(3 * numbers.size);
    expect(readdirSync(out)).toContain("model.safetensors");
  });

  it("into a place that cannot be: said at once, and nothing is left or lost", async () => {
    const folder = join(directory, "folder");
    mkdirSync(folder);
    for (const path of [folder, join(model, "config.json", "trace.json")]) {
      const { status, stdout, stderr } = await generate("--profile", path);
      expect(status).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toMatch(/^millrace: .+\. [A-Z].+\.\n$/);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  it("that cannot be written in the end: the result is there, the file is not", async () => {
    const folder = join(directory, "gone");
    const path = join(folder, "trace.json");
    let [stdout, stderr] = ["", ""];
    const args = ["generate", model, "--prompt-ids", "1,2,3", "--max-tokens", "4"];
    const status = await runCli([...args, "--profile", path], {
      stdout: {
        write: (part) => {
          stdout += part;
          // The file has been tried; now something else takes its place.
          mkdirSync(path, { recursive: true });
        },
      },
      stderr: { write: (part) => (stderr += part) },
    });
    expect(status).toBe(1);
    expect(stdout).toBe((await generate()).stdout);
    expect(stderr).toMatch(
      /% of the time in products\nmillrace: .+ at .+trace\.json\. [A-Z].+\.\n$/,
    );
    expect(readdirSync(folder)).toEqual(["trace.json"]);
  });

  it("of the interpreter is bad usage", async () => {
    const path = join(directory, "none.json");
    const { status, stderr } = await generate("--device", "interpreter", "--profile", path);
    expect(status).toBe(2);
    expect(stderr).toMatch(/measures --device wasm and gpu, not the interpreter\.\nSee "millrace/);
    expect(existsSync(path)).toBe(false);
    expect((await generate("--profile", "")).status).toBe(2);
  });
});

describe("--threads", () => {
  it("changes no result", async () => {
    const one = await generate("--threads", "1", "--json");
    const three = await generate("--threads", "3", "--json");
    const tokens = ({ stdout }: { stdout: string }): unknown =>
      (JSON.parse(stdout) as { tokens: unknown }).tokens;
    expect(tokens(three)).toEqual(tokens(one));
  });

  it.each(["gpu", "interpreter"])("with --device %s is bad usage", async (device) => {
    const { status, stderr } = await generate("--device", device, "--threads", "2");
    expect(status).toBe(2);
    expect(stderr).toContain(`'--threads <n>' is for --device wasm, not for ${device}.`);
  });

  it.each(["0", "257", "1.5", "two"])("%s is bad usage", async (threads) => {
    expect((await generate("--threads", threads)).status).toBe(2);
  });

  it("stands in what doctor says", async () => {
    const { stdout } = await run("doctor");
    expect(stdout).toMatch(/WebAssembly threads +programs take \d+ unless told by --threads/);
  });
});

describe("--relaxed-simd", () => {
  it.each(["on", "off"])("%s computes the same tokens", async (choice) => {
    const { status, stdout } = await generate("--relaxed-simd", choice, "--json");
    expect(status).toBe(0);
    const { tokens } = JSON.parse(stdout) as { tokens: unknown };
    const other = await generate("--device", "interpreter", "--json");
    expect(tokens).toEqual((JSON.parse(other.stdout) as { tokens: unknown }).tokens);
  });

  it("off takes no fused multiply-add", async () => {
    const products = async (choice: string): Promise<string> => {
      const args = ["compile", "--preset", "tiny", "--graph", "decode", "--print", "emitted"];
      return (await run(...args, "--relaxed-simd", choice)).stdout;
    };
    expect(await products("off")).toContain("products not fused");
    expect(await products("off")).not.toContain("relaxed_madd");
    expect(await products("on")).toContain("relaxed_madd");
  });

  it.each(["gpu", "interpreter"])("with --device %s is bad usage", async (device) => {
    const { status, stderr } = await generate("--device", device, "--relaxed-simd", "off");
    expect(status).toBe(2);
    expect(stderr).toContain("'--relaxed-simd <choice>' is for --device wasm");
  });
});

describe("--revectorize", () => {
  const products = async (...choice: string[]): Promise<string> => {
    const args = ["compile", "--preset", "tiny", "--graph", "decode", "--print", "emitted"];
    return (await run(...args, ...choice)).stdout;
  };

  it("off takes narrow tiles", async () => {
    expect(await products("--revectorize", "off")).not.toContain("tiles of 6 × 16");
  });

  it.skipIf(!probeWasm().revectorize)("is on where the engine has it", async () => {
    expect(await products()).toContain("tiles of 6 × 16");
    expect(await products("--revectorize", "on")).toBe(await products());
  });

  it.skipIf(probeWasm().revectorize)("says what is missing", async () => {
    const { status, stderr } = await generate("--revectorize", "on");
    expect(status).toBe(1);
    expect(stderr).toContain("does not make 256-bit registers");
  });

  it("with --device gpu is bad usage", async () => {
    const { status, stderr } = await generate("--device", "gpu", "--revectorize", "off");
    expect(status).toBe(2);
    expect(stderr).toContain("'--revectorize <choice>' is for --device wasm");
  });
});
