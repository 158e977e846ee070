/**
 * The whole model as functions of tensors. In: a builder and a configuration. Out: declarations of the main model, its head
 * and its MTP modules, in whatever graph the builder makes. Tokens are flattened inside: hidden states are [N, D] with
 * N = B·T. Read this first, then `layers/block.ts`.
 */
import { AttributeError } from "@millrace/graph";
import type { GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "./config.ts";
import { block } from "./layers/block.ts";
import { embed, head } from "./layers/embedding.ts";
import { rootScope } from "./layers/layer-scope.ts";
import type { Tap } from "./layers/layer-scope.ts";
import { productsFor } from "./layers/linear.ts";
import type { Precision } from "./layers/linear.ts";
import type { AttentionForm } from "./layers/mla.ts";
import type { Routing } from "./layers/moe.ts";
import { mtpModule } from "./layers/mtp.ts";
import type { MtpResult } from "./layers/mtp.ts";
import { norm } from "./layers/norm.ts";
import { softmaxScale } from "./layers/rope.ts";
import { sequenceOf } from "./layers/sequence.ts";
import type { Position } from "./layers/sequence.ts";
import { declareWeight, weightValues } from "./layers/weight.ts";
import type { Weight } from "./layers/weight.ts";
import { parameterTable } from "./parameters.ts";
import type { WeightFormat, WeightFormats } from "./weight-formats.ts";

export interface ModelOptions {
  /** Which product the projections use, by default `f32`. */
  readonly precision?: Precision;
  /** How weights are stored, if not in f32; for `precision` f32, which then means x. */
  readonly weights?: WeightFormats;
  /** With `fp8`: power-of-two scales where training wants them (the default), or nowhere, as inference does. */
  readonly powerOfTwoScales?: boolean;
  /** Which form of MLA, by default `naive`; the two are equal. */
  readonly attention?: AttentionForm;
  /** Sees every named intermediate value: `hidden.layers.0`, `router.layers.1.scores`, … */
  readonly tap?: Tap;
}

export interface ForwardResult {
  /** The residual stream after the last layer, [N, D]. */
  readonly residual: Tensor;
  /** After the final norm, what the head takes, [N, D]. */
  readonly hidden: Tensor;
  /** One for each layer with experts. */
  readonly routing: readonly Routing[];
}

export interface Model {
  readonly config: ModelConfig;
  /** A parameter by its name in `parameterTable`, declared on first use. */
  parameter(name: string): Tensor;
  /** Hidden states of tokens i32 [B, T]. */
  forward(inputIds: Tensor, position?: Position): ForwardResult;
  /** Logits [N, V] of hidden states [N, D]. */
  head(hidden: Tensor): Tensor;
  /**
   * MTP module `depth` (from 1) over hidden states [N, D] of the depth before (`mtpInputOf`) and, for each of them, the
   * token `depth` places further, i32 [B, T].
   */
  mtp(depth: number, previous: Tensor, nextIds: Tensor, position?: Position): MtpResult;
}

/** What a depth hands to the next MTP module, as the configuration says. */
export function mtpInputOf(
  config: ModelConfig,
  result: { readonly residual: Tensor; readonly hidden: Tensor },
): Tensor {
  return config.mtpInput === "final_norm" ? result.hidden : result.residual; // [N, D]
}

export function createModel(
  b: GraphBuilder,
  config: ModelConfig,
  options: ModelOptions = {},
): Model {
  const {
    precision = "f32",
    weights = new Map<string, WeightFormat>(),
    powerOfTwoScales,
    attention: form = "naive",
    tap = () => {},
  } = options;
  if (precision !== "f32" && weights.size > 0)
    throw new AttributeError({
      what: `weights are stored narrower than f32 and products are to be in ${precision}`,
      where: "createModel",
      hint: "Products that round their operands take f32 weights; leave one of the two out.",
    });
  const weight = weightDeclarer(b, config, weights);
  const parameter = (name: string): Tensor => weightValues(weight(name));
  const products = productsFor(precision, powerOfTwoScales);
  const root = rootScope({ builder: b, config, products, parameter, weight, tap });
  return {
    config,
    parameter,
    forward(inputIds, position = {}) {
      const sequence = root.declare(() => sequenceOf(b, config, inputIds, position));
      tap("rope.cos", sequence.tables.cos);
      tap("rope.sin", sequence.tables.sin);
      const data = Float32Array.of(softmaxScale(config));
      tap("attn.softmax_scale", b.constant({ dtype: "f32", shape: [1], data }));
      let residual = embed(root.at("embed_tokens"), inputIds); // [N, D]
      tap("hidden.embed", residual);
      const routing: Routing[] = [];
      for (let i = 0; i < config.numHiddenLayers; i++) {
        const result = block(root.at(`layers.${i}`), i, residual, sequence, form); // [N, D]
        residual = result.residual;
        if (result.routing) routing.push(result.routing);
      }
      const hidden = norm(root.at("norm"), residual); // [N, D]
      tap("hidden.final_norm", hidden);
      return { residual, hidden, routing };
    },
    head(hidden) {
      const tied = config.tieWordEmbeddings;
      const stored = weight(tied ? "model.embed_tokens.weight" : "lm_head.weight"); // [V, D]
      return head(root.at("lm_head"), stored, hidden); // [N, V]
    },
    mtp(depth, previous, nextIds, position = {}) {
      expectDepth(config, depth);
      const layer = config.numHiddenLayers + depth - 1;
      const sequence = root.declare(() => sequenceOf(b, config, nextIds, position));
      const embedded = embed(root.at("embed_tokens"), nextIds); // [N, D]
      const scope = root.at(`layers.${layer}`);
      const result = mtpModule(scope, layer, { previous, embedded }, sequence, form);
      const prefix = depth === 1 ? "mtp" : `mtp.${depth}`;
      tap(`${prefix}.eh_proj_output`, result.projected);
      tap(`${prefix}.final_norm`, result.hidden);
      return result;
    },
  };
}

/** Declares parameters by name, as they are stored: f32 unless told. */
function weightDeclarer(
  b: GraphBuilder,
  config: ModelConfig,
  formats: WeightFormats,
): (name: string) => Weight {
  const shapes = new Map(parameterTable(config).map(({ name, shape }) => [name, shape]));
  return (name) => {
    const shape = shapes.get(name);
    if (!shape)
      throw new AttributeError({
        what: `the configuration has no parameter ${name}`,
        where: b.path,
        hint: "Names are those of parameterTable(config).",
      });
    return declareWeight(b, { name, shape }, formats.get(name) ?? "f32", config);
  };
}

function expectDepth(config: ModelConfig, depth: number): void {
  if (!Number.isInteger(depth) || depth < 1 || depth > config.numNextnPredictLayers)
    throw new AttributeError({
      what: `there is no MTP module ${depth}, the model has ${config.numNextnPredictLayers}`,
      where: "createModel",
      hint: "Modules count from 1; set num_nextn_predict_layers.",
    });
}
