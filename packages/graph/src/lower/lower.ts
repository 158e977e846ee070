/**
 * Stage 4. In: groups of nodes. Out: one kernel call per group, over values; views stay views. Switches on the class of the
 * hero; each family has one file, named like its ops.
 */
import type { GroupedGraph } from "../fuse/group.ts";
import type { Graph, ValueRef } from "../graph.ts";
import type { PrimitiveName } from "../op.ts";
import { lowerDotGeneral, lowerRaggedDot, lowerRaggedOuter } from "./contract.ts";
import { lowerElementwise } from "./elementwise.ts";
import { lowerScatterAdd } from "./gather.ts";
import type { Call } from "./group-body.ts";
import { GroupBody } from "./group-body.ts";
import { lowerRandomBits } from "./random.ts";
import { lowerCumulativeSum, lowerReduction } from "./reduce.ts";
import { lowerCountingSort, lowerSort, lowerTopK } from "./sort.ts";
import { lowerUpdateSlice } from "./state.ts";

/** `value` is `source` under another shape. */
export interface Alias {
  readonly value: ValueRef;
  readonly source: ValueRef;
}

export interface LoweredGraph {
  readonly graph: Graph;
  readonly calls: readonly Call[];
  readonly aliases: readonly Alias[];
}

const primitives: Record<PrimitiveName, (body: GroupBody) => Call> = {
  dot_general: lowerDotGeneral,
  ragged_dot: lowerRaggedDot,
  ragged_outer: lowerRaggedOuter,
  scatter_add: lowerScatterAdd,
  update_slice: lowerUpdateSlice,
  cumulative_sum: lowerCumulativeSum,
  top_k: lowerTopK,
  sort: lowerSort,
  counting_sort: lowerCountingSort,
  random_bits: lowerRandomBits,
};

export function lower(grouped: GroupedGraph): LoweredGraph {
  const calls: Call[] = [];
  const aliases: Alias[] = [];
  for (const group of grouped.groups) {
    if (group.alias) {
      const source = grouped.graph.nodes[group.root]!.inputs[0]!;
      aliases.push({ value: { node: group.root, output: 0 }, source });
      continue;
    }
    const body = new GroupBody(grouped, group);
    calls.push(lowerGroup(body));
  }
  return { graph: grouped.graph, calls, aliases };
}

function lowerGroup(body: GroupBody): Call {
  const { body: hero } = body.hero.op;
  if (hero.class === "reduction") return lowerReduction(body);
  if (hero.class === "primitive") return primitives[hero.primitive](body);
  return lowerElementwise(body);
}
