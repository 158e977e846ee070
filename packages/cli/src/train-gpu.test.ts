// Training and decoding on a GPU, a software one in continuous integration: the losses of 20 steps are those of the WebAssembly backend,
// and speculation changes no greedy token of what was trained. The quickstart does the same with its own model:
// npm run quickstart -- --device gpu --steps 20.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type * as Kernels from "@millrace/kernels-wgsl";
import { listAdapters, type WgslBackend } from "@millrace/kernels-wgsl";
import { configToJson } from "@millrace/model-v3";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { problemOf, run, smallConfig } from "../test/small-model.ts";
import { runCli } from "./program.ts";

/** Every backend that a command has opened. */
const opened = vi.hoisted((): WgslBackend[] => []);
vi.mock("@millrace/kernels-wgsl", async (original) => {
  const real = await original<typeof Kernels>();
  return {
    ...real,
    createWgslBackend: async (...options: Parameters<typeof real.createWgslBackend>) => {
      const backend = await real.createWgslBackend(...options);
      opened.push(backend);
      return backend;
    },
  };
});

const adapters = await listAdapters().catch(() => []);
if (adapters.length === 0)
  console.warn("There is no GPU adapter here, so training on one is skipped.");
const patience = { timeout: 600_000 };

let home = "";
const path = (name: string): string => join(home, name);
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), "millrace-gpu-"));
  const one = { numHiddenLayers: 1, firstKDenseReplace: 0 };
  const config = { ...smallConfig, ...one, hiddenSize: 32, maxPositionEmbeddings: 64 };
  writeFileSync(path("config.json"), JSON.stringify(configToJson(config)));
  const lines = Array.from({ length: 60 }, (_, i) => `line ${i % 19} of the text\n`);
  writeFileSync(path("text.txt"), lines.join(""));
});
afterAll(() => rmSync(home, { recursive: true }));

type Step = Readonly<Record<"loss" | "mtpLoss" | "balanceLoss" | "gradNorm", number>>;

function argumentsOf(device: string, out: string): readonly string[] {
  const files = ["--config", path("config.json"), "--data", path("text.txt")];
  const sizes = ["--steps", "20", "--batch-size", "2", "--sequence-length", "24"];
  const options = ["--learning-rate", "0.01", "--seed", "3", "--device", device];
  return ["train", ...files, ...sizes, ...options, "--out", path(out)];
}

function stepsOf(out: string): readonly Step[] {
  const lines = readFileSync(join(path(out), "metrics.jsonl"), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => JSON.parse(line) as Step);
}

async function train(device: string): Promise<readonly Step[]> {
  const { status, stderr } = await run(...argumentsOf(device, device));
  expect(status, stderr).toBe(0);
  return stepsOf(device);
}

function expectSame(actual: readonly Step[], expected: readonly Step[], tolerance: number): void {
  expect(expected.length).toBe(20);
  expect(actual.length).toBe(20);
  for (const [i, step] of expected.entries())
    for (const name of ["loss", "mtpLoss", "balanceLoss", "gradNorm"] as const)
      expect(Math.abs(actual[i]![name] / step[name] - 1), `${name} of step ${i + 1}`).toBeLessThan(
        tolerance,
      );
}

async function greedy(...options: readonly string[]): Promise<Record<string, unknown>> {
  const what = ["--prompt", "line 1", "--max-tokens", "24", "--temperature", "0", "--json"];
  const { status, stdout, stderr } = await run("generate", path("gpu"), ...what, ...options);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe.skipIf(adapters.length === 0)("on a GPU", () => {
  it("20 steps have the losses of WebAssembly", patience, async () => {
    const [expected, actual] = [await train("wasm"), await train("gpu")];
    expect(expected.at(-1)!.loss).toBeLessThan(0.8 * expected[0]!.loss);
    expectSame(actual, expected, 1e-3);
  });

  it("greedy tokens are the same with and without speculation", patience, async () => {
    const plain = await greedy("--device", "wasm");
    const drafted = await greedy("--device", "gpu", "--speculative", "1");
    const alone = await greedy("--device", "gpu", "--speculative", "off");
    expect((alone["tokens"] as number[]).length).toBeGreaterThan(4);
    expect(drafted["tokens"]).toEqual(alone["tokens"]);
    expect(drafted["tokens"]).toEqual(plain["tokens"]);
    expect(drafted["drafted"]).toBeGreaterThan(0);
  });

  /** Goes on with a run whose device is lost as soon as it tells of `step`. */
  async function trainUntilLost(step: number): Promise<string> {
    let stderr = "";
    const write = (text: string): void => {
      stderr += text;
      if (new RegExp(`step +${step}/20 `).test(text)) opened.at(-1)!.device.destroy();
    };
    const status = await runCli([...argumentsOf("gpu", "lost"), "--resume"], {
      stdout: { write: () => expect.unreachable() },
      stderr: { write },
    });
    expect(problemOf({ status, stdout: "", stderr }), stderr).toBeUndefined();
    return stderr;
  }

  it("a device lost in training leaves the last checkpoint, which goes on", patience, async () => {
    const expected = stepsOf("gpu");
    const checkpoints = (): string[] =>
      readdirSync(join(path("lost"), "training")).filter((name) => name !== "latest");
    expect(await trainUntilLost(13)).toMatch(/the device was lost \(destroyed.* at /);
    expect(checkpoints()).toEqual(["step-10"]);
    // The second time while a checkpoint is written.
    const again = await trainUntilLost(20);
    expect(again).toContain("Resuming from step 10.");
    expect(checkpoints()).toEqual(["step-10"]);
    const { status, stderr } = await run(...argumentsOf("gpu", "lost"), "--resume");
    expect(status, stderr).toBe(0);
    expect(stderr).toContain("Resuming from step 10.");
    expectSame(stepsOf("lost"), expected, 1e-5);
  });
});
