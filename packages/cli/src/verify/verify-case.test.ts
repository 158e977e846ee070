import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type HostTensor, hostTensor, toNumbers } from "@millrace/graph";
import { createInterpreterBackend, interpret } from "@millrace/kernels-cpu";
import {
  declareInit,
  declareLogits,
  type ModelConfig,
  preset,
  saveParameters,
  writeSafetensors,
} from "@millrace/model-v3";
import { nodeDirectory, openSafetensorsFile } from "@millrace/model-v3/node";
import { declareTrainStep } from "@millrace/trainer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { runCli } from "../program.ts";
import { openCase } from "./case.ts";
import { verifyCase } from "./verify-case.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 24,
  bosTokenId: 0,
  eosTokenId: 1,
  hiddenSize: 12,
  intermediateSize: 10,
  moeIntermediateSize: 7,
  qLoraRank: 9,
  kvLoraRank: 8,
  qkNopeHeadDim: 6,
  qkRopeHeadDim: 4,
  vHeadDim: 5,
  numAttentionHeads: 2,
  numKeyValueHeads: 2,
  initializerRange: 0.25,
};
const batch = 2;
const ids = hostTensor(
  "i32",
  [batch, 7],
  Array.from({ length: 14 }, (_, i) => (i * 11 + 3) % 24),
);
const inputIds: HostTensor = { ...ids, dtype: "i64", data: BigInt64Array.from(ids.data, BigInt) };

type Tensors = Record<string, HostTensor>;

let root = "";
let parameters: Tensors = {};
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "millrace-verify-"));
  parameters = interpret(declareInit(config, 11), {}).states;
});
afterAll(() => rmSync(root, { recursive: true }));

async function writeTensors(directory: string, file: string, tensors: Tensors): Promise<void> {
  const target = await nodeDirectory(directory).create(file);
  const list = Object.entries(tensors).map(([name, { dtype, shape, data }]) => ({
    name,
    dtype,
    shape,
    data: () => data,
  }));
  await writeSafetensors(target, list);
  await target.finish();
  await target.commit();
}

/** A case directory with the model and these expected tensors. */
async function makeCase(name: string, expected: Tensors): Promise<string> {
  const directory = join(root, name);
  await saveParameters(nodeDirectory(directory), config, ({ name: of }) => parameters[of]!);
  await writeTensors(directory, "expected.safetensors", expected);
  return directory;
}

interface Report {
  readonly ok: boolean;
  readonly rows: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly error: number | null;
    readonly note?: string;
  }[];
}

async function verify(
  directory: string,
): Promise<{ status: number; report: Report; stderr: string }> {
  let stdout = "";
  let stderr = "";
  const args = ["verify", directory, "--json", "--device", "interpreter"];
  const status = await runCli(args, {
    stdout: { write: (text) => (stdout += text) },
    stderr: { write: (text) => (stderr += text) },
  });
  return { status, report: (stdout ? JSON.parse(stdout) : {}) as Report, stderr };
}

const failed = ({ rows }: Report): string[] => rows.filter(({ ok }) => !ok).map(({ name }) => name);

/** Logits and everything on the way, of the graph interpreter. */
function forwardTensors(): Tensors {
  const graph = declareLogits(config, { batch, tokens: 7, taps: () => true });
  return interpret(graph, { input_ids: ids }, { states: parameters }).outputs;
}

/** Positions `start` to `end` of a tensor [B, 7, …]. */
function positions({ data }: HostTensor, start: number, end: number): number[] {
  const width = data.length / (batch * 7);
  const values: number[] = [];
  for (let row = 0; row < batch; row++)
    for (let i = (row * 7 + start) * width; i < (row * 7 + end) * width; i++)
      values.push(Number(data[i]));
  return values;
}

const columns = (start: number, end: number): HostTensor => ({
  dtype: "i64",
  shape: [batch, end - start],
  data: BigInt64Array.from(positions(inputIds, start, end), BigInt),
});

describe("a forward case", () => {
  test("passes, a changed value fails, and so does a name nobody knows", async () => {
    const tensors: Tensors = { input_ids: inputIds, ...forwardTensors() };
    tensors["mtp.input_ids"] = columns(1, 7);
    tensors["mtp.target_ids"] = columns(2, 7);
    tensors["variant.other"] = hostTensor("f32", [1], [3]);
    const good = await verify(await makeCase("forward", tensors));
    expect(good.stderr).not.toContain("millrace:");
    expect(failed(good.report)).toEqual([]);
    expect(good.status).toBe(0);
    expect(good.report.rows.map(({ name }) => name).toSorted()).toEqual(
      Object.keys(tensors).toSorted(),
    );

    const logits = toNumbers(tensors["logits"]!);
    logits[5]! += 2e-4;
    const bad = await verify(
      await makeCase("changed", {
        input_ids: inputIds,
        logits: hostTensor("f32", tensors["logits"]!.shape, logits),
        "hidden.embed": tensors["hidden.embed"]!,
        "mla.layers.9.c_kv": hostTensor("f32", [1], [0]),
        "no.such.name": hostTensor("f32", [1], [0]),
      }),
    );
    expect(bad.status).toBe(1);
    expect(bad.report.ok).toBe(false);
    expect(failed(bad.report).toSorted()).toEqual(["logits", "mla.layers.9.c_kv", "no.such.name"]);
    const error = bad.report.rows.find(({ name }) => name === "logits")?.error;
    expect(error).toBeCloseTo(2e-4, 5);
    expect(bad.report.rows.find(({ name }) => name === "no.such.name")?.note).toBe("unknown name");
  });

  test("a token id outside the vocabulary is an error that names file and tensor", async () => {
    const wrong = { ...inputIds, data: inputIds.data.map(() => 99n as never) };
    const directory = await makeCase("tokens", { input_ids: wrong, ...forwardTensors() });
    const { status, stderr } = await verify(directory);
    expect(status).toBe(1);
    expect(stderr).toMatch(/token id 99 .*expected\.safetensors, tensor input_ids/);
  });
});

