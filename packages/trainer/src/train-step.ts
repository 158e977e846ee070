/**
 * The whole optimizer step as one graph. In: a configuration and the sizes of a batch. Out: forward pass, losses, backward pass,
 * clipping, AdamW and the routers' bias update over the states of the parameters; the host only feeds tokens, the learning
 * rate and the number of the step. `declareEvaluation` is the forward half over the same states. Knows no data and no files.
 */
import {
  add,
  declare,
  gradients,
  type Graph,
  type GraphBuilder,
  mul,
  reshape,
  slice,
  type Tensor,
} from "@millrace/graph";
import {
  createModel,
  type ModelConfig,
  parameterTable,
  type ParameterSpec,
  type Precision,
  type Routing,
} from "@millrace/model-v3";

import { updatedBias } from "./balance/bias-update.ts";
import { mtpLoss } from "./loss/mtp.ts";
import { nextTokenLoss } from "./loss/next-token.ts";
import { type BalanceLoss, balanceLoss } from "./loss/sequence-balance.ts";
import { adamW, type AdamWOptions, defaultAdamW } from "./optimizer/adamw.ts";
import { clipByGlobalNorm } from "./optimizer/clip.ts";

export interface TrainStepOptions {
  /** Sequences per step. */
  readonly batch: number;
  /** Tokens per sequence that are inputs; each row of `input_ids` has one more, the last label. */
  readonly sequenceLength: number;
  /** What the linear layers compute in; "f32" unless told. */
  readonly precision?: Precision | undefined;
  /** λ, the weight of the MTP loss; 0.3 unless told. */
  readonly mtpLossWeight?: number | undefined;
  /** γ of loss-free balancing; 0.001 unless told, 0 leaves the bias alone. */
  readonly biasUpdateSpeed?: number | undefined;
  /** Norm that gradients are clipped to; 1 unless told. */
  readonly maxGradNorm?: number | undefined;
  readonly adamW?: AdamWOptions | undefined;
  /**
   * How many layers, from the first on and MTP modules included, the backward pass computes once more instead of keeping what is
   * inside them; 0 unless told. See `fitTrainStep`.
   */
  readonly recomputedLayers?: number | undefined;
  /**
   * Also give, as outputs: `logits`, `mtp.logits` (of the first module), `grad.<parameter>` before clipping, `bias.layers.<i>` as
   * this step used it, `balance.layers.<i>.f`, `.P` and `.loss`, and `grad_balance.<gate weight>` of the balance loss alone.
   */
  readonly taps?: boolean | undefined;
}

/** Everything the forward pass gives. */
interface Losses {
  readonly main: Tensor;
  readonly mtp: Tensor | undefined;
  /** Sum over the layers; undefined in a dense model. */
  readonly balance: Tensor | undefined;
  readonly total: Tensor;
  readonly routing: readonly Routing[];
  readonly balanceLosses: readonly BalanceLoss[];
  readonly logits: Tensor;
  readonly mtpLogits: readonly Tensor[];
  parameter(name: string): Tensor;
}

type Outputs = Record<string, Tensor>;

/**
 * One step. Inputs: `input_ids` i32 [B, T + 1], `learning_rate` f32 [], `step` i32 [] from 1. Outputs: `loss`, `total_loss`,
 * `grad_norm`, with modules `mtp_loss`, with routed experts `balance_loss` and `load.layers.<i>` i32 [E]. States: the
 * parameters, and `adam.m.<name>`, `adam.v.<name>` for each one that is trained.
 */
export function declareTrainStep(config: ModelConfig, options: TrainStepOptions): Graph {
  return declare("train_step", (b) => {
    const learningRate = b.input("learning_rate", "f32", []);
    const step = b.input("step", "i32", []);
    const losses = declareLosses(b, config, options);
    const specs = parameterTable(config);
    const trained = specs.filter((spec) => spec.trainable);
    const parameters = trained.map(({ name }) => losses.parameter(name));
    const recompute = Array.from(
      { length: options.recomputedLayers ?? 0 },
      (_, i) => `layers.${i}`,
    );
    const grads = gradients(losses.total, parameters, { recompute });
    const clipping = b.scope("clip", () => clipByGlobalNorm(grads, options.maxGradNorm ?? 1));
    b.scope("optimizer", () => {
      const optimizer = adamW(b, learningRate, step, options.adamW ?? defaultAdamW);
      trained.forEach(({ name }, i) => {
        const clipped = mul(grads[i]!, clipping.factor);
        b.scope(name, () => optimizer.update(name, parameters[i]!, clipped));
      });
    });
    if (config.balance === "loss_free")
      b.scope("balance", () => updateBiases(b, specs, losses, options.biasUpdateSpeed ?? 0.001));
    return {
      ...measured(losses),
      grad_norm: clipping.norm,
      ...(options.taps ? taps(config, options, specs, losses, grads) : {}),
    };
  });
}

