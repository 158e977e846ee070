import { compile, declare, hostTensor } from "@millrace/graph";
import type { HostTensor, Store } from "@millrace/graph";
import { createInterpreterBackend, interpret } from "@millrace/kernels-cpu";
import { describe, expect, test } from "vitest";
import { attentionKinds } from "./config.ts";
import type { ModelConfig } from "./config.ts";
import { declareDecode, declarePrefill } from "./graphs/decode.ts";
import { declareInit } from "./graphs/init.ts";
import { declareLogits } from "./graphs/logits.ts";
import { declareMtp } from "./graphs/mtp.ts";
import { createModel } from "./model.ts";
import { preset } from "./presets.ts";

/** Small, with all head widths different, and large enough weights for every path to matter. */
function config(changes: Partial<ModelConfig> = {}): ModelConfig {
  return {
    ...preset("tiny"),
    vocabSize: 40,
    bosTokenId: 0,
    eosTokenId: 1,
    hiddenSize: 16,
    intermediateSize: 20,
    moeIntermediateSize: 12,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    qLoraRank: 12,
    kvLoraRank: 10,
    qkNopeHeadDim: 8,
    qkRopeHeadDim: 4,
    vHeadDim: 6,
    initializerRange: 0.3,
    ...changes,
  };
}

type States = Readonly<Record<string, HostTensor>>;

const parametersOf = (model: ModelConfig): States => interpret(declareInit(model, 7), {}).states;

const tokens = (batch: number, count: number): HostTensor =>
  hostTensor(
    "i32",
    [batch, count],
    Array.from({ length: batch * count }, (_, i) => (i * 17 + 5) % 40),
  );

const columns = (ids: HostTensor, start: number, end: number): HostTensor => {
  const [batch, count] = ids.shape as [number, number];
  const rows = Array.from({ length: batch }, (_, row) =>
    Array.from(ids.data.subarray(row * count + start, row * count + end), Number),
  );
  return hostTensor("i32", [batch, end - start], rows.flat());
};

/** Positions `start` to `end` of [B, T, …]. */
const positions = ({ shape, data }: HostTensor, start: number, end: number): number[] => {
  const [batch, count] = shape as [number, number];
  const width = data.length / (batch * count);
  return Array.from({ length: batch }, (_, row) =>
    Array.from(
      data.subarray((row * count + start) * width, (row * count + end) * width) as Float32Array,
    ),
  ).flat();
};

function expectClose(got: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 2e-5): void {
  expect(got.length).toBe(expected.length);
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(got[i]! - expected[i]!);
    if (!(error <= largest)) largest = error;
  }
  expect(largest).toBeLessThan(tolerance);
}

const spread = (values: ArrayLike<number>): number =>
  Math.max(...Array.from(values)) - Math.min(...Array.from(values));

const yarn = {
  type: "yarn",
  factor: 8,
  originalMaxPositionEmbeddings: 8,
  betaFast: 32,
  betaSlow: 1,
  mscale: 1,
  mscaleAllDim: 0.707,
} as const;

const families: Record<string, Partial<ModelConfig>> = {
  V3: {},
  "V3 with YaRN and a tied head": { ropeScaling: yarn, tieWordEmbeddings: true },
  "V2, greedy, no query latent": {
    modelType: "deepseek_v2",
    qLoraRank: null,
    scoringFunc: "softmax",
    topkMethod: "greedy",
    normTopkProb: false,
    routedScalingFactor: 1,
    balance: "auxiliary",
    nSharedExperts: 2,
  },
  "V2, group-limited": {
    modelType: "deepseek_v2",
    scoringFunc: "softmax",
    topkMethod: "group_limited_greedy",
    normTopkProb: false,
    routedScalingFactor: 16,
    balance: "auxiliary",
  },
  "all layers dense": { nRoutedExperts: 0 },
  "experts everywhere, none shared": { firstKDenseReplace: 0, nSharedExperts: 0 },
};

describe("the naive and the absorbed form are one function", () => {
  test.each(Object.entries(families))("%s", (_, changes) => {
    const model = config(changes);
    const states = parametersOf(model);
    const ids = tokens(2, 5);
    const [naive, absorbed] = (["naive", "absorbed"] as const).map((attention) => {
      const graph = declareLogits(model, { batch: 2, tokens: 5, attention });
      return interpret(graph, { input_ids: ids }, { states }).outputs;
    });
    const reference = naive!["logits"]!.data as Float32Array;
    expect(spread(reference)).toBeGreaterThan(0.1);
    expectClose(absorbed!["logits"]!.data as Float32Array, reference);
    expectClose(
      absorbed!["mtp.logits"]!.data as Float32Array,
      naive!["mtp.logits"]!.data as Float32Array,
    );
  });
});

/** A store of the interpreter with these parameters. */
async function storeWith(states: States): Promise<Store> {
  const store = createInterpreterBackend().createStore();
  for (const [name, tensor] of Object.entries(states)) {
    store.ensure([{ name, type: { dtype: tensor.dtype, shape: tensor.shape } }]);
    await store.write(name, tensor);
  }
  return store;
}

