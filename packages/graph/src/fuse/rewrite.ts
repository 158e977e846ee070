/**
 * Rebuilds a graph through a builder that rewrites as it goes. In: a graph and named rules. Out: a graph in which no rule
 * applies, equal nodes are one node, and nothing is dead. A rule sees one application of an op on values that are already
 * rewritten; what it builds goes through the rules again.
 */
import { GraphBuilder } from "../declare/builder.ts";
import { constantOp, inputOp, stateOp } from "../declare/ops/leaf.ts";
import type { Graph, Node, ValueRef } from "../graph.ts";
import type { HostTensor } from "../host-tensor.ts";
import type { AnyOp, Attributes } from "../op.ts";
import type { TensorType } from "../shape.ts";
import { formatType } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { formatAttribute, formatElements } from "../text.ts";

/** One application of an op, as a rule sees it. */
export interface Application {
  readonly op: AnyOp;
  readonly inputs: readonly Tensor[];
  readonly attrs: Attributes;
  /** The node that computes an input. */
  readonly source: (input: Tensor) => Node;
}

export interface Rule {
  readonly name: string;
  /** What to use instead, or undefined where the rule does not apply. */
  readonly apply: (application: Application) => readonly Tensor[] | undefined;
}

/** A builder that applies rules and shares equal nodes. */
class RewritingBuilder extends GraphBuilder {
  readonly #rules: readonly Rule[];
  readonly #shared = new Map<string, readonly Tensor[]>();
  readonly #opIds = new Map<AnyOp, number>();

  constructor(name: string, rules: readonly Rule[]) {
    super(name);
    this.#rules = rules;
  }

  override apply(op: AnyOp, inputs: readonly Tensor[], attrs: Attributes = {}): readonly Tensor[] {
    for (const rule of this.#rules) {
      const application = { op, inputs, attrs, source: (x: Tensor): Node => this.nodeOf(x) };
      const replaced = rule.apply(application);
      if (replaced) return replaced;
    }
    return super.apply(op, inputs, attrs);
  }

  override push(
    op: AnyOp,
    inputs: readonly Tensor[],
    attrs: Attributes,
    outputs: readonly TensorType[],
    value?: HostTensor,
  ): readonly Tensor[] {
    if (value && value.data.length > 16) return super.push(op, inputs, attrs, outputs, value);
    // The text keeps what JSON would not: infinities, NaN, the sign of zero; and the order of keys does not matter.
    const key = [
      this.#idOf(op),
      ...inputs.map(({ ref }) => `${ref.node}.${ref.output}`),
      formatAttribute(attrs),
      value ? `${formatType(outputs[0]!)} ${formatElements(value)}` : "",
    ].join(" ");
    const known = this.#shared.get(key);
    if (known) return known;
    const tensors = super.push(op, inputs, attrs, outputs, value);
    this.#shared.set(key, tensors);
    return tensors;
  }

  #idOf(op: AnyOp): number {
    const id = this.#opIds.get(op) ?? this.#opIds.size;
    this.#opIds.set(op, id);
    return id;
  }
}

/** Applies the rules everywhere, merges equal nodes and drops dead ones. */
export function rewrite(graph: Graph, rules: readonly Rule[]): Graph {
  const builder = new RewritingBuilder(graph.name, rules);
  const values = new Map<number, readonly Tensor[]>();
  const valueOf = ({ node, output }: ValueRef): Tensor => values.get(node)![output]!;
  const states = new Map<string, Tensor>();
  for (const node of graph.nodes) {
    const made = builder.withPath(node.scope, () => copyNode(builder, node, valueOf));
    values.set(node.id, made);
    if (node.op === stateOp) states.set(String(node.attrs["name"]), made[0]!);
  }
  for (const { name, value } of graph.updates) builder.update(states.get(name)!, valueOf(value));
  const outputs = graph.outputs.map(({ name, value }) => [name, valueOf(value)]);
  const rebuilt = builder.finish(Object.fromEntries(outputs) as Record<string, Tensor>);
  return removeDead({ ...rebuilt, sizes: graph.sizes });
}

function copyNode(
  builder: GraphBuilder,
  node: Node,
  valueOf: (ref: ValueRef) => Tensor,
): readonly Tensor[] {
  const { op, attrs } = node;
  const name = String(attrs["name"]);
  if (op === constantOp) return [builder.constant(node.value!)];
  const type = node.outputs[0]!;
  if (op === inputOp) return [builder.input(name, type.dtype, type.shape)];
  if (op === stateOp) return [builder.state(name, type.dtype, type.shape)];
  return builder.apply(op, node.inputs.map(valueOf), attrs);
}

/** Keeps what outputs and updates need, and every input and updated state, so that the interface stays. */
export function removeDead(graph: Graph): Graph {
  const live = new Set<number>();
  const updated = new Set(graph.updates.map(({ name }) => name));
  for (const { value } of [...graph.outputs, ...graph.updates]) live.add(value.node);
  for (const node of graph.nodes)
    if (node.op === inputOp || (node.op === stateOp && updated.has(String(node.attrs["name"]))))
      live.add(node.id);
  // Nodes stand after their inputs, so one sweep backwards sees every reader first, however deep the graph.
  for (const { id, inputs } of graph.nodes.toReversed())
    if (live.has(id)) for (const { node } of inputs) live.add(node);
  const renumbered = new Map<number, number>();
  const nodes: Node[] = [];
  const move = ({ node, output }: ValueRef): ValueRef => ({ node: renumbered.get(node)!, output });
  for (const node of graph.nodes) {
    if (!live.has(node.id)) continue;
    renumbered.set(node.id, nodes.length);
    nodes.push({ ...node, id: nodes.length, inputs: node.inputs.map(move) });
  }
  return {
    ...graph,
    nodes,
    outputs: graph.outputs.map(({ name, value }) => ({ name, value: move(value) })),
    updates: graph.updates.map(({ name, value }) => ({ name, value: move(value) })),
  };
}