/**
 * The losses alone, to be measured on held-out text. Input `input_ids` i32 [B, T + 1]; outputs as in `declareTrainStep`, without
 * `grad_norm`. Nothing is updated.
 */
export function declareEvaluation(
  config: ModelConfig,
  options: Pick<TrainStepOptions, "batch" | "sequenceLength" | "precision">,
): Graph {
  return declare("evaluation", (b) => measured(declareLosses(b, config, options)));
}

function declareLosses(b: GraphBuilder, config: ModelConfig, options: TrainStepOptions): Losses {
  const { batch, sequenceLength, precision = "f32", mtpLossWeight = 0.3 } = options;
  const tokens = b.input("input_ids", "i32", [batch, sequenceLength + 1]);
  const model = createModel(b, config, { precision });
  const inputs = slice(tokens, 1, 0, sequenceLength);
  const forward = model.forward(inputs, {});
  const logits = model.head(forward.hidden); // [N, V]
  const main = b.scope("loss", () => nextTokenLoss(logits, tokens));
  const mtp = mtpLoss(model, config, forward, tokens);
  const routing = [...forward.routing, ...(mtp?.routing ?? [])];
  const balanceLosses = b.scope("balance", () =>
    routing.map((layer) => balanceLoss(layer, config, batch)),
  );
  const balance =
    balanceLosses.length > 0
      ? balanceLosses.map(({ loss }) => loss).reduce((x, y) => add(x, y))
      : undefined;
  let total = main;
  if (mtp) total = add(total, mul(mtp.loss, mtpLossWeight));
  if (balance) total = add(total, balance);
  return {
    main,
    mtp: mtp?.loss,
    balance,
    total,
    routing,
    balanceLosses,
    logits,
    mtpLogits: mtp?.logits ?? [],
    parameter: (name) => model.parameter(name),
  };
}

function measured({ main, mtp, balance, total, routing }: Losses): Outputs {
  return {
    loss: main,
    ...(mtp && { mtp_loss: mtp }),
    ...(balance && { balance_loss: balance }),
    total_loss: total,
    ...Object.fromEntries(routing.map(({ layer, load }) => [`load.layers.${layer}`, load])),
  };
}

/** The router bias of each layer that has one, with the layer's routing. */
function biases(
  specs: readonly ParameterSpec[],
  losses: Losses,
): readonly { readonly routing: Routing; readonly bias: Tensor }[] {
  return specs
    .filter(({ role }) => role === "router_bias")
    .map(({ name, layer }) => ({
      routing: losses.routing.find((routing) => routing.layer === layer)!,
      bias: losses.parameter(name),
    }));
}

function updateBiases(
  b: GraphBuilder,
  specs: readonly ParameterSpec[],
  losses: Losses,
  speed: number,
): void {
  if (speed === 0) return;
  for (const { routing, bias } of biases(specs, losses))
    b.update(bias, updatedBias(bias, routing.load, speed));
}

function taps(
  config: ModelConfig,
  { batch }: TrainStepOptions,
  specs: readonly ParameterSpec[],
  losses: Losses,
  grads: readonly Tensor[],
): Outputs {
  const outputs: Outputs = {};
  const perToken = (logits: Tensor): Tensor =>
    reshape(logits, [batch, (logits.shape[0] as number) / batch, config.vocabSize]);
  outputs["logits"] = perToken(losses.logits);
  if (losses.mtpLogits[0]) outputs["mtp.logits"] = perToken(losses.mtpLogits[0]);
  specs
    .filter((spec) => spec.trainable)
    .forEach(({ name }, i) => (outputs[`grad.${name}`] = grads[i]!));
  for (const { routing, bias } of biases(specs, losses))
    outputs[`bias.layers.${routing.layer}`] = bias;
  for (const { layer, f, p, loss } of losses.balanceLosses) {
    outputs[`balance.layers.${layer}.f`] = f;
    outputs[`balance.layers.${layer}.P`] = p;
    outputs[`balance.layers.${layer}.loss`] = reshape(loss, [1]);
  }
  const gates = specs.filter(({ role }) => role === "router");
  if (losses.balance)
    gradients(
      losses.balance,
      gates.map(({ name }) => losses.parameter(name)),
    ).forEach((gradient, i) => (outputs[`grad_balance.${gates[i]!.name}`] = gradient));
  return outputs;
}
