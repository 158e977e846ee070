/**
 * Which experts a token goes to, and with what weight. In: scores f32 [..., E]. Out: indices i32 [..., K] by descending
 * biased score, and weights. The bias chooses, never weighs. Experts of dropped groups are at minus infinity, not at 0
 * as in the Hugging Face port: with negative biased scores zero would win. Sources: arXiv 2412.19437 §2.1.2, 2405.04434.
 */
import { AttributeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import { dimsEqual, formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo, sum } from "../ops/broadcast.ts";
import { add, convert, div, eq, gt, mul, select } from "../ops/elementwise.ts";
import { iota, takeAlongAxis } from "../ops/gather.ts";
import { reshape } from "../ops/movement.ts";
import { max } from "../ops/reduce.ts";
import { topK } from "../ops/sort.ts";

/** How a group is rated: by its two largest scores together (V3) or by its largest (V2). */
export type GroupScore = "top2_sum" | "max";

type RoutingAttributes = {
  readonly nGroup: number;
  readonly topkGroup: number;
  readonly k: number;
  readonly groupScore: GroupScore;
};

export interface GroupLimitedTopKOptions {
  /** Experts are cut into this many consecutive groups; 1 (the default) means no groups. */
  readonly nGroup?: number;
  /** Groups that stay. */
  readonly topkGroup?: number;
  /** Experts per token. */
  readonly k: number;
  readonly groupScore?: GroupScore;
}

/** Scores with those of dropped groups at minus infinity. */
function keepBestGroups(choice: Tensor, attrs: RoutingAttributes): Tensor {
  const { nGroup, topkGroup, groupScore } = attrs;
  const rows = choice.shape.slice(0, -1);
  const size = (choice.shape.at(-1) as number) / nGroup;
  const groups = reshape(choice, [...rows, nGroup, size]);
  const last = rows.length + 1;
  const rating =
    groupScore === "max" ? max(groups, [last]) : sum(topK(groups, Math.min(2, size))[0], [last]);
  const best = topK(rating, topkGroup)[1]; // [..., topkGroup]
  // kept[g] = some best[j] is g, by comparison: no scatter.
  const pairs = [...rows, nGroup, topkGroup];
  const group = broadcastTo(iota(choice.builder, "i32", [nGroup], 0), pairs, [rows.length]);
  const chosen = broadcastTo(best, pairs, [...rows.map((_, axis) => axis), last]);
  const kept = gt(sum(convert(eq(group, chosen), "i32"), [last]), 0); // [..., nGroup]
  const mask = broadcastTo(
    kept,
    groups.shape,
    kept.shape.map((_, axis) => axis),
  );
  return reshape(select(mask, groups, Number.NEGATIVE_INFINITY), choice.shape);
}

export const groupLimitedTopKOp: OpDefinition<RoutingAttributes> = defineOp({
  name: "group_limited_top_k",
  infer: (inputs, { nGroup, topkGroup, k }) => {
    expectInputs(inputs, inputs.length === 2 ? 2 : 1);
    const [scores, bias] = inputs;
    const experts = scores!.shape.at(-1);
    for (const input of inputs) expectDType(input, ["f32"], "scores and bias");
    if (typeof experts !== "number")
      throw new ShapeError({
        what: `scores are ${formatType(scores!)}`,
        hint: "The number of experts, the last axis, must be fixed.",
      });
    if (bias && (bias.shape.length !== 1 || !dimsEqual(bias.shape[0]!, experts)))
      throw new ShapeError({
        what: `the bias is ${formatType(bias)} for ${experts} experts`,
        hint: "Give one bias for each expert.",
      });
    const whole = [nGroup, topkGroup, k].every((n) => Number.isInteger(n) && n >= 1);
    if (!whole || experts % nGroup !== 0 || topkGroup > nGroup)
      throw new AttributeError({
        what: `nGroup ${nGroup}, topkGroup ${topkGroup} and k ${k} do not fit ${experts} experts`,
        hint: "nGroup must divide the number of experts and be at least topkGroup.",
      });
    if (k > (experts / nGroup) * topkGroup)
      throw new AttributeError({
        what: `${k} experts per token out of ${(experts / nGroup) * topkGroup} in ${topkGroup} groups`,
        hint: "Lower k or raise topkGroup.",
      });
    return [{ dtype: "i32", shape: [...scores!.shape.slice(0, -1), k] }];
  },
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([scores, bias], attrs) => {
      const choice = bias ? add(scores!, bias) : scores!;
      const kept = attrs.topkGroup < attrs.nGroup ? keepBestGroups(choice, attrs) : choice;
      return [topK(kept, attrs.k)[1]];
    },
  },
});

/** Indices i32 [..., k] of the largest `scores` [..., E] plus `bias` [E] within the best groups. */
export function groupLimitedTopK(
  scores: Tensor,
  bias: Tensor | undefined,
  { k, nGroup = 1, topkGroup = nGroup, groupScore = "top2_sum" }: GroupLimitedTopKOptions,
): Tensor {
  const inputs = bias ? [scores, bias] : [scores];
  return applyOne(groupLimitedTopKOp, inputs, { nGroup, topkGroup, k, groupScore });
}

export interface RoutingWeightOptions {
  /** Divide by the sum over the chosen experts. */
  readonly normTopkProb: boolean;
  readonly routedScalingFactor: number;
}

/** Weights f32 [..., K] of the experts `indices`: their scores without bias, normalised if asked, times the factor. */
export function routingWeights(
  scores: Tensor,
  indices: Tensor,
  { normTopkProb, routedScalingFactor }: RoutingWeightOptions,
): Tensor {
  const picked = takeAlongAxis(scores, indices, scores.shape.length - 1);
  let weights = picked;
  if (normTopkProb) {
    const last = picked.shape.length - 1;
    const total = add(sum(picked, [last]), 1e-20);
    const kept = total.shape.map((_, axis) => axis);
    weights = div(picked, broadcastTo(total, picked.shape, kept));
  }
  return routedScalingFactor === 1 ? weights : mul(weights, routedScalingFactor);
}
