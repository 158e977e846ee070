// Layers that are given what does not fit: the error says which layer of which model, down to the part.
import { declare, hostTensor, MillraceError } from "@millrace/graph";
import type { DType, GraphBuilder, Tensor } from "@millrace/graph";
import { createInterpreterBackend } from "@millrace/kernels-cpu";
import { expect, test } from "vitest";
import { createModel } from "../model.ts";
import { parameterTable } from "../parameters.ts";
import { preset } from "../presets.ts";
import { block } from "./block.ts";
import { embed, head } from "./embedding.ts";
import { gate } from "./gate.ts";
import { rootScope } from "./layer-scope.ts";
import type { LayerScope } from "./layer-scope.ts";
import { productsFor } from "./linear.ts";
import { mla } from "./mla.ts";
import { mlp } from "./mlp.ts";
import { moe } from "./moe.ts";
import { mtpModule } from "./mtp.ts";
import { norm } from "./norm.ts";
import { sequenceOf } from "./sequence.ts";
import type { Sequence } from "./sequence.ts";

const config = { ...preset("tiny"), numHiddenLayers: 4 };

interface Given {
  readonly root: LayerScope;
  readonly sequence: Sequence;
  /** f32 [N, width]. */
  readonly hidden: Tensor;
}

/** The error of declaring `body` over hidden states of another width or dtype than the model's. */
function errorOf(width: number, dtype: DType, body: (given: Given) => unknown): MillraceError {
  try {
    declare("model", (b) => {
      const shapes = new Map(parameterTable(config).map(({ name, shape }) => [name, shape]));
      const root = rootScope({
        builder: b,
        config,
        products: productsFor("f32"),
        parameter: (name) => b.parameter(name, "f32", shapes.get(name)!),
        tap: () => undefined,
      });
      const sequence = sequenceOf(b, config, b.input("input_ids", "i32", [2, 3]), {});
      body({ root, sequence, hidden: b.input("x", dtype, [6, width]) });
      return {};
    });
  } catch (error) {
    if (error instanceof MillraceError) return error;
    throw error;
  }
  return expect.fail("nothing was refused");
}

const layers: readonly (readonly [string, (given: Given) => unknown, RegExp])[] = [
  [
    "block",
    ({ root, hidden, sequence }) => block(root.at("layers.3"), 3, hidden, sequence, "naive"),
    /^layers\.3\.input_layernorm/,
  ],
  [
    "attention, naive",
    ({ root, hidden, sequence }) => mla(root.at("layers.3"), hidden, sequence, "naive"),
    /^layers\.3\.self_attn\.(q_a|kv_a)_proj/,
  ],
  [
    "attention, absorbed",
    ({ root, hidden, sequence }) => mla(root.at("layers.2"), hidden, sequence, "absorbed"),
    /^layers\.2\.self_attn\.(q_a|kv_a)_proj/,
  ],
  [
    "feed-forward",
    ({ root, hidden }) => mlp(root.at("layers.0.mlp"), hidden),
    /^layers\.0\.mlp\.(gate|up)_proj/,
  ],
  ["experts", ({ root, hidden }) => moe(root.at("layers.3.mlp"), 3, hidden), /^layers\.3\.mlp/],
  [
    "gate",
    ({ root, hidden }) => gate(root.at("layers.3.mlp.gate"), hidden),
    /^layers\.3\.mlp\.gate/,
  ],
  ["norm", ({ root, hidden }) => norm(root.at("norm"), hidden), /^norm/],
  [
    "head",
    ({ root, hidden }) => head(root.at("lm_head"), root.weight("embed_tokens.weight"), hidden),
    /^lm_head/,
  ],
  [
    "MTP module",
    ({ root, hidden, sequence }) =>
      mtpModule(root.at("layers.4"), 4, { previous: hidden, embedded: hidden }, sequence, "naive"),
    /^layers\.4\./,
  ],
];

test.each(layers)("%s of another width", (_, declareLayer, where) => {
  for (const width of [config.hiddenSize - 1, config.hiddenSize + 1, 1, 0]) {
    const error = errorOf(width, "f32", declareLayer);
    expect(error.details.where, error.message).toMatch(where);
    expect(error.message).toMatch(/\d/);
  }
});

test.each(layers)("%s of another dtype", (_, declareLayer) => {
  const error = errorOf(config.hiddenSize, "i32", declareLayer);
  expect(error.details.where, error.message).toMatch(/^(layers\.\d|norm|lm_head)/);
  expect(error.message).toMatch(/i32/);
});

test("an embedding of ids that are none", () => {
  const error = errorOf(4, "f32", ({ root, hidden }) => embed(root.at("embed_tokens"), hidden));
  expect(error.details.where).toMatch(/^embed_tokens/);
  expect(error.message).toMatch(/f32\[6, 4\].*i32 \[B, T\]/);
  const flat = (b: GraphBuilder): Tensor => b.input("input_ids", "i32", [6]);
  expect(() =>
    declare("model", (b) => ({ y: createModel(b, config).forward(flat(b)).hidden })),
  ).toThrow(/the token ids are i32\[6\]\. Give them as i32 \[B, T\]/);
});

test("a layer within the graph of a caller has the caller's path in front", () => {
  const wrong = (): unknown =>
    declare("student", (b) =>
      b.scope("teacher", () => {
        const root = rootScope({
          builder: b,
          config,
          products: productsFor("f32"),
          parameter: (name) => b.parameter(name, "f32", [5, 5]),
          tap: () => undefined,
        });
        return { y: mlp(root.at("layers.0.mlp"), b.input("x", "f32", [6, 8])) };
      }),
    );
  expect(wrong).toThrow(/at teacher\.layers\.0\.mlp\.(gate|up)_proj/);
});

test("a store that holds another model's parameters names the parameter", () => {
  const store = createInterpreterBackend().createStore();
  const name = "model.layers.3.mlp.gate.weight";
  store.ensure([{ name: name, type: { dtype: "f32", shape: [8, 7] } }]);
  const ensure = (): void => store.ensure([{ name: name, type: { dtype: "f32", shape: [8, 64] } }]);
  expect(ensure).toThrow(/"model\.layers\.3\.mlp\.gate\.weight" is f32\[8, 7\].*f32\[8, 64\]/);
  return expect(store.write(name, hostTensor("f32", [3], [1, 2, 3]), 54)).rejects.toThrow(
    /elements 54 to 57 .*model\.layers\.3\.mlp\.gate\.weight/,
  );
});
