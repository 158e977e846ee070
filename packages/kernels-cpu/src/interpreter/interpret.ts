/**
 * The first oracle: runs a declared graph node by node, before any pass has touched it. In: a graph and values. Out: its
 * outputs and the states after it. `stored` precision rounds every node's result to its dtype; sums and products inside a
 * node are added up in doubles and rounded once, which is the most exact answer there is, so backends are compared with it
 * by a tolerance. `f64` rounds no float anywhere, so that finite differences work. Composites are decomposed.
 */
import type { Graph, HostTensor, Node, Tensor, TensorType } from "@millrace/graph";
import {
  GraphBuilder,
  InputError,
  InternalError,
  bindShapes,
  elementCount,
  evaluateDim,
  formatType,
  inputOp,
  leavesNamed,
  placeOf,
  typeOf,
} from "@millrace/graph";
import { evaluateElementwise, evaluateMovement, evaluateReduction } from "./evaluate-node.ts";
import type { NodeContext } from "./evaluate-node.ts";
import { evaluatePrimitive } from "./evaluate-primitive.ts";
import type { ConcreteType, InterpreterValue } from "./value.ts";
import { toHostTensor, toInterpreterValue, zeros } from "./value.ts";

/** Rounded to every node's dtype, or not at all. */
export type Precision = "stored" | "f64";

/** A value to start from; doubles may stand for any dtype. */
export type InterpreterInput = HostTensor | InterpreterValue;

export interface InterpretOptions {
  /** States before the run; zeros where none is given. */
  readonly states?: Readonly<Record<string, InterpreterInput>>;
  /** Sizes that no input's shape determines. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** "stored" by default. */
  readonly precision?: Precision;
}

/** Outputs, and every state of the graph after its update. */
export interface InterpretResult<V> {
  readonly outputs: Record<string, V>;
  readonly states: Record<string, V>;
}

type Inputs = Readonly<Record<string, InterpreterInput>>;

/** Runs a graph as it was declared. In `f64` precision results are doubles, otherwise host tensors. */
export function interpret(
  graph: Graph,
  inputs: Inputs,
  options: InterpretOptions & { readonly precision: "f64" },
): InterpretResult<InterpreterValue>;
export function interpret(
  graph: Graph,
  inputs: Inputs,
  options?: InterpretOptions & { readonly precision?: "stored" },
): InterpretResult<HostTensor>;
export function interpret(
  graph: Graph,
  inputs: Inputs,
  options: InterpretOptions = {},
): InterpretResult<InterpreterValue> | InterpretResult<HostTensor> {
  const exact = options.precision === "f64";
  const sizes = bind(graph, inputs, options);
  const leaves = new Map<number, InterpreterValue>();
  for (const { name, type, node } of leavesNamed(graph, "input"))
    leaves.set(node, taken(`input "${name}"`, inputs[name]!, concrete(type, sizes), exact));
  const states = leavesNamed(graph, "state");
  for (const { name, type, node } of states) {
    const given = options.states?.[name];
    const sized = concrete(type, sizes);
    leaves.set(node, given ? taken(`state "${name}"`, given, sized, exact) : zeros(sized));
  }
  const wanted = [...graph.outputs, ...graph.updates].map(({ value }) => value.node);
  const values = evaluateGraph(graph, leaves, sizes, exact, new Set([...wanted, ...leaves.keys()]));
  const valueOf = (ref: { node: number; output: number }): InterpreterValue =>
    values[ref.node]![ref.output]!;
  const updates = new Map(graph.updates.map(({ name, value }) => [name, value]));
  const named = <V>(out: (value: InterpreterValue) => V): InterpretResult<V> => ({
    outputs: Object.fromEntries(
      graph.outputs.map(({ name, value }) => [name, out(valueOf(value))]),
    ),
    states: Object.fromEntries(
      states.map(({ name, node }) => [
        name,
        out(valueOf(updates.get(name) ?? { node, output: 0 })),
      ]),
    ),
  });
  return exact ? named((value) => value) : named(toHostTensor);
}

