/**
 * Stage 3. In: a declared, maybe differentiated graph. Out: groups of nodes, each to become one kernel. Decomposes
 * composites, simplifies, shares equal nodes, then groups.
 */
import type { Graph } from "../graph.ts";
import { decompose } from "./decompose.ts";
import type { GroupedGraph } from "./group.ts";
import { group } from "./group.ts";
import type { Rule } from "./rewrite.ts";
import { rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

export interface FuseOptions {
  /** `false` gives every node a kernel of its own, to compare with. */
  readonly fuse?: boolean;
  /** Rules of the caller's, tried before ours. */
  readonly passes?: readonly Rule[];
}

export function fuse(graph: Graph, { fuse: join = true, passes = [] }: FuseOptions = {}): GroupedGraph {
  const rules = join ? [...passes, decompose, ...simplify] : [...passes, decompose];
  return group(rewrite(graph, rules), { fuse: join });
}
