/**
 * A graph: nodes in an order in which every input comes before its use (a node's id is its position). Immutable. Every
 * value has a type; every node has the scope path it was declared under. Effects are explicit: `updates` says which
 * value each state holds after a run.
 */
import type { HostTensor } from "./host-tensor.ts";
import type { AnyOp, Attributes } from "./op.ts";
import type { SizeSymbol, TensorType } from "./shape.ts";

/** Output `output` of node `node`. */
export interface ValueRef {
  readonly node: number;
  readonly output: number;
}

export interface Node {
  readonly id: number;
  readonly op: AnyOp;
  readonly attrs: Attributes;
  readonly inputs: readonly ValueRef[];
  readonly outputs: readonly TensorType[];
  /** Path such as `layers.3.self_attn.q_a_proj`; empty at the top. */
  readonly scope: string;
  /** The elements of a constant. */
  readonly value?: HostTensor;
}

export interface NamedValue {
  readonly name: string;
  readonly value: ValueRef;
}

export interface Graph {
  readonly name: string;
  readonly sizes: readonly SizeSymbol[];
  readonly nodes: readonly Node[];
  readonly outputs: readonly NamedValue[];
  /** After a run, state `name` holds `value`. All updates take effect together, after every read. */
  readonly updates: readonly NamedValue[];
}

/** `%12` or, for a node of several outputs, `%12.1`. */
export function valueName(graph: Graph, { node, output }: ValueRef): string {
  return graph.nodes[node]!.outputs.length > 1 ? `%${node}.${output}` : `%${node}`;
}

export function typeOf(graph: Graph, { node, output }: ValueRef): TensorType {
  return graph.nodes[node]!.outputs[output]!;
}

/** Where a node was declared, for errors: its scope path and op. */
export function placeOf(node: Node): string {
  return node.scope ? `${node.scope} (${node.op.name})` : node.op.name;
}

/** Inputs and states, by name. */
export function leavesNamed(
  graph: Graph,
  op: "input" | "state",
): { readonly name: string; readonly type: TensorType; readonly node: number }[] {
  return graph.nodes
    .filter((node) => node.op.name === op)
    .map((node) => ({
      name: String(node.attrs["name"]),
      type: node.outputs[0]!,
      node: node.id,
    }));
}
