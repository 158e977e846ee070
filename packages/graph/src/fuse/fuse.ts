/**
 * Stage 3. In: a declared, maybe differentiated graph. Out: groups of nodes, each to become a kernel. Decomposes
 * composites but for those that the device takes whole, simplifies, shares equal nodes, groups, then merges loops over one shape.
 */
import type { Capabilities } from "../capabilities.ts";
import type { Graph } from "../graph.ts";
import { wholeKernels } from "./claim.ts";
import { decompose } from "./decompose.ts";
import type { GroupedGraph } from "./group.ts";
import { group } from "./group.ts";
import { mergeLoops } from "./merge.ts";
import type { Application, Rule } from "./rewrite.ts";
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
  const keeps = ({ op, inputs, attrs }: Application): boolean => {
    const types = inputs.map(({ type }) => type);
    return join && wholeKernels(op, types, attrs, capabilities) !== undefined;
  };
  const rules = [...passes, decompose(keeps), ...(join ? simplify : [])];
  const rewritten = rewrite(graph, rules);
  const groups = group(rewritten, { fuse: join, codes: capabilities.multipliedAs ?? [] });
  return {
    graph: rewritten,
    groups: join ? mergeLoops(rewritten, groups, capabilities) : groups,
    arrayBytes: capabilities.arrayBytes,
  };
}
