import { expect, test } from "vitest";
import {
  checkpointNames,
  checkpointShape,
  parameterAliases,
  parameterTable,
} from "./parameters.ts";
import { preset } from "./presets.ts";

function listed(config: Parameters<typeof parameterTable>[0]): string[] {
  return parameterTable(config).map(({ name, shape }) => `${name} [${shape.join(", ")}]`);
}

test("the table of a model with a dense layer, a MoE layer and an MTP module", () => {
  expect(listed(preset("tiny"))).toMatchInlineSnapshot(`
    [
      "model.embed_tokens.weight [264, 64]",
      "model.layers.0.input_layernorm.weight [64]",
      "model.layers.0.self_attn.q_a_proj.weight [48, 64]",
      "model.layers.0.self_attn.q_a_layernorm.weight [48]",
      "model.layers.0.self_attn.q_b_proj.weight [96, 48]",
      "model.layers.0.self_attn.kv_a_proj_with_mqa.weight [40, 64]",
      "model.layers.0.self_attn.kv_a_layernorm.weight [32]",
      "model.layers.0.self_attn.kv_b_proj.weight [128, 32]",
      "model.layers.0.self_attn.o_proj.weight [64, 64]",
      "model.layers.0.post_attention_layernorm.weight [64]",
      "model.layers.0.mlp.gate_proj.weight [128, 64]",
      "model.layers.0.mlp.up_proj.weight [128, 64]",
      "model.layers.0.mlp.down_proj.weight [64, 128]",
      "model.layers.1.input_layernorm.weight [64]",
      "model.layers.1.self_attn.q_a_proj.weight [48, 64]",
      "model.layers.1.self_attn.q_a_layernorm.weight [48]",
      "model.layers.1.self_attn.q_b_proj.weight [96, 48]",
      "model.layers.1.self_attn.kv_a_proj_with_mqa.weight [40, 64]",
      "model.layers.1.self_attn.kv_a_layernorm.weight [32]",
      "model.layers.1.self_attn.kv_b_proj.weight [128, 32]",
      "model.layers.1.self_attn.o_proj.weight [64, 64]",
      "model.layers.1.post_attention_layernorm.weight [64]",
      "model.layers.1.mlp.gate.weight [8, 64]",
      "model.layers.1.mlp.gate.e_score_correction_bias [8]",
      "model.layers.1.mlp.experts.*.gate_proj.weight [8, 32, 64]",
      "model.layers.1.mlp.experts.*.up_proj.weight [8, 32, 64]",
      "model.layers.1.mlp.experts.*.down_proj.weight [8, 64, 32]",
      "model.layers.1.mlp.shared_experts.gate_proj.weight [32, 64]",
      "model.layers.1.mlp.shared_experts.up_proj.weight [32, 64]",
      "model.layers.1.mlp.shared_experts.down_proj.weight [64, 32]",
      "model.norm.weight [64]",
      "lm_head.weight [264, 64]",
      "model.layers.2.enorm.weight [64]",
      "model.layers.2.hnorm.weight [64]",
      "model.layers.2.eh_proj.weight [64, 128]",
      "model.layers.2.input_layernorm.weight [64]",
      "model.layers.2.self_attn.q_a_proj.weight [48, 64]",
      "model.layers.2.self_attn.q_a_layernorm.weight [48]",
      "model.layers.2.self_attn.q_b_proj.weight [96, 48]",
      "model.layers.2.self_attn.kv_a_proj_with_mqa.weight [40, 64]",
      "model.layers.2.self_attn.kv_a_layernorm.weight [32]",
      "model.layers.2.self_attn.kv_b_proj.weight [128, 32]",
      "model.layers.2.self_attn.o_proj.weight [64, 64]",
      "model.layers.2.post_attention_layernorm.weight [64]",
      "model.layers.2.mlp.gate.weight [8, 64]",
      "model.layers.2.mlp.gate.e_score_correction_bias [8]",
      "model.layers.2.mlp.experts.*.gate_proj.weight [8, 32, 64]",
      "model.layers.2.mlp.experts.*.up_proj.weight [8, 32, 64]",
      "model.layers.2.mlp.experts.*.down_proj.weight [8, 64, 32]",
      "model.layers.2.mlp.shared_experts.gate_proj.weight [32, 64]",
      "model.layers.2.mlp.shared_experts.up_proj.weight [32, 64]",
      "model.layers.2.mlp.shared_experts.down_proj.weight [64, 32]",
      "model.layers.2.shared_head.norm.weight [64]",
    ]
  `);
});

test("V2 has no router bias and no low-rank queries; baselines have keys and values of their own", () => {
  const names = (config: Parameters<typeof parameterTable>[0]): string[] =>
    parameterTable(config)
      .filter(({ layer }) => layer === 1)
      .map(({ name, shape }) => `${name.slice("model.layers.1.".length)} [${shape.join(", ")}]`);
  const lite = names(preset("v2-lite"));
  expect(lite).toContain("self_attn.q_proj.weight [3072, 2048]");
  expect(lite).toContain("mlp.shared_experts.gate_proj.weight [2816, 2048]");
  expect(lite.join()).not.toContain("e_score_correction_bias");
  expect(lite.join()).not.toContain("q_a_proj");
  const mqa = names({ ...preset("tiny"), attention: "mqa" });
  expect(mqa.filter((name) => name.startsWith("self_attn"))).toEqual([
    "self_attn.q_proj.weight [64, 64]",
    "self_attn.k_proj.weight [16, 64]",
    "self_attn.v_proj.weight [16, 64]",
    "self_attn.o_proj.weight [64, 64]",
  ]);
});

test("how parameters start and which are trained", () => {
  const table = parameterTable({ ...preset("tiny"), initializerRange: 0.006 });
  for (const { role, init, trainable } of table) {
    const kind = role === "norm" ? "ones" : role === "router_bias" ? "zeros" : "normal";
    expect(init.kind).toBe(kind);
    if (init.kind === "normal") expect(init.std).toBe(0.006);
    expect(trainable).toBe(role !== "router_bias");
  }
});

test("a stacked parameter is one checkpoint tensor per expert", () => {
  const table = parameterTable(preset("tiny"));
  const stacked = table.find(({ name }) => name === "model.layers.1.mlp.experts.*.up_proj.weight");
  expect(stacked && checkpointNames(stacked).at(7)).toBe(
    "model.layers.1.mlp.experts.7.up_proj.weight",
  );
  expect(stacked && checkpointShape(stacked)).toEqual([32, 64]);
  const names = table.flatMap(checkpointNames);
  expect(new Set(names).size).toBe(names.length);
});

test("embedding and head are repeated for each MTP module; a tied head repeats the embedding", () => {
  expect(parameterAliases(preset("tiny"))).toEqual([
    { name: "model.layers.2.embed_tokens.weight", of: "model.embed_tokens.weight" },
    { name: "model.layers.2.shared_head.head.weight", of: "lm_head.weight" },
  ]);
  const tied = { ...preset("tiny"), tieWordEmbeddings: true };
  expect(parameterTable(tied).some(({ role }) => role === "head")).toBe(false);
  expect(parameterAliases(tied).map(({ of }) => of)).toEqual(
    Array.from({ length: 3 }, () => "model.embed_tokens.weight"),
  );
});
