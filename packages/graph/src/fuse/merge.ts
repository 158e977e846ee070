/**
 * Joins loops over one shape into one kernel with several stores. In: groups in running order. Out: fewer, in running order: an
 * optimizer's moments and its parameter, or a norm's value kept for the backward pass and its scaled result, are read and
 * written once. One of them may be a product, whose sums the others then take as they are finished: an activation and its gradients.
 * A value that only its own kernel reads is no longer stored.
 */
import type { Capabilities } from "../capabilities.ts";
import type { Graph } from "../graph.ts";
import { shapesEqual } from "../shape.ts";
import { isProduct } from "./epilogue.ts";
import type { Group } from "./group.ts";
import { inputsOf } from "./group.ts";

/** A group while others are joined to it. */
interface Draft {
  readonly root: number;
  readonly group: Group;
  /** Whether all its values are computed element by element, if it is a product behind the sum. */
  readonly joins: boolean;
  product: number | undefined;
  nodes: Set<number>;
  stores: Set<number>;
  /** Drafts that read its values, and whose values it reads. */
  readonly readers: Set<Draft>;
  readonly sources: Set<Draft>;
  /** Its place in an order in which every draft stands behind its sources. */
  place: number;
}

export function mergeLoops(
  graph: Graph,
  groups: readonly Group[],
  { maxBuffersPerKernel }: Capabilities,
): readonly Group[] {
  const drafts = groups.map((group, place) => draftOf(graph, group, place));
  const order: (Draft | undefined)[] = [...drafts];
  const producer = new Map<number, Draft>();
  for (const draft of drafts) producer.set(draft.root, draft);
  for (const draft of drafts)
    for (const { node } of inputsOf(graph, draft.group)) {
      const source = producer.get(node);
      if (!source) continue;
      source.readers.add(draft);
      draft.sources.add(source);
    }
  const visible = new Set([...graph.outputs, ...graph.updates].map(({ value }) => value.node));
  const live = new Set(drafts);
  // From the end: what a reader has taken in may bring its own sources along.
  for (const reader of drafts.toReversed()) {
    if (!live.has(reader) || !reader.joins) continue;
    for (;;) {
      let between: ReadonlySet<Draft> | undefined;
      const source = [...reader.sources].find(
        (candidate) =>
          candidate.joins &&
          (reader.product === undefined || candidate.product === undefined) &&
          shapesEqual(shapeOf(graph, candidate), shapeOf(graph, reader)) &&
          readsInPlace(graph, reader, candidate.stores) &&
          buffersOf(graph, reader, candidate) <= maxBuffersPerKernel &&
          (between = readersBefore(candidate, reader)),
      );
      if (!source) break;
      moveBehind(order, source, reader, between!);
      absorb(graph, reader, source, visible);
      live.delete(source);
    }
  }
  return inOrder([...live]).map(finish);
}

function draftOf(graph: Graph, group: Group, place: number): Draft {
  const { root, hero } = group;
  const product = hero !== undefined && isProduct(graph.nodes[hero]!.op) ? hero : undefined;
  return {
    root,
    group,
    joins: product !== undefined || (hero === undefined && !group.alias),
    product,
    nodes: new Set(group.nodes),
    stores: new Set(group.stores),
    readers: new Set(),
    sources: new Set(),
    place,
  };
}

const finish = ({ group, product, nodes, stores }: Draft): Group => ({
  ...group,
  ...(product !== undefined && { hero: product }),
  nodes: [...nodes].toSorted((a, b) => a - b),
  stores: [...stores].toSorted((a, b) => a - b),
});

const shapeOf = (
  graph: Graph,
  { root }: Draft,
): (typeof graph.nodes)[number]["outputs"][number]["shape"] => graph.nodes[root]!.outputs[0]!.shape;

