/**
 * What is computed where a hero's result is finished. In: a graph, and which nodes read which. Out: chains of elementwise nodes behind
 * reductions and products, and which other values had better be computed there than by their readers.
 */
import type { Graph, Node } from "../graph.ts";
import type { AnyOp } from "../op.ts";
import { shapesEqual } from "../shape.ts";

/** One operand of one node. */
export interface Use {
  readonly node: Node;
  readonly operand: number;
}

const products: ReadonlySet<string> = new Set(["dot_general", "ragged_dot", "ragged_outer"]);

/** Whether it is a matrix product: what reads its result in place can be computed as the sums are finished. */
export const isProduct = ({ body }: AnyOp): boolean =>
  body.class === "primitive" && products.has(body.primitive);

/** hero → root of its epilogue: a chain of elementwise nodes, each the only reader of the one before. */
export function absorbEpilogues(
  graph: Graph,
  uses: readonly (readonly Use[])[],
  stored: ReadonlySet<number>,
): Map<number, number> {
  const rootOf = new Map<number, number>();
  const taken = new Set<number>();
  for (const hero of graph.nodes.toReversed()) {
    if (hero.op.body.class !== "reduction" && !isProduct(hero.op)) continue;
    const type = hero.outputs[0]!;
    let last = hero;
    for (;;) {
      const readers = new Set(uses[last.id]!.map((use) => use.node));
      const [next] = readers;
      if (
        readers.size !== 1 ||
        !next ||
        stored.has(last.id) ||
        taken.has(next.id) ||
        next.op.body.class !== "elementwise" ||
        !shapesEqual(next.outputs[0]!.shape, type.shape)
      )
        break;
      taken.add(next.id);
      last = next;
    }
    if (last !== hero) rootOf.set(hero.id, last.id);
  }
  return rootOf;
}

/** The nodes between a hero and the root of its epilogue, hero and root excluded. */
export function epilogueMembers(
  uses: readonly (readonly Use[])[],
  epilogues: ReadonlyMap<number, number>,
): ReadonlySet<number> {
  const members = new Set<number>();
  for (const [hero, root] of epilogues)
    for (let at = uses[hero]![0]!.node.id; at !== root; at = uses[at]![0]!.node.id) members.add(at);
  return members;
}

/** What is made of more has a pass of its own; nobody follows a residual stream through all layers to find that out. */
const MOST_INPUTS = 8;

/**
 * Whether a value is made of a product's result and others in memory, all read in place, and could be stored as the product's sums
 * are finished: that takes no pass of its own, and who reads the value reads one stream of memory instead of several. Not so if
 * one of the others needs the whole result first, as a norm does.
 */
export function isFinishedWithProduct({ nodes }: Graph, value: Node): boolean {
  const streams = new Set<number>();
  const inputs = new Set<number>();
  const visited = { inPlace: new Set<number>(), moved: new Set<number>() };
  const visit = (id: number, how: keyof typeof visited): void => {
    if (visited[how].has(id) || inputs.size > MOST_INPUTS) return;
    visited[how].add(id);
    const { op, inputs: from } = nodes[id]!;
    const { class: kind } = op.body;
    if (kind === "elementwise") for (const { node } of from) visit(node, how);
    else if (kind === "movement") for (const { node } of from) visit(node, "moved");
    else {
      inputs.add(id);
      if (how === "inPlace") streams.add(id);
    }
  };
  visit(value.id, "inPlace");
  const last = Math.max(...[...streams].filter((id) => isProduct(nodes[id]!.op)));
  return (
    inputs.size <= MOST_INPUTS &&
    streams.size > 1 &&
    last >= 0 &&
    ![...inputs].some((id) => id !== last && needs(nodes, id, last))
  );
}

/** Whether `from` is computed of `what`; nodes stand after their inputs. */
function needs(nodes: readonly Node[], from: number, what: number): boolean {
  const pending = [from];
  const seen = new Set(pending);
  for (const id of pending)
    for (const { node } of nodes[id]!.inputs) {
      if (node === what) return true;
      if (node < what || seen.has(node)) continue;
      seen.add(node);
      pending.push(node);
    }
  return false;
}
