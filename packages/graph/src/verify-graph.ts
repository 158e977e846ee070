/**
 * What a legal graph is. In: a graph, from anywhere. Out: nothing, or an InternalError that prints the offending node. Nodes come in
 * order, have the types their op infers, and name what exists; whatever a pass does, these rules hold.
 */
import { InternalError, MillraceError } from "./errors.ts";
import type { Graph, NamedValue, Node, ValueRef } from "./graph.ts";
import { placeOf } from "./graph.ts";
import { elementCount, hostArray } from "./host-tensor.ts";
import type { HostTensor } from "./host-tensor.ts";
import { printNode } from "./print.ts";
import type { Dim, SizeSymbol, TensorType } from "./shape.ts";
import { formatDim, formatType, minDim, shapesEqual, symbolsOf } from "./shape.ts";

/** Throws an InternalError unless the graph is legal. */
export function verifyGraph(graph: Graph): void {
  const sizes = new Map<string, SizeSymbol>();
  for (const symbol of graph.sizes) {
    if (sizes.has(symbol.name)) violated(`size "${symbol.name}" is declared twice`, graph.name);
    sizes.set(symbol.name, symbol);
  }
  const leaves = new Map<string, Node>();
  graph.nodes.forEach((node, position) => {
    const wrong = (what: string, cause?: unknown): never =>
      violated(`${what}: ${printNode(graph, node)}`, placeOf(node), cause);
    if (node.id !== position) wrong(`node ${position} has id ${node.id}`);
    for (const { node: from, output } of node.inputs)
      if (!(from < position) || graph.nodes[from]?.outputs[output] === undefined)
        wrong(`%${from}.${output} is not computed before its use`);
    for (const type of node.outputs)
      for (const dim of type.shape) {
        const problem = dimProblem(dim, sizes);
        if (problem) wrong(problem);
      }
    if (node.op.body.class === "leaf") verifyLeaf(node, leaves, wrong);
    else verifyInferred(graph, node, wrong);
  });
  verifyOutputs(graph, leaves);
}

function violated(what: string, where: string, cause?: unknown): never {
  throw new InternalError({ what, where, cause });
}

/** What is wrong with the size of an axis, if anything. */
export function dimProblem(dim: Dim, sizes: ReadonlyMap<string, SizeSymbol>): string | undefined {
  if (typeof dim === "number" && !(Number.isSafeInteger(dim) && dim >= 0))
    return `${dim} is not a size`;
  return (
    symbolProblem(dim, sizes) ??
    (minDim(dim) < 0 ? `size ${formatDim(dim)} may be negative` : undefined)
  );
}

/** What is wrong with the symbols in a dimension, if anything. */
export function symbolProblem(
  dim: Dim,
  sizes: ReadonlyMap<string, SizeSymbol>,
): string | undefined {
  for (const { name, min, max } of symbolsOf(dim)) {
    const declared = sizes.get(name);
    if (!declared) return `size "${name}" is not declared`;
    if (declared.min !== min || declared.max !== max)
      return `size "${name}" has bounds ${min} to ${max}, declared are ${declared.min} to ${declared.max}`;
  }
  return undefined;
}

/** What is wrong with a constant of `type`, if anything. */
export function constantProblem(
  value: HostTensor | undefined,
  type: TensorType,
): string | undefined {
  if (!value) return "a constant has no elements";
  if (value.dtype !== type.dtype || !shapesEqual(value.shape, type.shape))
    return `a constant of ${value.dtype}[${value.shape.join(", ")}] is declared ${formatType(type)}`;
  if (
    value.data.length !== elementCount(value.shape) ||
    value.data.constructor !== hostArray(value.dtype, 0).constructor
  )
    return "a constant's array does not fit its type";
  return undefined;
}

type Wrong = (what: string, cause?: unknown) => never;

function verifyLeaf(node: Node, leaves: Map<string, Node>, wrong: Wrong): void {
  const type = node.outputs[0];
  if (!type || node.outputs.length !== 1 || node.inputs.length !== 0)
    return wrong("a leaf has one output and no input");
  if (node.op.name === "constant") {
    const problem = constantProblem(node.value, type);
    if (problem) wrong(problem);
    return;
  }
  const name = node.attrs["name"];
  if (typeof name !== "string") return wrong(`${node.op.name} has no name`);
  const key = `${node.op.name} ${name}`;
  if (leaves.has(key)) wrong(`${node.op.name} "${name}" is declared twice`);
  leaves.set(key, node);
}

function verifyInferred(graph: Graph, node: Node, wrong: Wrong): void {
  const inputs = node.inputs.map((ref) => graph.nodes[ref.node]!.outputs[ref.output]!);
  let inferred: readonly TensorType[];
  try {
    inferred = node.op.infer(inputs, node.attrs);
  } catch (error) {
    const reason = error instanceof MillraceError ? error.details.what : String(error);
    return wrong(`${node.op.name} refuses its inputs (${reason})`, error);
  }
  const same =
    inferred.length === node.outputs.length &&
    inferred.every((type, i) => typesEqual(type, node.outputs[i]!));
  if (!same) wrong(`${node.op.name} infers ${inferred.map(formatType).join(", ")}`);
}

export function typesEqual(a: TensorType, b: TensorType): boolean {
  return a.dtype === b.dtype && shapesEqual(a.shape, b.shape);
}

function verifyOutputs(graph: Graph, leaves: ReadonlyMap<string, Node>): void {
  const typeAt = ({ node, output }: ValueRef): TensorType | undefined =>
    graph.nodes[node]?.outputs[output];
  const unique = (kind: string, values: readonly NamedValue[]): void => {
    const names = new Set<string>();
    for (const { name, value } of values) {
      if (names.has(name)) violated(`${kind} "${name}" is declared twice`, graph.name);
      names.add(name);
      if (!typeAt(value))
        violated(`${kind} "${name}" is %${value.node}.${value.output}, not a value`, graph.name);
    }
  };
  unique("output", graph.outputs);
  unique("update", graph.updates);
  for (const { name, value } of graph.updates) {
    const state = leaves.get(`state ${name}`);
    if (!state) violated(`update of "${name}", which is no state`, graph.name);
    const type = typeAt(value)!;
    if (!typesEqual(type, state.outputs[0]!))
      violated(
        `state "${name}" is updated with ${formatType(type)}: ${printNode(graph, state)}`,
        graph.name,
      );
  }
}