/** Every read of `values` inside the group is at the index of its stores. */
function readsInPlace(
  graph: Graph,
  { nodes, stores }: Draft,
  values: ReadonlySet<number>,
): boolean {
  const inPlace = new Set<number>();
  const visit = (id: number): void => {
    if (inPlace.has(id)) return;
    inPlace.add(id);
    const node = graph.nodes[id]!;
    if (nodes.has(id) && node.op.body.class === "elementwise")
      for (const input of node.inputs) visit(input.node);
  };
  for (const id of stores) visit(id);
  for (const id of nodes)
    for (const input of graph.nodes[id]!.inputs)
      if (values.has(input.node) && !(inPlace.has(id) && isElementwise(graph, id))) return false;
  return true;
}

const isElementwise = (graph: Graph, id: number): boolean =>
  graph.nodes[id]!.op.body.class === "elementwise";

function buffersOf(graph: Graph, a: Draft, b: Draft): number {
  const nodes = new Set([...a.nodes, ...b.nodes]);
  const reads = new Set<string>();
  for (const id of nodes)
    for (const { node, output } of graph.nodes[id]!.inputs)
      // A constant of one element is written into the kernel.
      if (!nodes.has(node) && graph.nodes[node]!.value?.data.length !== 1)
        reads.add(`${node}.${output}`);
  return reads.size + a.stores.size + b.stores.size;
}

/**
 * All that depends on `from` and stands before `to`; undefined if `to` needs one of them, so that the two cannot run as one. What stands
 * behind `to` is not looked at: `to` cannot depend on it.
 */
function readersBefore(from: Draft, to: Draft): ReadonlySet<Draft> | undefined {
  const found = new Set<Draft>();
  const pending = [from];
  for (const draft of pending)
    for (const reader of draft.readers) {
      if (reader === to && draft !== from) return undefined;
      if (reader.place >= to.place || found.has(reader)) continue;
      found.add(reader);
      pending.push(reader);
    }
  return found;
}

/** Before `reader` takes `source` in: what depends on `source` and stands between the two moves behind `reader`. */
function moveBehind(
  order: (Draft | undefined)[],
  source: Draft,
  reader: Draft,
  between: ReadonlySet<Draft>,
): void {
  const stretch = order
    .slice(source.place + 1, reader.place + 1)
    .filter((draft) => draft !== undefined);
  const moved = [
    ...stretch.filter((draft) => !between.has(draft)),
    ...stretch.filter((draft) => between.has(draft)),
  ];
  for (let at = source.place, i = 0, end = reader.place; at <= end; at++, i++) {
    const draft = moved[i];
    order[at] = draft;
    if (draft) draft.place = at;
  }
}

function absorb(graph: Graph, reader: Draft, source: Draft, visible: ReadonlySet<number>): void {
  source.readers.delete(reader);
  reader.sources.delete(source);
  for (const other of source.readers) {
    other.sources.delete(source);
    other.sources.add(reader);
    reader.readers.add(other);
  }
  for (const other of source.sources) {
    other.readers.delete(source);
    other.readers.add(reader);
    reader.sources.add(other);
  }
  reader.product ??= source.product;
  for (const id of source.nodes) reader.nodes.add(id);
  const read = valuesRead(graph, source.readers);
  for (const id of source.stores) if (read.has(id) || visible.has(id)) reader.stores.add(id);
}

function valuesRead(graph: Graph, readers: ReadonlySet<Draft>): ReadonlySet<number> {
  const values = new Set<number>();
  for (const { nodes } of readers)
    for (const id of nodes) for (const { node } of graph.nodes[id]!.inputs) values.add(node);
  return values;
}

/** Sources before readers, otherwise by position of the root. */
function inOrder(drafts: readonly Draft[]): readonly Draft[] {
  const done = new Set<Draft>();
  const result: Draft[] = [];
  const visit = (draft: Draft): void => {
    if (done.has(draft)) return;
    done.add(draft);
    for (const source of [...draft.sources].toSorted((a, b) => a.root - b.root)) visit(source);
    result.push(draft);
  };
  for (const draft of [...drafts].toSorted((a, b) => a.root - b.root)) visit(draft);
  return result;
}
