// Command lines that are wrong, and streams that go away: status 2 with a hint for the first, a quiet end for the second.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { configToJson } from "@millrace/model-v3";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { modelFiles, run, smallConfig, writeFiles } from "../test/small-model.ts";

/** A command line that would be right, were its files there. */
const right: Readonly<Record<string, readonly string[]>> = {
  train: ["--data", "none", "--out", "none"],
  generate: ["none", "--prompt", "a"],
  logits: ["none", "--input", "none", "--out", "none"],
  verify: ["none"],
  inspect: ["none"],
  compile: ["none", "--graph", "train", "--print", "graph"],
  doctor: [],
};
const commands = Object.keys(right);

async function expectUsage(args: readonly string[], message?: RegExp): Promise<void> {
  const { status, stdout, stderr } = await run(...args);
  expect(status, `${args.join(" ")}: ${stderr}`).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^millrace: .+\n(\(.+\)\n)?See "millrace .*--help"\.\n$/);
  if (message) expect(stderr).toMatch(message);
}

describe("bad usage", () => {
  it.each(commands)("of %s: unknown options, devices and too many arguments", async (command) => {
    const args = [command, ...right[command]!];
    await expectUsage([...args, "--no-such"], /unknown option '--no-such'/);
    await expectUsage([...args, "-x"], /unknown option '-x'/);
    await expectUsage([...args, "one", "more"], /too many arguments/);
    await expectUsage([...args, "--device"], /'--device <name>' argument missing/);
    await expectUsage([...args, "--device", "no-such"], /choices are .*interpreter/);
    await expectUsage([...args, "--device", "WASM"], /choices are .*interpreter/);
  });

  it.each(commands.filter((command) => right[command]!.length > 0))(
    "of %s: any part that is missing",
    async (command) => {
      const args = right[command]!;
      for (let at = 0; at < args.length; at++)
        // A value that is missing makes a value of the option after it, so that another part is missing.
        await expectUsage([command, ...args.slice(0, at), ...args.slice(at + 1)]);
    },
  );

  it.each([[["-x"]], [["nosuch"]], [["--no-such", "train"]], [["help", "nosuch"]]])(
    "of no command: %j",
    async (args) => {
      const { status, stdout } = await run(...args);
      expect(status).toBe(2);
      expect(stdout).toBe("");
    },
  );

  it("of numbers: whatever is none, or out of its range", async () => {
    const counts = ["--steps", "--batch-size", "--sequence-length"].map((name) => ["train", name]);
    const others = ["--max-tokens", "--top-k", "--speculative"].map((name) => ["generate", name]);
    const options = fc.constantFrom(...counts, ...others) as fc.Arbitrary<[string, string]>;
    const isCount = (text: string): boolean => /^[+-]?\d+$/.test(text) && Number(text) >= 1;
    const values = fc.oneof(
      fc.constantFrom("", " ", "-1", "0", "1.5", "1e3", "0x10", "NaN", "Infinity", "1 2", "１"),
      fc.constantFrom("2147483648", "9007199254740993", "9".repeat(400)),
      fc.string().filter((text) => !isCount(text) && text !== "off"),
    );
    await fc.assert(
      fc.asyncProperty(options, values, async ([command, name], value) => {
        // With the equals sign, a value may begin with a dash.
        await expectUsage([command, ...right[command]!, `${name}=${value}`], /is invalid/);
      }),
    );
  });

  it.each([
    ["train", "--seed=-1"],
    ["train", "--seed=9007199254740992"],
    ["train", "--learning-rate=0"],
    ["train", "--learning-rate=Infinity"],
    ["train", "--precision=fp16"],
    ["train", "--preset=v3-671b"],
    ["generate", "--temperature=-0.1"],
    ["generate", "--temperature=warm"],
    ["generate", "--top-p=1.1"],
    ["generate", "--top-p=0"],
    ["generate", "--min-p=2"],
    ["generate", "--speculative=on"],
    ["generate", "--prompt-ids=1,2147483648"],
    ["generate", "--prompt-ids=1;2"],
    ["generate", "--prompt-ids="],
    ["logits", "--attention=flash"],
    ["compile", "--graph=forward"],
    ["compile", "--print=wat"],
    ["compile", "--preset=none"],
  ])("of %s %s", async (command, option) => {
    await expectUsage([command, ...right[command]!, option]);
  });
});

