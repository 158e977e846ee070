/**
 * Stage 2: reverse-mode differentiation. In: a scalar and the values it is differentiated by. Out: more nodes of the same
 * graph. One walk from the scalar backwards asks each op for its vjp; nodes that do not depend on a wanted value
 * are passed over. The result is made of ordinary ops and can be differentiated again.
 */
import { isFloat } from "../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../errors.ts";
import type { Graph, Node, ValueRef } from "../graph.ts";
import { leavesNamed, placeOf } from "../graph.ts";
import { formatType, shapesEqual } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { GraphBuilder } from "../declare/builder.ts";
import { Cotangents, zeros } from "./accumulate.ts";
import { Recomputed } from "./rematerialize.ts";

export interface GradientOptions {
  /** Scopes such as `layers.3` whose values the backward pass computes once more, so that memory does not hold them until then. */
  readonly recompute?: readonly string[];
}

/** Derivatives of the scalar `loss` by each of `wrt`, of their types; zeros where it does not depend on one. */
export function gradients(
  loss: Tensor,
  wrt: readonly Tensor[],
  { recompute = [] }: GradientOptions = {},
): Tensor[] {
  const b = loss.builder;
  if (!isFloat(loss.dtype))
    throw new DTypeError({
      what: `the loss is ${formatType(loss.type)}, expected a float`,
      where: b.path,
      hint: "Integers and bools have no derivative.",
    });
  if (loss.shape.length > 0)
    throw new ShapeError({
      what: `the loss is ${formatType(loss.type)}, expected no axes`,
      where: b.path,
      hint: "Sum or average it first.",
    });
  for (const x of wrt) {
    if (x.builder !== b)
      throw new AttributeError({
        what: `the loss belongs to graph "${b.name}", a value to differentiate by to "${x.builder.name}"`,
        where: b.path,
        hint: "Combine tensors of one declare() only.",
      });
    if (!isFloat(x.dtype))
      throw new DTypeError({
        what: `cannot differentiate by ${formatType(x.type)}`,
        where: b.path,
        hint: "Only floats have derivatives.",
      });
  }
  const forward = new Recomputed(b, recompute);
  return pullBack(b, forward, { outputs: [loss], cotangents: [b.scalar(1, loss.dtype)] }, wrt).map(
    (ct, i) => ct ?? zeros(b, wrt[i]!.type),
  );
}

/**
 * Adds outputs `grad.<name>`: the derivatives of output `loss` by the states or inputs of these names. Nodes keep
 * their places, so a value has the same name before and after.
 */
export function differentiate(graph: Graph, loss: string, wrt: readonly string[]): Graph {
  const b = new GraphBuilder(graph.name);
  for (const { name, min, max } of graph.sizes) b.size(name, min, max);
  for (const node of graph.nodes) {
    const inputs = node.inputs.map((ref) => b.tensor(ref));
    b.withPath(node.scope, () => b.push(node.op, inputs, node.attrs, node.outputs, node.value));
  }
  const states = leavesNamed(graph, "state");
  const leaf = (name: string): Tensor => {
    const found = [...states, ...leavesNamed(graph, "input")].filter((x) => x.name === name);
    if (found.length === 1) return b.tensor({ node: found[0]!.node, output: 0 });
    throw new AttributeError({
      what: `${found.length === 0 ? "no" : "both a"} state ${found.length === 0 ? "or" : "and an"} input is named "${name}"`,
      where: graph.name,
      hint: "Differentiate by a state or input with a name of its own.",
    });
  };
  const target = graph.outputs.find((output) => output.name === loss);
  if (!target)
    throw new AttributeError({
      what: `there is no output "${loss}"`,
      where: graph.name,
      hint: `Its outputs are: ${graph.outputs.map((output) => output.name).join(", ") || "none"}.`,
    });
  const results = gradients(b.tensor(target.value), wrt.map(leaf));
  const outputs = new Map(graph.outputs.map(({ name, value }) => [name, b.tensor(value)]));
  wrt.forEach((name, i) => {
    if (outputs.has(`grad.${name}`))
      throw new AttributeError({
        what: `there is an output "grad.${name}" already`,
        where: graph.name,
        hint: "Name each value once, or rename the output.",
      });
    outputs.set(`grad.${name}`, results[i]!);
  });
  for (const { name, value } of graph.updates) {
    const { node } = states.find((state) => state.name === name)!;
    b.update(b.tensor({ node, output: 0 }), b.tensor(value));
  }
  return b.finish(Object.fromEntries(outputs));
}

