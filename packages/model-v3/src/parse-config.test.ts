import { CheckpointError } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { isMoeLayer, keyValueHeads } from "./config.ts";
import { configToJson, parseConfig } from "./parse-config.ts";
import { preset, presetNames } from "./presets.ts";

/** A V3 file with the keys that have no default, and nothing else. */
const required = {
  model_type: "deepseek_v3",
  vocab_size: 256,
  hidden_size: 64,
  intermediate_size: 128,
  moe_intermediate_size: 24,
  num_hidden_layers: 4,
  n_routed_experts: 16,
  num_experts_per_tok: 4,
  num_attention_heads: 4,
  kv_lora_rank: 40,
  qk_nope_head_dim: 16,
  qk_rope_head_dim: 8,
  v_head_dim: 12,
};
const parse = (changes: Record<string, unknown>) =>
  parseConfig({ ...required, ...changes }, "m/config.json");

test.each(presetNames)("preset %s survives writing and reading", (name) => {
  const config = preset(name);
  const json = JSON.parse(JSON.stringify(configToJson(config))) as unknown;
  expect(parseConfig(json, name)).toEqual(config);
});

test("V3 defaults of keys that are left out", () => {
  expect(parse({})).toMatchObject({
    scoringFunc: "sigmoid",
    topkMethod: "noaux_tc",
    routedScalingFactor: 2.5,
    normTopkProb: true,
    balance: "loss_free",
    attention: "mla",
    mtpInput: "final_norm",
    mtpOrder: "embedding_first",
    qLoraRank: null,
    numKeyValueHeads: 4,
    numNextnPredictLayers: 0,
    ropeScaling: null,
    ropeTheta: 10000,
    rmsNormEps: 1e-6,
    bosTokenId: null,
    eosTokenId: null,
    tieWordEmbeddings: false,
  });
});

test("V2 defaults of keys that are left out", () => {
  expect(parse({ model_type: "deepseek_v2" })).toMatchObject({
    scoringFunc: "softmax",
    topkMethod: "greedy",
    routedScalingFactor: 1,
    normTopkProb: false,
    balance: "auxiliary",
  });
});

test("the family is taken from the architecture where model_type is missing", () => {
  const architectures = ["DeepseekV2ForCausalLM"];
  expect(parse({ model_type: undefined, architectures }).modelType).toBe("deepseek_v2");
  expect(() => parse({ model_type: undefined })).toThrow(/model_type is missing/);
});

test("rope scaling, in the published form and in the newer one", () => {
  const yarn = { type: "yarn", factor: 40, original_max_position_embeddings: 64, mscale: 0.707 };
  const expected = {
    type: "yarn",
    factor: 40,
    originalMaxPositionEmbeddings: 64,
    betaFast: 32,
    betaSlow: 1,
    mscale: 0.707,
    mscaleAllDim: 0,
  };
  expect(parse({ rope_scaling: yarn }).ropeScaling).toEqual(expected);
  const { type, ...rest } = yarn;
  const newer = parse({ rope_parameters: { ...rest, rope_type: type, rope_theta: 5000 } });
  expect(newer).toMatchObject({ ropeScaling: expected, ropeTheta: 5000 });
  expect(parse({ rope_parameters: { rope_type: "default" } }).ropeScaling).toBeNull();
});

test("our own options stand under millrace", () => {
  const millrace = { attention: "gqa", mtp_input: "residual", mtp_order: "hidden_first" };
  const config = parse({ num_key_value_heads: 2, millrace });
  expect(config).toMatchObject({
    attention: "gqa",
    mtpInput: "residual",
    mtpOrder: "hidden_first",
  });
  expect(keyValueHeads(config)).toBe(2);
  expect(configToJson(config)["millrace"]).toMatchObject(millrace);
});

test("which layers have experts", () => {
  const config = parse({ first_k_dense_replace: 1, moe_layer_freq: 2 });
  expect([0, 1, 2, 3, 4].map((layer) => isMoeLayer(config, layer))).toEqual([
    false,
    false,
    true,
    false,
    true,
  ]);
  const dense = parse({
    n_routed_experts: null,
    num_experts_per_tok: undefined,
    moe_intermediate_size: undefined,
  });
  expect(isMoeLayer(dense, 3)).toBe(false);
  expect(configToJson(dense)["n_routed_experts"]).toBeNull();
});

test("a list of end tokens gives its first", () => {
  expect(parse({ eos_token_id: [7, 8] }).eosTokenId).toBe(7);
});

