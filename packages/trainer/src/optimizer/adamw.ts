/**
 * AdamW. In: a parameter, its gradient, the learning rate and the number of the step. Out: updates of the parameter
 * and its two moments, which are states beside it. Decay is decoupled and applies to every parameter, norms and embedding too;
 * moments are corrected for starting at zero. Source: arXiv 1711.05101, with the parameters of arXiv 2412.19437 §4.2.
 */
import {
  add,
  convert,
  div,
  exp,
  type GraphBuilder,
  mul,
  sqrt,
  sub,
  type Tensor,
} from "@millrace/graph";

export interface AdamWOptions {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
}

export const defaultAdamW: AdamWOptions = {
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0.1,
};

/** Names of the two moments of a parameter. */
export function momentNames(parameter: string): readonly [first: string, second: string] {
  return [`adam.m.${parameter}`, `adam.v.${parameter}`];
}

/** Applies steps of one optimizer; what all parameters share is declared once. */
export interface AdamW {
  /** Declares the updates of `parameter`, a state of this name. */
  update(name: string, parameter: Tensor, gradient: Tensor): void;
}

/** `learningRate` f32 [] and `step` i32 [], counted from 1. */
export function adamW(
  b: GraphBuilder,
  learningRate: Tensor,
  step: Tensor,
  { beta1, beta2, epsilon, weightDecay }: AdamWOptions,
): AdamW {
  const t = convert(step, "f32");
  const power = (beta: number): Tensor => exp(mul(t, Math.log(beta)));
  const stepSize = div(learningRate, sub(1, power(beta1)));
  const scale2 = div(1, sqrt(sub(1, power(beta2))));
  const kept = sub(1, mul(learningRate, weightDecay));
  return {
    update(name, parameter, gradient) {
      const [firstName, secondName] = momentNames(name);
      const first = b.state(firstName, "f32", parameter.shape);
      const second = b.state(secondName, "f32", parameter.shape);
      const m = add(mul(first, beta1), mul(gradient, 1 - beta1));
      const v = add(mul(second, beta2), mul(mul(gradient, gradient), 1 - beta2));
      const denominator = add(mul(sqrt(v), scale2), epsilon);
      b.update(first, m);
      b.update(second, v);
      b.update(parameter, sub(mul(parameter, kept), mul(div(m, denominator), stepSize)));
    },
  };
}
