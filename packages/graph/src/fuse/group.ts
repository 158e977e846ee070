/**
 * Decides which nodes share a kernel. In: a graph whose composites are those kept whole. Out: groups in running order; every value that
 * crosses a group border is stored in memory, every other is computed where it is read.
 *
 * A group has at most one *hero* (a reduction, a primitive or a composite). Elementwise and movement nodes join their readers (prologue)
 * or, after a hero, its result (epilogue). Three things stop a node from being computed by its readers: they are in several
 * groups and it costs more than a load; the reader repeats elements (broadcast, product); the reader must see memory.
 */
import type { DType } from "../dtype.ts";
import type { Graph, Node, ValueRef } from "../graph.ts";
import { typeOf } from "../graph.ts";
import type { PrimitiveName } from "../op.ts";
import { maxDim, shapeSize } from "../shape.ts";
import { elementCost } from "./cost.ts";
import type { Use } from "./epilogue.ts";
import { absorbEpilogues, epilogueMembers, isFinishedWithProduct, isProduct } from "./epilogue.ts";

export interface Group {
  /** The last node: what the group computes is its outputs. Groups run in the order of their roots. */
  readonly root: number;
  /** The reduction, primitive or composite, if there is one. */
  readonly hero?: number;
  /** Nodes computed inside, hero and root included, ascending. */
  readonly nodes: readonly number[];
  /** Nodes whose values go to memory: the root, and with merged loops others of its shape. */
  readonly stores: readonly number[];
  /** A view: the root's elements are those of its input, in memory already. */
  readonly alias?: true;
}

export interface GroupedGraph {
  readonly graph: Graph;
  readonly groups: readonly Group[];
  /** Bytes of arrays that a kernel may have. */
  readonly arrayBytes: number;
}

/** Cost from which a value is stored rather than computed by several readers. */
const sharedCost = 3;
/** Cost from which an operand of a product is stored: products read their operands more than once. */
const productCost = 5;
/** Cost from which an input of a composite is stored: its kernels read it in every block that needs it, so only index maps are free. */
const wholeCost = 1;

/** Operands that a primitive reads through an expression; others must be in memory. */
const inlineOperands: Record<PrimitiveName, readonly number[]> = {
  dot_general: [0, 1],
  ragged_dot: [0, 1],
  ragged_outer: [0, 1],
  scatter_add: [1],
  update_slice: [1],
  cumulative_sum: [0],
  top_k: [],
  sort: [],
  counting_sort: [],
  random_bits: [],
};

/** Narrow integers are multiplied as they are on every device. */
const integerCodes: readonly DType[] = ["i8", "i16"];

export interface GroupOptions {
  /** With `false` every node is a group of its own. */
  readonly fuse: boolean;
  /** Dtypes that are stored where values are rounded to them, beside narrow integers. */
  readonly codes?: readonly DType[];
}

const isInlineable = ({ op }: Node): boolean =>
  op.body.class === "elementwise" || op.body.class === "movement";

const isAlias = ({ op }: Node): boolean => op.body.class === "movement" && op.body.alias === true;

/** Groups in running order. */
export function group(graph: Graph, options: GroupOptions): readonly Group[] {
  const uses = usesOf(graph);
  const stored = new Set<number>();
  for (const { value } of [...graph.outputs, ...graph.updates]) stored.add(value.node);
  const heroOf = new Map<number, number>();
  const continued = new Set<number>();
  if (options.fuse) {
    const epilogues = absorbEpilogues(graph, uses, stored);
    for (const [hero, root] of epilogues) {
      heroOf.set(root, hero);
      continued.add(hero);
    }
    for (const [, root] of epilogues) stored.add(root);
    const codes = new Set([...integerCodes, ...(options.codes ?? [])]);
    storeWhereNeeded(graph, uses, { stored, codes }, epilogues);
  } else for (const node of graph.nodes) stored.add(node.id);

  const groups: Group[] = [];
  for (const node of graph.nodes) {
    if (node.op.body.class === "leaf") continue;
    const isRoot = isInlineable(node) ? stored.has(node.id) : !continued.has(node.id);
    if (!isRoot) continue;
    const hero = heroOf.get(node.id) ?? (isInlineable(node) ? undefined : node.id);
    if (hero === undefined && isAlias(node)) {
      groups.push({ root: node.id, nodes: [node.id], stores: [node.id], alias: true });
      continue;
    }
    groups.push({
      root: node.id,
      ...(hero !== undefined && { hero }),
      nodes: membersOf(graph, node, hero, stored),
      stores: [node.id],
    });
  }
  return groups;
}

function usesOf(graph: Graph): readonly (readonly Use[])[] {
  const uses: Use[][] = graph.nodes.map(() => []);
  for (const node of graph.nodes)
    node.inputs.forEach((ref, operand) => uses[ref.node]!.push({ node, operand }));
  return uses;
}

/**
 * Adds to `stored` the inlineable nodes that must be in memory. Backwards first, because a node's readers decide; there the
 * cost of a value is that of all that could be computed along with it. Forwards then, where it is known what is not: what
 * turns out to be cheap is released again.
 */