describe("each error names file, key and remedy", () => {
  const cases: [string, Record<string, unknown>, RegExp][] = [
    ["missing size", { hidden_size: undefined }, /hidden_size is missing.*Add it: an integer/],
    ["null size", { vocab_size: null }, /vocab_size is missing/],
    ["text for a size", { hidden_size: "64" }, /hidden_size is "64".*Set it to an integer/],
    ["negative", { kv_lora_rank: -1 }, /kv_lora_rank is -1/],
    ["fraction", { num_hidden_layers: 1.5 }, /num_hidden_layers is 1.5/],
    ["enormous", { num_hidden_layers: 1e9 }, /num_hidden_layers is 1000000000.*to 256/],
    ["not finite", { rms_norm_eps: "1e-6" }, /rms_norm_eps is "1e-6"/],
    ["wrong boolean", { norm_topk_prob: 1 }, /norm_topk_prob is 1.*true or false/],
    ["unknown family", { model_type: "llama" }, /model_type is "llama".*deepseek_v3/],
    ["unknown scoring", { scoring_func: "relu" }, /scoring_func is "relu".*"sigmoid", "softmax"/],
    ["unknown attention", { millrace: { attention: "x" } }, /millrace.attention is "x"/],
    ["options that are no object", { millrace: [] }, /millrace is not a JSON object/],
    ["biases", { attention_bias: true }, /attention_bias is true/],
    ["half-split rotation", { rope_interleave: false }, /rope_interleave is false.*Permute/],
    ["other activation", { hidden_act: "gelu" }, /hidden_act is "gelu"/],
    ["other rope scaling", { rope_scaling: { type: "linear", factor: 2 } }, /rope_scaling.type/],
    [
      "rope scaling without type",
      { rope_scaling: { factor: 2 } },
      /rope_scaling.rope_type is miss/,
    ],
    ["yarn without factor", { rope_scaling: { type: "yarn" } }, /rope_scaling.factor is missing/],
    [
      "yarn betas exchanged",
      { rope_scaling: { type: "yarn", factor: 2, beta_fast: 1, beta_slow: 32 } },
      /rope_scaling.beta_fast is 1 and beta_slow 32/,
    ],
    [
      "other quantisation",
      { quantization_config: { quant_method: "awq" } },
      /quant_method is "awq"/,
    ],
    [
      "block of three",
      { quantization_config: { weight_block_size: [1, 2, 3] } },
      /weight_block_size is \[1,2,3\]/,
    ],
    [
      "more chosen than there are",
      { num_experts_per_tok: 17 },
      /num_experts_per_tok is 17, but n_ro/,
    ],
    ["none chosen", { num_experts_per_tok: 0 }, /num_experts_per_tok is 0/],
    ["groups that do not divide", { n_group: 3 }, /n_group is 3, which does not divide/],
    ["more groups kept", { n_group: 4, topk_group: 5 }, /topk_group is 5, but n_group 4/],
    [
      "too few experts in the kept groups",
      { n_group: 8, topk_group: 1 },
      /topk_group is 1 of 2 experts each, fewer than num_experts_per_tok 4/,
    ],
    ["groups of one", { n_group: 16, topk_group: 4 }, /n_group is 16.*two best of 1/],
    ["odd rotation", { qk_rope_head_dim: 7 }, /qk_rope_head_dim is 7.*even/],
    [
      "dense beyond the layers",
      { first_k_dense_replace: 5 },
      /first_k_dense_replace is 5, but num_h/,
    ],
    [
      "token beyond the vocabulary",
      { eos_token_id: 256 },
      /vocab_size is 256, but.*eos_token_id 256/,
    ],
    ["token that is no id", { bos_token_id: "<s>" }, /bos_token_id is "<s>"/],
    [
      "bias balancing without a bias",
      { topk_method: "greedy", millrace: { balance: "loss_free" } },
      /balance is loss_free, but topk_method greedy/,
    ],
    [
      "key-value heads that do not divide",
      { num_key_value_heads: 3, millrace: { attention: "gqa" } },
      /num_key_value_heads is 3, which does not divide/,
    ],
    [
      "rotation wider than a baseline's head",
      { qk_rope_head_dim: 32, millrace: { attention: "mha" } },
      /qk_rope_head_dim is 32, but the whole head of mha/,
    ],
  ];
  test.each(cases)("%s", (_name, changes, message) => {
    let error: unknown;
    try {
      parse(changes);
    } catch (caught) {
      error = caught;
    }
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/ at m\/config\.json\. [A-Z].*\.$/);
  });

  test("what is no object at all", () => {
    for (const json of [null, undefined, 3, "x", []])
      expect(() => parseConfig(json, "c")).toThrow(/the configuration is not a JSON object at c/);
  });
});
