// Generation from weights in every format: what changes nothing changes no bit, what rounds stays near, and drafts change no
// token whatever the weights are held in.
import { compile, declare } from "@millrace/graph";
import type { Backend, HostTensor, Store } from "@millrace/graph";
import { createInterpreterBackend, createWasmBackend } from "@millrace/kernels-cpu";
import {
  createModel,
  declareInit,
  declareLogits,
  formatsFor,
  loadIntoStore,
  memoryDirectory,
  openShards,
  parameterTable,
  preset,
  saveParameters,
  weightChoices,
} from "@millrace/model-v3";
import type { ModelConfig, TensorSource, WeightChoice } from "@millrace/model-v3";
import { beforeAll, describe, expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { createModelRunner } from "./model-runner.ts";

const config: ModelConfig = {
  ...preset("tiny"),
  vocabSize: 37,
  maxPositionEmbeddings: 64,
};
/** Without experts: another choice of experts is no rounding error. */
const dense: ModelConfig = { ...config, firstKDenseReplace: 3 };

let f32Checkpoint: TensorSource;
let bf16Checkpoint: TensorSource;
let denseCheckpoint: TensorSource;

async function checkpointOf(model: ModelConfig, dtype: "F32" | "BF16"): Promise<TensorSource> {
  const backend = createWasmBackend();
  const store = backend.createStore();
  await (await compile(declareInit(model, 3), backend, { store })).run({});
  const values = new Map<string, HostTensor>();
  for (const { name } of parameterTable(model)) values.set(name, await store.read(name));
  const directory = memoryDirectory(dtype);
  await saveParameters(directory, model, ({ name }) => values.get(name)!, { dtype });
  return openShards(directory);
}

beforeAll(async () => {
  f32Checkpoint = await checkpointOf(config, "F32");
  bf16Checkpoint = await checkpointOf(config, "BF16");
  denseCheckpoint = await checkpointOf(dense, "F32");
});

async function loaded(
  backend: Backend,
  source: TensorSource,
  weights: WeightChoice,
  model: ModelConfig = config,
): Promise<Store> {
  const store = backend.createStore();
  await loadIntoStore(source, model, store, { weights });
  return store;
}

const ids = Array.from({ length: 21 }, (_, i) => (i * i + 5 * i + 2) % config.vocabSize);

/** Logits of `ids`, some prefilled and some decoded one by one, and of drafts after them. */
async function logitsOf(
  source: TensorSource,
  weights: WeightChoice,
  backend: Backend = createWasmBackend(),
  model: ModelConfig = config,
): Promise<Float32Array> {
  const store = await loaded(backend, source, weights, model);
  const options = { config: model, backend, store, maxLength: 32, prefillChunk: 16, maxDrafts: 1 };
  const runner = await createModelRunner(options);
  const passes = [await runner.prefill(ids.slice(0, 16), 0)];
  for (let at = 16; at < 20; at++) passes.push(await runner.decode([ids[at]!], at));
  passes.push(await runner.draft(passes[1]!.hidden, [ids[17]!], 16));
  runner.dispose();
  return Float32Array.from(passes.flatMap(({ logits }) => Array.from(logits)));
}

/** Root mean square of the difference, relative to that of what is expected. */
function difference(got: Float32Array, expected: Float32Array): number {
  expect(got.length).toBe(expected.length);
  const size = Math.hypot(...expected);
  return Math.hypot(...expected.map((value, i) => value - got[i]!)) / size;
}

it("bf16 weights kept as they are stored give the bits of the same weights in f32", async () => {
  for (const backend of [createWasmBackend(), createWasmBackend({ relaxedSimd: false })]) {
    const stored = await logitsOf(bf16Checkpoint, "stored", backend);
    expect(stored).toEqual(await logitsOf(bf16Checkpoint, "f32", backend));
  }
  expect(await logitsOf(f32Checkpoint, "stored")).toEqual(await logitsOf(f32Checkpoint, "f32"));
});

// Measured with ten seeds of the initial values: at most 0.0009, 0.0066, 0.12, 0.024 and 0.34.
it.each([
  ["f16", 0.003],
  ["bf16", 0.02],
  ["e4m3fn", 0.3],
  ["int8", 0.06],
  ["int4", 0.8],
] as const)("%s weights give logits near those of f32", async (weights, most) => {
  const backend = createWasmBackend();
  const exact = await logitsOf(denseCheckpoint, "f32", backend, dense);
  const got = difference(await logitsOf(denseCheckpoint, weights, backend, dense), exact);
  expect(got).toBeLessThan(most);
  expect(got).toBeGreaterThan(0);
});

it.each(["e4m3fn", "int8", "int4"] as const)(
  "%s weights mean the same to the kernels and to the interpreter",
  async (weights) => {
    const backend = createInterpreterBackend();
    const store = await loaded(backend, f32Checkpoint, weights);
    const formats = formatsFor(config, weights);
    const graph = declareLogits(config, { batch: 1, tokens: 5, weights: formats });
    const input = { dtype: "i32", shape: [1, 5], data: Int32Array.from(ids.slice(0, 5)) } as const;
    const run = async (on: Backend, over: Store): Promise<Float32Array> => {
      const { logits } = await (
        await compile(graph, on, { store: over })
      ).run({ input_ids: input });
      return logits!.data as Float32Array;
    };
    const wasm = createWasmBackend();
    const got = await run(wasm, await loaded(wasm, f32Checkpoint, weights));
    expect(difference(got, await run(backend, store))).toBeLessThan(1e-3);
  },
);

describe.each(weightChoices)("weights %s", (weights) => {
  it("greedy generation gives the same tokens with and without drafts", async () => {
    const backend = createWasmBackend();
    const store = await loaded(backend, bf16Checkpoint, weights);
    const engine = await createEngine({ config, backend, store, speculative: 3, prefillChunk: 4 });
    const options = { maxTokens: 24, stopIds: [] };
    const plain = await engine.generate(ids.slice(0, 6), { ...options, speculative: 0 });
    for (const speculative of [1, 3]) {
      const { tokens } = await engine.generate(ids.slice(0, 6), { ...options, speculative });
      expect(tokens).toEqual(plain.tokens);
    }
    engine.dispose();
  });
});

it("narrower weights take less memory, and norms and router stay f32", async () => {
  const backend = createInterpreterBackend();
  const bytes = async (weights: WeightChoice): Promise<number> =>
    (await loaded(backend, f32Checkpoint, weights)).bytes;
  const [f32, bf16, int8, int4] = [
    await bytes("f32"),
    await bytes("bf16"),
    await bytes("int8"),
    await bytes("int4"),
  ];
  expect(bf16).toBeLessThan(0.6 * f32);
  expect(int8).toBeLessThan(0.5 * f32);
  expect(int4).toBeLessThan(int8);
  const { specs } = await loaded(backend, f32Checkpoint, "int4");
  for (const { name, type } of specs)
    if (/norm|gate\.weight|bias|embed/.test(name)) expect(type.dtype, name).toBe("f32");
});

it("a store that holds other formats, and products that round, are refused", async () => {
  const backend = createInterpreterBackend();
  const store = await loaded(backend, f32Checkpoint, "int8");
  await expect(loadIntoStore(f32Checkpoint, config, store, { weights: "f32" })).rejects.toThrow(
    /i8/,
  );
  declare("misuse", (b) => {
    const weights = formatsFor(config, "int8");
    expect(() => createModel(b, config, { precision: "fp8", weights })).toThrow(
      /narrower than f32/,
    );
    return { x: b.input("x", "f32", []) };
  });
});
