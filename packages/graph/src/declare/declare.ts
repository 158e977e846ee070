/**
 * Stage 1. In: a function of a builder. Out: the graph of what it declared. Nothing is computed.
 */
import type { Graph } from "../graph.ts";
import type { Tensor } from "../tensor.ts";
import { GraphBuilder } from "./builder.ts";

/**
 * Declares a graph; the names of the returned tensors become the names of its outputs.
 *
 * @example
 * const graph = declare("double", (b) => ({ y: mul(b.input("x", "f32", [4]), 2) }));
 */
export function declare(
  name: string,
  body: (b: GraphBuilder) => Readonly<Record<string, Tensor>>,
): Graph {
  const builder = new GraphBuilder(name);
  return builder.finish(body(builder));
}