interface Pulled {
  readonly outputs: readonly Tensor[];
  readonly cotangents: readonly (Tensor | undefined)[];
}

/**
 * Cotangents of `sources`, given those of `outputs`. Only nodes from `first` on are walked: what comes before is
 * either a source or does not matter.
 */
function pullBack(
  b: GraphBuilder,
  forward: Recomputed,
  { outputs, cotangents }: Pulled,
  sources: readonly Tensor[],
  first = 0,
): readonly (Tensor | undefined)[] {
  const last = Math.max(...outputs.map(({ ref }) => ref.node));
  const matters = dependents(b, sources, first, last);
  const sums = new Cotangents();
  const add = (ref: ValueRef, part: Tensor | undefined): void => {
    if (part && matters(ref)) sums.add(ref, part);
  };
  outputs.forEach(({ ref }, i) => add(ref, cotangents[i]));
  for (let id = last; id >= first; id--) {
    const node = b.nodes[id]!;
    if (!node.inputs.some(matters)) continue;
    const given = node.outputs.map((_, output) => sums.total({ node: id, output }));
    if (given.every((ct) => ct === undefined)) continue;
    b.withPath(node.scope, () => {
      const parts = vjpOf(b, forward, node, given);
      node.inputs.forEach((ref, i) => add(ref, parts[i]));
    });
  }
  return sources.map(({ ref }) => sums.total(ref));
}

/** Tells whether a value is a source or computed from one, for nodes up to `last`. */
function dependents(
  b: GraphBuilder,
  sources: readonly Tensor[],
  first: number,
  last: number,
): (ref: ValueRef) => boolean {
  const wanted = new Set(sources.map(({ ref }) => `${ref.node}.${ref.output}`));
  const computed = new Set<number>();
  const matters = ({ node, output }: ValueRef): boolean =>
    computed.has(node) || wanted.has(`${node}.${output}`);
  for (let id = first; id <= last; id++) if (b.nodes[id]!.inputs.some(matters)) computed.add(id);
  return matters;
}

/** Cotangents of a node's inputs, checked. A composite without a vjp is declared again in parts and walked through. */
function vjpOf(
  b: GraphBuilder,
  forward: Recomputed,
  node: Node,
  cotangents: readonly (Tensor | undefined)[],
): readonly (Tensor | undefined)[] {
  const { op, attrs } = node;
  if (op.vjp === "none") return [];
  const inputs = node.inputs.map((ref) => forward.read(ref, node.scope));
  if (op.vjp) {
    const outputs = node.outputs.map((_, output) =>
      forward.read({ node: node.id, output }, node.scope),
    );
    const parts = op.vjp({ attrs, inputs, outputs, cotangents });
    parts.forEach((part, i) => checkCotangent(node, inputs[i], part, i));
    return parts;
  }
  if (op.body.class !== "composite") return [];
  const first = b.nodes.length;
  const outputs = op.body.decompose(inputs, attrs);
  return pullBack(b, forward, { outputs, cotangents }, inputs, first);
}

function checkCotangent(
  node: Node,
  input: Tensor | undefined,
  part: Tensor | undefined,
  position: number,
): void {
  if (!part || (input && !isFloat(input.dtype))) return;
  if (!input || part.dtype !== input.dtype || !shapesEqual(part.shape, input.shape))
    throw new ShapeError({
      what: `the vjp of ${node.op.name} gave ${formatType(part.type)} for input ${position}, which is ${input ? formatType(input.type) : "not there"}`,
      where: placeOf(node),
      hint: "A cotangent has the type of its input.",
    });
}
