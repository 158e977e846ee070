/**
 * Text of a grouped graph. In: groups. Out: for each its values from memory, the nodes computed inside and what it stores.
 * For reading only: groups are derived from the graph, so nothing parses them back.
 */
import type { Graph, ValueRef } from "../graph.ts";
import { typeOf, valueName } from "../graph.ts";
import { printNode } from "../print.ts";
import { formatType } from "../shape.ts";
import type { GroupedGraph } from "./group.ts";
import { inputsOf } from "./group.ts";

export function printGroups({ graph, groups }: GroupedGraph): string {
  const lines = groups.flatMap((group, i) => {
    const reads = inputsOf(graph, group).map((ref) => printRead(graph, ref));
    const title = group.alias ? "view" : group.hero === undefined ? "loop" : "hero";
    const hero = group.hero === undefined ? "" : ` ${graph.nodes[group.hero]!.op.name}`;
    return [
      `group ${i} ${title}${hero} reads ${reads.join(", ") || "nothing"} {`,
      ...group.nodes.map((id) => `  ${printNode(graph, graph.nodes[id]!)}`),
      "}",
    ];
  });
  return `${lines.join("\n")}\n`;
}

const printRead = (graph: Graph, ref: ValueRef): string =>
  `${valueName(graph, ref)}: ${formatType(typeOf(graph, ref))}`;
