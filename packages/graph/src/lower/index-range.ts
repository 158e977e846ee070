/**
 * Which indices are known to lie within bounds. In: a graph and one of its values. Out: a bound that every element is below, none being
 * negative; nothing where that depends on what comes in. Positions that an order gives are known, so what is read there needs
 * no guard.
 */
import type { Graph, ValueRef } from "../graph.ts";
import type { Dim } from "../shape.ts";
import { addDims, minDim, subtractDims } from "../shape.ts";

/** Every element is at least 0 and less than this. */
export function boundOf(graph: Graph, ref: ValueRef): Dim | undefined {
  const { op, inputs, attrs } = graph.nodes[ref.node]!;
  const { body } = op;
  if (body.class === "movement" && body.alias) return boundOf(graph, inputs[0]!);
  if (body.class !== "primitive") return undefined;
  const source = inputs[0] && graph.nodes[inputs[0].node]!.outputs[inputs[0].output]!;
  switch (body.primitive) {
    case "top_k":
    case "sort":
      return ref.output === 1 ? source!.shape.at(-1) : undefined;
    case "counting_sort": {
      // A key that belongs to no group has no place, and leaves one empty.
      const keys = boundOf(graph, inputs[0]!);
      if (keys === undefined || !isWithin(keys, attrs["groups"] as number)) return undefined;
      const rows = source!.shape[0]!;
      return ref.output < 2 ? rows : addDims(rows, 1);
    }
    default:
      return undefined;
  }
}

/** Whether what is below `bound` is below `size`, for every value of the sizes. */
export function isWithin(bound: Dim, size: Dim): boolean {
  return minDim(subtractDims(size, bound)) >= 0;
}
