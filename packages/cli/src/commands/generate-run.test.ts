import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { elementCount, threefry2x32 } from "@millrace/graph";
import { byteTokenizer, type ModelConfig, preset, saveParameters } from "@millrace/model-v3";
import { nodeDirectory } from "@millrace/model-v3/node";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { runCli } from "../program.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  hiddenSize: 16,
  intermediateSize: 16,
  moeIntermediateSize: 8,
  maxPositionEmbeddings: 32,
  eosTokenId: null,
};

let directory = "";
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "millrace-generate-"));
  await saveParameters(nodeDirectory(directory), config, ({ name, shape, init }) => {
    const size = elementCount(shape);
    const data = Float32Array.from({ length: size }, (_, i) =>
      init.kind === "ones" ? 1 : threefry2x32(name.length, 7, size, i)[0] / 2 ** 31 - 1,
    );
    return { dtype: "f32", shape, data };
  });
});
afterAll(() => rmSync(directory, { recursive: true }));

async function generate(
  ...args: string[]
): Promise<{ status: number; stdout: string; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const status = await runCli(["generate", directory, ...args], {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { status, stdout, stderr };
}

interface Json {
  readonly tokens: number[];
  readonly text: string;
  readonly drafted: number;
  readonly accepted: number;
  readonly prefillTokensPerSecond: number;
  readonly decodeTokensPerSecond: number;
}

async function generateJson(...args: string[]): Promise<Json> {
  const { status, stdout, stderr } = await generate("--json", ...args);
  expect(stderr).not.toContain("millrace:");
  expect(status).toBe(0);
  return JSON.parse(stdout) as Json;
}

describe("generate", () => {
  it("prints one object with the fixed keys", async () => {
    const got = await generateJson("--prompt", "hello", "--max-tokens", "7");
    expect(got.tokens).toHaveLength(7);
    expect(got.text).toBe(byteTokenizer().decode(got.tokens));
    expect([got.drafted, got.accepted]).toEqual([0, 0]);
    expect(got.prefillTokensPerSecond).toBeGreaterThan(0);
    expect(got.decodeTokensPerSecond).toBeGreaterThan(0);
  });

  it("gives the same greedy tokens for text and its ids, with speculation and on either device", async () => {
    const plain = await generateJson("--prompt", "hello", "--max-tokens", "9");
    const ids = ["--prompt-ids", byteTokenizer().encode("hello").join(), "--max-tokens", "9"];
    for (const more of [[], ["--speculative", "off"], ["--device", "interpreter"]])
      expect((await generateJson(...ids, ...more)).tokens).toEqual(plain.tokens);
    const drafted = await generateJson(...ids, "--speculative", "2");
    expect(drafted.tokens).toEqual(plain.tokens);
    expect(drafted.drafted).toBeGreaterThan(0);
    expect(drafted.accepted).toBeLessThanOrEqual(drafted.drafted);
  });

  it("samples by the seed, and heeds the filters", async () => {
    const sampled = ["--prompt", "a", "--max-tokens", "9", "--temperature", "1.5"];
    const one = (await generateJson(...sampled, "--seed", "1")).tokens;
    expect((await generateJson(...sampled, "--seed", "1")).tokens).toEqual(one);
    expect((await generateJson(...sampled, "--seed", "2")).tokens).not.toEqual(one);
    const greedy = (await generateJson("--prompt", "a", "--max-tokens", "9")).tokens;
    expect(one).not.toEqual(greedy);
    for (const filter of [
      ["--top-k", "1"],
      ["--top-p", "0.0001"],
      ["--min-p", "1"],
    ])
      expect((await generateJson(...sampled, ...filter)).tokens).toEqual(greedy);
  });

  describe("with a generation_config.json", () => {
    const write = (json: unknown): void =>
      writeFileSync(join(directory, "generation_config.json"), JSON.stringify(json));
    const prompt = ["--prompt", "a", "--max-tokens", "9"];
    const tokens = async (...args: string[]): Promise<number[]> =>
      (await generateJson(...prompt, ...args)).tokens;
    afterEach(() => rmSync(join(directory, "generation_config.json")));

    it("samples as it says, unless the command line says otherwise", async () => {
      write({ do_sample: false, temperature: 1.5 });
      const greedy = await tokens("--temperature", "0");
      expect(await tokens()).toEqual(greedy);
      write({ do_sample: true, temperature: 1.5 });
      const sampled = await tokens();
      expect(sampled).not.toEqual(greedy);
      expect(await tokens("--temperature", "1.5")).toEqual(sampled);
      expect(await tokens("--temperature", "0")).toEqual(greedy);
      write({ do_sample: true });
      expect(await tokens()).toEqual(await tokens("--temperature", "1"));
      for (const filter of [{ top_k: 1 }, { top_p: 0.0001 }, { min_p: 1 }]) {
        write({ do_sample: true, temperature: 1.5, ...filter });
        expect(await tokens()).toEqual(greedy);
        const all = ["--top-k", "264", "--top-p", "1", "--min-p", "0"];
        expect(await tokens(...all)).toEqual(sampled);
      }
    });

    it("ends at each of its end tokens", async () => {
      write({});
      const all = await tokens();
      const [first, third] = [all[0]!, all[2]!];
      write({ eos_token_id: [263, third] });
      const end = all.indexOf(third) + 1;
      expect(await tokens()).toEqual(all.slice(0, end));
      write({ eos_token_id: first });
      expect(await tokens()).toEqual([first]);
    });

    it("that is malformed ends with status 1, the file, the key and the remedy", async () => {
      write({ top_p: 95 });
      const { status, stdout, stderr } = await generate(...prompt);
      expect(status).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toMatch(
        /^millrace: top_p is 95 at .*generation_config\.json\. Set it to a number above 0/,
      );
    });
  });

  it("writes the text to stdout and the speeds to stderr", async () => {
    const { text } = await generateJson("--prompt", "hello", "--max-tokens", "7");
    const args = ["--prompt", "hello", "--max-tokens", "7", "--speculative", "1"];
    const { status, stdout, stderr } = await generate(...args);
    expect(status).toBe(0);
    expect(stdout).toBe(`${text}\n`);
    expect(stderr).toMatch(/7 tokens \(length\); tokens\/s: prefill .*drafts accepted/);
  });

  it.each([
    [["--prompt", "x".repeat(33)], /the prompt has 33 tokens, the context 32.*Shorten the prompt/],
    [["--prompt", ""], /the prompt has no tokens.*begin token/],
    [["--prompt-ids", "1,264"], /token id 264 at position 1 .*vocabulary of 264.*from 0 to 263/],
  ])("%j ends with status 1 and the remedy", async (args, message) => {
    const { status, stdout, stderr } = await generate(...args);
    expect(status).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toMatch(message);
  });

  it("ends where the context does", async () => {
    const { stderr } = await generate("--prompt", "x".repeat(30), "--max-tokens", "20");
    expect(stderr).toMatch(/3 tokens \(context\)/);
  });
});
