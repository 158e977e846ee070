/**
 * Stage 3. In: a declared, maybe differentiated graph. Out: groups of nodes, each to become one kernel. Decomposes
 * composites, simplifies, shares equal nodes, groups, then merges loops over one shape.
 */
import type { Capabilities } from "../capabilities.ts";
import type { Graph } from "../graph.ts";
import { decompose } from "./decompose.ts";
import type { GroupedGraph } from "./group.ts";
import { group } from "./group.ts";
import { mergeLoops } from "./merge.ts";
import type { Rule } from "./rewrite.ts";
import { rewrite } from "./rewrite.ts";
import { simplify } from "./simplify.ts";

export interface FuseOptions {
  /** `false` gives every node a kernel of its own, to compare with. */
  readonly fuse?: boolean;
  /** Rules of the caller's, tried before ours. */
  readonly passes?: readonly Rule[];
}

export function fuse(
  graph: Graph,
  capabilities: Capabilities,
  { fuse: join = true, passes = [] }: FuseOptions = {},
): GroupedGraph {
  const rules = join ? [...passes, decompose, ...simplify] : [...passes, decompose];
  const rewritten = rewrite(graph, rules);
  const groups = group(rewritten, { fuse: join });
  return { graph: rewritten, groups: join ? mergeLoops(rewritten, groups, capabilities) : groups };
}
