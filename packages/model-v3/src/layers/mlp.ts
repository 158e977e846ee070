/**
 * The dense feed-forward layer: down(silu(gate(x)) · up(x)). In: x [N, D]. Out: [N, D]. Copy this file for a layer of your
 * own: a function of a scope and tensors that returns a tensor. The scope names parameters (`<path>.gate_proj.weight`) and
 * nodes, picks the product of the model's precision, and the graph derives the backward pass. Source: arXiv 2002.05202.
 */
import { swiglu } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import type { LayerScope } from "./layer-scope.ts";
import { linear } from "./linear.ts";

/** Feed-forward of width I with the scope's `gate_proj`, `up_proj` [I, D] and `down_proj` [D, I]. */
export function mlp(scope: LayerScope, x: Tensor): Tensor {
  return scope.declare(() => {
    const gate = linear(scope.at("gate_proj"), x); // [N, I]
    const up = linear(scope.at("up_proj"), x); // [N, I]
    return linear(scope.at("down_proj"), swiglu(gate, up)); // [N, D]
  });
}
