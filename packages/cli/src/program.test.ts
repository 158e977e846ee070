import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { configToJson, preset } from "@millrace/model-v3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { runCli } from "./program.ts";

async function run(...args: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const status = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { status, stdout, stderr };
}

let directory = "";
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "millrace-cli-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const commands = ["train", "generate", "logits", "verify", "inspect", "compile", "doctor"];

describe("help", () => {
  it("lists every command, on stdout, with status 0", async () => {
    const { status, stdout, stderr } = await run("--help");
    expect(status).toBe(0);
    expect(stderr).toBe("");
    for (const command of commands) expect(stdout).toContain(`  ${command} `);
  });

  it.each(commands)("of %s has its device option and examples", async (command) => {
    const { status, stdout } = await run(command, "--help");
    expect(status).toBe(0);
    expect(stdout).toMatch(/--device <name> .*"wasm", "gpu", "interpreter"/);
    expect(stdout).toContain(`$ millrace ${command}`);
  });

  it("prints a version", async () => {
    expect((await run("--version")).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("bad usage", () => {
  it.each([
    [[], /Usage: millrace/],
    [["no-such"], /unknown command 'no-such'/],
    [["train"], /required option '--data <glob...>' not specified/],
    [["train", "--data", "x"], /required option '--out <dir>' not specified/],
    [["train", "--data", "", "--out", "o"], /empty pattern/],
    [["train", "--data", "x", "--out", "o", "--preset", "big"], /Allowed choices are tiny, small/],
    [["train", "--data", "x", "--out", "o", "--preset", "tiny", "--config", "c"], /cannot be used/],
    [["train", "--data", "x", "--out", "o", "--steps", "0"], /whole number from 1/],
    [["train", "--data", "x", "--out", "o", "--steps", "1e3"], /whole number from 1/],
    [["train", "--data", "x", "--out", "o", "--precision", "f16"], /f32, bf16, fp8/],
    [["generate", "m"], /one of '--prompt <text>' and '--prompt-ids <ids>' is needed/],
    [["generate", "m", "--prompt", "a", "--prompt-ids", "1"], /cannot be used/],
    [["generate", "m", "--prompt-ids", "1,x"], /token ids separated by commas/],
    [["generate", "m", "--prompt-ids", "-1"], /token ids separated by commas/],
    [["generate", "m", "--prompt", "a", "--temperature", "-1"], /a number from 0/],
    [["generate", "m", "--prompt", "a", "--top-p", "0"], /above 0 and at most 1/],
    [
      ["generate", "m", "--prompt", "a", "--weights", "q4"],
      /are stored, f32, f16, bf16, e4m3fn, int8/,
    ],
    [["generate", "m", "--prompt", "a", "--speculative", "0"], /"off" or a whole number/],
    [
      ["generate", "m", "--prompt", "a", "--device", "tpu"],
      /Allowed choices are wasm, gpu, interpreter/,
    ],
    [["logits", "m", "--input", "i"], /'--out <file>' not specified/],
    [["logits", "m", "--input", "i", "--out", "o", "--attention", "x"], /naive, absorbed/],
    [["verify"], /missing required argument 'case-dir'/],
    [["inspect", "a", "b"], /too many arguments/],
    [["inspect", "a", "--no-such"], /unknown option/],
    [["compile", "--graph", "train", "--print", "graph"], /either a directory or '--preset/],
    [["compile", "--preset", "none", "--graph", "train", "--print", "graph"], /Allowed choices/],
    [["compile", "--preset", "tiny", "--graph", "train"], /'--print <form>' not specified/],
  ])("%j exits 2 and says why on stderr", async (args, message) => {
    const { status, stdout, stderr } = await run(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
    expect(stdout).toBe("");
  });
});

describe("inspect", () => {
  it("prints the fixed JSON keys for V3", async () => {
    const file = join(directory, "config.json");
    writeFileSync(file, JSON.stringify(configToJson(preset("v3-671b"))));
    const { status, stdout } = await run("inspect", directory, "--json");
    expect(status).toBe(0);
    const costs = JSON.parse(stdout) as {
      parameters: Record<string, number>;
      cacheBytesPerToken: Record<string, number>;
      flopsPerToken: number;
    };
    expect(Math.round((costs.parameters["total"] ?? 0) / 1e9)).toBe(671);
    expect(costs.cacheBytesPerToken["mla"]).toBe(70_272);
    for (const key of ["activated", "totalWithMtp"])
      expect(costs.parameters[key]).toBeGreaterThan(1e9);
    for (const key of ["mha", "gqa", "mqa"])
      expect(costs.cacheBytesPerToken[key]).toBeGreaterThan(0);
    expect(costs.flopsPerToken).toBeGreaterThan(1e9);
    const table = await run("inspect", file);
    expect(table.stdout).toMatch(/total +671,026,419,200 +\(671 B\)/);
    expect(table.stdout).toMatch(/MLA +70,272 bytes/);
  });

  it("says in one line which file is missing, with status 1", async () => {
    const { status, stdout, stderr } = await run("inspect", join(directory, "none"));
    expect(status).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/^millrace: .*none.*\n$/);
  });
});

describe("doctor", () => {
  it("finds what this machine surely has, and gives a remedy for the rest", async () => {
    const { status, stdout } = await run("doctor", "--json");
    expect(status).toBe(0);
    const { ok, findings } = JSON.parse(stdout) as {
      ok: boolean;
      findings: { name: string; available: boolean; remedy: string; purpose: string }[];
    };
    expect(ok).toBe(true);
    const available = findings.filter((finding) => finding.available).map(({ name }) => name);
    // Any Node that tests run on has all four.
    for (const name of ["Node.js", "SIMD", "relaxed SIMD", "threads", "multi-memory"])
      expect(available.some((found) => found.endsWith(name))).toBe(true);
    for (const finding of findings)
      if (!finding.available) expect(finding.remedy && finding.purpose).not.toBe("");
    const [major] = process.versions.node.split(".");
    expect((await run("doctor")).stdout).toMatch(new RegExp(`^ok +Node\\.js +${major}\\.`));
  });

  it("fails where the GPU that is asked for is not there", async () => {
    const { status, stdout } = await run("doctor", "--device", "gpu", "--adapter", "no such");
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /MISSING +GPU adapter +(none is called "no such"\n.*\n +get: Choose one of: .+|.*\n.*\n +get: (Install|Run npm install)[^]*Mesa 25)/,
    );
  });
});

describe("an adapter", () => {
  const shaders = ["compile", "--preset", "tiny", "--graph", "decode", "--print", "kernels"];
  it("that is not there is told from those that are", async () => {
    const gpu = ["--device", "gpu", "--adapter", "no such"];
    const { status, stdout, stderr } = await run(...shaders, ...gpu);
    expect(status).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(
      /millrace: there is no GPU adapter( whose name contains "no such"\. Choose one of: .+\.|\. Install .+\.)\n$/,
    );
  });

  it("is a GPU's", async () => {
    for (const args of [shaders, ["inspect", directory], ["verify", directory]]) {
      const { status, stderr } = await run(...args, "--adapter", "no such");
      expect(status).toBe(2);
      expect(stderr).toMatch(/option '--adapter <name>' is for --device gpu, not for wasm\.\n/);
    }
  });
});