test("every store is disposed of: on a device it holds the model's weights", async () => {
  const directory = await makeCase("stores", { input_ids: inputIds, ...forwardTensors() });
  const backend = createInterpreterBackend();
  let made = 0;
  let held = 0;
  const counting = {
    ...backend,
    createStore: () => {
      const store = backend.createStore();
      const dispose = store.dispose.bind(store);
      made++;
      held++;
      return Object.assign(store, {
        dispose: () => {
          held--;
          dispose();
        },
      });
    },
  };
  const opened = await openCase(directory, counting);
  await verifyCase(opened, { progress: () => undefined });
  await opened.close();
  expect(made).toBeGreaterThan(1);
  expect(held).toBe(0);
});

test("a cached case: prefill, decoding, the cache at the end and the greedy continuation", async () => {
  const { logits, ...taps } = forwardTensors();
  const vocabulary = config.vocabSize;
  const part = (start: number, end: number): HostTensor =>
    hostTensor("f32", [batch, end - start, vocabulary], positions(logits!, start, end));
  const next = positions(logits!, 3, 4);
  const first = [0, 1].map((row) => {
    const values = next.slice(row * vocabulary, (row + 1) * vocabulary);
    return values.indexOf(Math.max(...values));
  });
  const directory = await makeCase("cached", {
    input_ids: inputIds,
    prefill_length: { dtype: "i64", shape: [1], data: BigInt64Array.of(4n) },
    "prefill.logits": part(0, 4),
    "prefill.logits_naive": part(0, 4),
    "decode.logits": part(4, 7),
    "decode.logits_naive": part(4, 7),
    "full.logits": logits!,
    "mla.layers.1.c_kv": taps["mla.layers.1.c_kv"]!,
    "mla.layers.1.k_rope": taps["mla.layers.1.k_rope"]!,
    "rope.cos": taps["rope.cos"]!,
    "greedy.tokens": hostTensor("i32", [batch, 1], first),
  });
  const { status, report } = await verify(directory);
  expect(failed(report)).toEqual([]);
  expect(status).toBe(0);
});

test("a training case: losses, gradients and the parameters after two steps", async () => {
  const graph = declareTrainStep(config, { batch, sequenceLength: 6, taps: true });
  let states = parameters;
  const passes: Tensors[] = [];
  let after: Tensors = {};
  for (let step = 1; step <= 3; step++) {
    if (step === 3) after = states;
    const inputs = {
      input_ids: ids,
      learning_rate: hostTensor("f32", [], [1e-3]),
      step: hostTensor("i32", [], [step]),
    };
    const result = interpret(graph, inputs, { states });
    passes.push(result.outputs);
    states = result.states;
  }
  const over = (name: string, count = 3): HostTensor => {
    const parts = passes.slice(0, count).map((outputs) => outputs[name]!);
    const values: number[] = [];
    for (const part of parts) values.push(...toNumbers(part));
    return hostTensor(parts[0]!.dtype, [count, ...parts[0]!.shape], values);
  };
  const gate = "model.layers.1.mlp.gate.weight";
  const directory = await makeCase("training", {
    input_ids: inputIds,
    logits: passes[0]!["logits"]!,
    "loss.main": over("loss"),
    "loss.total": over("total_loss"),
    grad_norm: over("grad_norm", 2),
    "load.layers.1": over("load.layers.1"),
    [`grad.${gate}`]: passes[0]![`grad.${gate}`]!,
    [`grad_balance.${gate}`]: passes[0]![`grad_balance.${gate}`]!,
  });
  const trained = Object.fromEntries(
    Object.entries(after).filter(([name]) => name === gate || name === "model.norm.weight"),
  );
  await writeTensors(directory, "model_after.safetensors", trained);
  const good = await verify(directory);
  expect(failed(good.report)).toEqual([]);
  expect(good.status).toBe(0);

  // The parameters before training are not those after it.
  await writeTensors(directory, "model_after.safetensors", { [gate]: parameters[gate]! });
  const bad = await verify(directory);
  expect(failed(bad.report)).toEqual([`model_after.${gate}`]);
  expect(bad.status).toBe(1);
});

test("logits reads tokens and writes what both modules predict", async () => {
  const directory = await makeCase("logits", { input_ids: inputIds });
  const out = join(root, "out.safetensors");
  const input = join(directory, "expected.safetensors");
  const run = (...more: string[]): Promise<number> =>
    runCli(["logits", directory, "--input", input, "--out", out, ...more], {
      stdout: { write: () => {} },
      stderr: { write: () => {} },
    });
  const expected = forwardTensors();
  for (const attention of ["naive", "absorbed"]) {
    expect(await run("--device", "interpreter", "--attention", attention)).toBe(0);
    const file = await openSafetensorsFile(out);
    for (const name of ["logits", "mtp.logits"]) {
      const { shape, values } = await file.readNumbers(name);
      expect(shape).toEqual(expected[name]!.shape);
      toNumbers(expected[name]!).forEach((value, i) => expect(values[i]).toBeCloseTo(value, 3));
    }
    await file.close();
  }
});