describe("help", () => {
  it.each(commands)(
    "of %s names each option in at most two lines of 100 characters",
    async (command) => {
      const { status, stdout, stderr } = await run(command, "--help");
      expect(status).toBe(0);
      expect(stderr).toBe("");
      expect(stdout).toMatch(new RegExp(`^Usage: millrace ${command} \\[options\\]`));
      const options = stdout.slice(stdout.indexOf("Options:"), stdout.indexOf("Examples:"));
      for (const line of options.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
      for (const option of options.split(/\n {2}(?=-)/).slice(1)) {
        expect(option.trimEnd().split("\n").length).toBeLessThanOrEqual(2);
        expect(option).toMatch(/^(-h, )?--[a-z-]+( <[a-z.]+>)? {2,}\S/);
      }
      const required = right[command]!.filter(
        (word) => word.startsWith("--") && word !== "--prompt",
      );
      for (const name of required)
        expect(options).toMatch(new RegExp(`${name} <[a-z.]+> +\\(required\\) `));
    },
  );
});

describe("streams", () => {
  let home = "";
  let model = "";
  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), "millrace-streams-"));
    model = writeFiles(join(home, "model"), await modelFiles());
    writeFileSync(join(home, "config.json"), JSON.stringify(configToJson(smallConfig)));
    writeFileSync(join(home, "text.txt"), "a line of text\n".repeat(99));
  });
  afterAll(() => rmSync(home, { recursive: true }));

  /** The command as a process; `out` and `err` are where its streams go. */
  function start(args: readonly string[], out: number | "pipe" = "pipe"): ReturnType<typeof spawn> {
    const bin = fileURLToPath(new URL("../bin/millrace.js", import.meta.url));
    const flags = ["--conditions=millrace-source", bin];
    return spawn(process.execPath, [...flags, ...args], { stdio: ["ignore", out, "pipe"] });
  }
  const finished = (child: ReturnType<typeof spawn>): Promise<number | null> =>
    new Promise((resolve) => {
      child.on("close", resolve);
    });

  it("a reader of stdout that stops early ends the command quietly", async () => {
    for (const args of [
      ["compile", "--preset", "small", "--graph", "train", "--print", "kernels"],
      ["inspect", model],
    ]) {
      const child = start(args);
      let said = "";
      child.stderr!.on("data", (text: Buffer) => (said += text.toString()));
      child.stdout!.once("data", () => child.stdout!.destroy());
      expect(await finished(child)).toBe(0);
      expect(said).not.toMatch(/Error|EPIPE| at /);
    }
  });

  it("progress that nobody reads does not end a training", async () => {
    const files = ["--config", join(home, "config.json"), "--data", join(home, "text.txt")];
    const sizes = ["--steps", "4", "--batch-size", "1", "--sequence-length", "8"];
    const child = start(["train", "--out", join(home, "run"), ...files, ...sizes]);
    child.stderr!.once("data", () => child.stderr!.destroy());
    expect(await finished(child)).toBe(0);
    expect(existsSync(join(home, "run", "model.safetensors"))).toBe(true);
  });

  it.runIf(existsSync("/dev/full"))(
    "a full disk under stdout is one line and status 1",
    async () => {
      const child = start(["inspect", model], openSync("/dev/full", "w"));
      let said = "";
      child.stderr!.on("data", (text: Buffer) => (said += text.toString()));
      expect(await finished(child)).toBe(1);
      expect(said).toBe(
        "millrace: writing the output failed (ENOSPC). Write it to another place.\n",
      );
    },
  );
});