function storeWhereNeeded(
  graph: Graph,
  uses: readonly (readonly Use[])[],
  { stored, codes }: { readonly stored: Set<number>; readonly codes: ReadonlySet<DType> },
  epilogues: ReadonlyMap<number, number>,
): void {
  const forced = new Set(stored);
  const heroes = new Set(epilogues.keys());
  const inEpilogue = epilogueMembers(uses, epilogues);
  const self = graph.nodes.map((node) => (isInlineable(node) ? elementCost(graph, node) : 0));
  const totalOf = (node: Node, totals: readonly number[]): number =>
    node.inputs.reduce((sum, { node: input }) => {
      const inside = isInlineable(graph.nodes[input]!) && !stored.has(input);
      return sum + (inside ? totals[input]! : 0);
    }, self[node.id]!);
  const needsMemory = (node: Node, roots: ReadonlySet<number>, total: number): boolean => {
    // Codes are rounded once: reading them back costs less than the division.
    const isCode = node.op.body.class === "elementwise" && codes.has(node.outputs[0]!.dtype);
    if (isCode && total >= sharedCost) return true;
    const isMove = node.op.body.class === "movement" && self[node.id]! < sharedCost;
    if (roots.size > 1 && total >= sharedCost && !(isMove && !carries(graph, node, stored)))
      return true;
    if (uses[node.id]!.some((use) => mustStore(graph, use, total))) return true;
    return (
      uses[node.id]!.some(({ node: reader }) => isProduct(reader.op)) &&
      isFinishedWithProduct(graph, node)
    );
  };
  // What a view shows is in memory, too.
  const store = (node: Node): void => {
    stored.add(node.id);
    if (isAlias(node)) store(graph.nodes[node.inputs[0]!.node]!);
  };
  // Whether a view of it must be in memory, even where the value is computed for `total`.
  const isViewed = (node: Node, total: number): boolean =>
    uses[node.id]!.some(
      ({ node: view }) =>
        isAlias(view) &&
        stored.has(view.id) &&
        (forced.has(view.id) ||
          needsMemory(view, readBy[view.id]!, total) ||
          isViewed(view, total)),
    );
  // Roots of the groups that read a node.
  const readBy: ReadonlySet<number>[] = [];
  const rootsOf: ReadonlySet<number>[] = [];

  const largest: number[] = [];
  for (const node of graph.nodes) largest.push(totalOf(node, largest));
  for (const node of graph.nodes.toReversed()) {
    const roots = new Set<number>();
    for (const use of uses[node.id]!) for (const root of rootsOf[use.node.id]!) roots.add(root);
    readBy[node.id] = roots;
    if (isInlineable(node) && !inEpilogue.has(node.id)) {
      if (stored.has(node.id) || needsMemory(node, roots, largest[node.id]!)) store(node);
    }
    const joins = heroes.has(node.id) || (isInlineable(node) && !stored.has(node.id));
    rootsOf[node.id] = joins ? roots : new Set([node.id]);
  }

  const exact: number[] = [];
  for (const node of graph.nodes) {
    const total = totalOf(node, exact);
    exact.push(total);
    if (!stored.has(node.id) || !isInlineable(node) || forced.has(node.id)) continue;
    stored.delete(node.id);
    if (isViewed(node, total) || needsMemory(node, readBy[node.id]!, total)) store(node);
  }
}

/** Whether a movement moves what is computed, not what is in memory, and has no more elements than that. */
function carries(graph: Graph, node: Node, stored: ReadonlySet<number>): boolean {
  const size = ({ outputs }: Node): number => maxDim(shapeSize(outputs[0]!.shape));
  for (let source: Node | undefined = node; ;) {
    source = graph.nodes[source.inputs[0]?.node ?? -1];
    if (!source || !isInlineable(source) || stored.has(source.id)) return false;
    if (source.op.body.class !== "movement") return size(node) <= size(source);
  }
}

/** Whether this use needs the value in memory. */
function mustStore(graph: Graph, { node, operand }: Use, cost: number): boolean {
  const { body } = node.op;
  switch (body.class) {
    case "elementwise":
    case "reduction":
      return false;
    case "movement": {
      const from = maxDim(shapeSize(typeOf(graph, node.inputs[operand]!).shape));
      const to = maxDim(shapeSize(node.outputs[0]!.shape));
      const repeats = to > from && node.inputs.length === 1;
      // Each branch of a choice is compiled more than once, so keep branches small.
      const limit = node.inputs.length > 1 ? 2 * sharedCost : sharedCost;
      return (repeats || node.inputs.length > 1) && cost >= limit;
    }
    case "primitive":
      return (
        !inlineOperands[body.primitive].includes(operand) ||
        (isProduct(node.op) && cost >= productCost)
      );
    case "composite":
      return cost >= wholeCost;
    case "leaf":
      return true;
  }
}

/** Nodes computed in the group of `root`: walks back until memory. */
function membersOf(
  graph: Graph,
  root: Node,
  hero: number | undefined,
  stored: ReadonlySet<number>,
): readonly number[] {
  const members = new Set<number>();
  const visit = (id: number): void => {
    const node = graph.nodes[id]!;
    if (members.has(id) || node.op.body.class === "leaf") return;
    const inside = id === root.id || id === hero || (isInlineable(node) && !stored.has(id));
    if (!inside) return;
    members.add(id);
    for (const { node: input } of node.inputs) visit(input);
  };
  visit(root.id);
  return [...members].toSorted((a, b) => a - b);
}

/** Values a group reads from memory. */
export function inputsOf(graph: Graph, { nodes }: Group): readonly ValueRef[] {
  const inside = new Set(nodes);
  const seen = new Map<string, ValueRef>();
  for (const id of nodes)
    for (const ref of graph.nodes[id]!.inputs)
      if (!inside.has(ref.node)) seen.set(`${ref.node}.${ref.output}`, ref);
  return [...seen.values()];
}