/** Values of the sizes; refuses inputs in the words of all backends. */
function bind(graph: Graph, inputs: Inputs, options: InterpretOptions): Map<string, number> {
  const edges = leavesNamed(graph, "input").map(({ name, type }) => ({ name, type, buffer: 0 }));
  const unused = { outputs: [], states: [], buffers: [], kernels: [], steps: [], arenaBytes: 0 };
  const program = { name: graph.name, sizes: graph.sizes, inputs: edges, ...unused };
  // Only dtype, shape and, for i64, elements are looked at; doubles are none of those.
  return bindShapes(program, inputs as Readonly<Record<string, HostTensor>>, options.sizes);
}

function concrete({ dtype, shape }: TensorType, sizes: ReadonlyMap<string, number>): ConcreteType {
  return { dtype, shape: shape.map((dim) => evaluateDim(dim, sizes)) };
}

function taken(
  what: string,
  value: InterpreterInput,
  type: ConcreteType,
  exact: boolean,
): InterpreterValue {
  if (
    value.dtype !== type.dtype ||
    value.shape.join() !== type.shape.join() ||
    value.data.length !== elementCount(type.shape)
  )
    throw new InputError({
      what: `${what} is ${formatType(value)} of ${value.data.length} elements, expected ${formatType(type)}`,
      hint: "Pass a value of the declared type.",
    });
  return toInterpreterValue(value, exact);
}

/** Evaluates every node; forgets a value after its last use unless it is in `kept`. */
function evaluateGraph(
  graph: Graph,
  leaves: ReadonlyMap<number, InterpreterValue>,
  sizes: ReadonlyMap<string, number>,
  exact: boolean,
  kept: ReadonlySet<number>,
): readonly (readonly InterpreterValue[] | undefined)[] {
  const lastUse = new Map<number, number>();
  for (const { id, inputs } of graph.nodes) for (const { node } of inputs) lastUse.set(node, id);
  const values: (readonly InterpreterValue[] | undefined)[] = [];
  for (const node of graph.nodes) {
    const { id } = node;
    const context: NodeContext = {
      node,
      inputTypes: node.inputs.map((ref) => typeOf(graph, ref)),
      inputs: node.inputs.map((ref) => values[ref.node]![ref.output]!),
      outputs: node.outputs.map((type) => concrete(type, sizes)),
      sizes,
      exact,
      where: `${graph.name}: ${placeOf(node)}`,
    };
    const leaf = leaves.get(id);
    values[id] = leaf ? [leaf] : evaluateNode(graph, context);
    for (const ref of node.inputs)
      if (lastUse.get(ref.node) === id && !kept.has(ref.node)) values[ref.node] = undefined;
  }
  return values;
}

function evaluateNode(graph: Graph, context: NodeContext): readonly InterpreterValue[] {
  const { node, where, exact } = context;
  const { body } = node.op;
  switch (body.class) {
    case "elementwise":
      return [evaluateElementwise(body, context)];
    case "movement":
      return [evaluateMovement(body, context)];
    case "reduction":
      return [evaluateReduction(body, context)];
    case "primitive":
      return evaluatePrimitive(body.primitive, context);
    case "composite":
      return evaluateComposite(graph, context, body.decompose);
    case "leaf":
      if (!node.value) throw new InternalError({ what: "a leaf has no value", where });
      return [toInterpreterValue(node.value, exact)];
  }
}

/** Declares the decomposition as a graph of its own, with the node's inputs as its inputs, and runs that. */
function evaluateComposite(
  graph: Graph,
  { node, inputTypes, inputs, sizes, exact, where }: NodeContext,
  decompose: (inputs: readonly Tensor[], attrs: Node["attrs"]) => readonly Tensor[],
): readonly InterpreterValue[] {
  const builder = new GraphBuilder(graph.name);
  const parts = builder.withPath(node.scope, () => {
    const tensors = inputTypes.map(
      (type, i) => builder.push(inputOp, [], { name: String(i) }, [type])[0]!,
    );
    return decompose(tensors, node.attrs);
  });
  node.outputs.forEach((type, i) => {
    const part = parts[i];
    if (!part || formatType(part.type) !== formatType(type))
      throw new InternalError({
        what: `output ${i} of the decomposition is ${part ? formatType(part.type) : "missing"}, declared ${formatType(type)}`,
        where,
      });
  });
  const inner = builder.finish({});
  const leaves = new Map(inputs.map((value, i) => [i, value]));
  const kept = new Set(parts.map(({ ref }) => ref.node));
  const values = evaluateGraph(inner, leaves, sizes, exact, kept);
  return parts.map(({ ref }) => values[ref.node]![ref.output]!);
}