describe("cached and uncached passes agree", () => {
  test.each(attentionKinds)(
    "%s, in calls of 3, 1, 2 tokens and after a step back",
    async (attention) => {
      const model = config({ attention });
      const states = parametersOf(model);
      const ids = tokens(2, 6);
      const whole = interpret(
        declareLogits(model, { batch: 2, tokens: 6 }),
        { input_ids: ids },
        { states },
      ).outputs["logits"]!;
      const store = await storeWith(states);
      const backend = createInterpreterBackend();
      const options = { batch: 2, maxTokens: 3, maxLength: 7 };
      const prefill = await compile(declarePrefill(model, options), backend, { store });
      const decode = await compile(declareDecode(model, options), backend, { store });
      const call = async (
        program: typeof decode,
        given: HostTensor,
        start: number,
        end: number,
      ): Promise<Float32Array> => {
        const inputs = {
          input_ids: columns(given, start, end),
          start: hostTensor("i32", [], [start]),
        };
        return (await program.run(inputs, { S: end }))["logits"]!.data as Float32Array;
      };
      expectClose(await call(prefill, ids, 0, 3), positions(whole, 0, 3));
      expectClose(await call(decode, ids, 3, 4), positions(whole, 3, 4));
      // Tokens that are taken back leave rows behind, which nothing may read.
      await call(decode, tokens(2, 7), 4, 7);
      expectClose(await call(decode, ids, 4, 6), positions(whole, 4, 6));
      expectClose(await call(decode, ids, 2, 5), positions(whole, 2, 5));
    },
  );

  test("the MTP module drafts over a cache of its own", async () => {
    const model = config();
    const states = parametersOf(model);
    const ids = tokens(2, 6);
    const whole = interpret(
      declareLogits(model, {
        batch: 2,
        tokens: 6,
        taps: (name) => name === "hidden.final_norm",
      }),
      { input_ids: ids },
      { states },
    ).outputs;
    const hidden = { ...whole["hidden.final_norm"]!, shape: [2, 6, model.hiddenSize] };
    const backend = createInterpreterBackend();
    const store = await storeWith(states);
    const graph = declareMtp(model, { batch: 2, maxTokens: 4, maxLength: 6 });
    const program = await compile(graph, backend, { store });
    for (const [start, end] of [
      [0, 4],
      [4, 5],
    ] as const) {
      const inputs = {
        hidden: hostTensor(
          "f32",
          [2, end - start, model.hiddenSize],
          positions(hidden, start, end),
        ),
        input_ids: columns(ids, start + 1, end + 1),
        start: hostTensor("i32", [], [start]),
      };
      const { logits } = await program.run(inputs, { S: end });
      expectClose(logits!.data as Float32Array, positions(whole["mtp.logits"]!, start, end));
    }
  });
});

test("a token sees the tokens before it and none after", () => {
  const model = config();
  const states = parametersOf(model);
  const graph = declareLogits(model, { batch: 1, tokens: 5 });
  const run = (ids: HostTensor): HostTensor =>
    interpret(graph, { input_ids: ids }, { states }).outputs["logits"]!;
  const ids = tokens(1, 5);
  const changed = { ...ids, data: ids.data.slice() };
  changed.data[3] = 39;
  const [before, after] = [run(ids), run(changed)];
  expectClose(positions(after, 0, 3), positions(before, 0, 3), 1e-9);
  expect(positions(after, 3, 5)).not.toEqual(positions(before, 3, 5));
});

test("narrower products stay near f32", () => {
  const model = config({ hiddenSize: 32, initializerRange: 0.15 });
  const states = parametersOf(model);
  const run = (precision: "f32" | "bf16" | "fp8"): Float32Array => {
    const graph = declareLogits(model, { batch: 1, tokens: 4, precision });
    const { outputs } = interpret(graph, { input_ids: tokens(1, 4) }, { states });
    return outputs["logits"]!.data as Float32Array;
  };
  const exact = run("f32");
  for (const [precision, share] of [
    ["bf16", 0.05],
    ["fp8", 0.35],
  ] as const) {
    const error = Math.max(...run(precision).map((value, i) => Math.abs(value - exact[i]!)));
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(share * spread(exact));
  }
});

test("nodes carry the path of their layer, and it names the parameter", () => {
  const graph = declareLogits(config(), { batch: 1, tokens: 2 });
  const scopes = new Set(graph.nodes.map((node) => node.scope));
  expect(scopes).toContain("layers.1.self_attn.q_a_proj");
  expect(scopes).toContain("layers.1.mlp.experts.*.down_proj");
  expect(scopes).toContain("layers.2.eh_proj");
});

test("a model declared inside a scope keeps that scope in every path", () => {
  const graph = declare("scoped", (b) => {
    const ids = b.input("ids", "i32", [1, 2]);
    return b.scope("teacher", () => ({ hidden: createModel(b, config()).forward(ids).hidden }));
  });
  const computed = graph.nodes.filter(({ op }) => op.body.class !== "leaf");
  expect(computed.every(({ scope }) => scope.startsWith("teacher"))).toBe(true);
  expect(computed.map(({ scope }) => scope)).toContain("teacher.layers.0.mlp.up_proj");
});

test("names and depths that do not exist are refused", () => {
  declare("check", (b) => {
    const model = createModel(b, config());
    expect(() => model.parameter("model.layers.9.mlp.up_proj.weight")).toThrow(/no parameter/);
    const hidden = b.input("hidden", "f32", [2, 16]);
    const ids = b.input("ids", "i32", [1, 2]);
    expect(() => model.mtp(2, hidden, ids)).toThrow(/no MTP module 2/);
    return {};
  });
});
