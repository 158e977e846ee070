/**
 * Builds a graph node by node. In: op applications. Out: an immutable `Graph`. Holds the scope path, so that each node,
 * and each error, says which layer it belongs to. There is no current builder: every tensor knows its own.
 */
import type { DType } from "../dtype.ts";
import { AttributeError, InternalError, MillraceError, ShapeError } from "../errors.ts";
import type { Graph, NamedValue, Node, ValueRef } from "../graph.ts";
import type { HostTensor } from "../host-tensor.ts";
import { hostTensor } from "../host-tensor.ts";
import type { AnyOp, Attributes } from "../op.ts";
import type { Dim, Shape, SizeSymbol, SymbolicDim, TensorType } from "../shape.ts";
import { formatDim, formatType, minDim, shapesEqual, size, symbolsOf } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { constantOp, inputOp, stateOp } from "./ops/leaf.ts";

class Handle implements Tensor {
  readonly builder: GraphBuilder;
  readonly ref: ValueRef;
  readonly type: TensorType;

  constructor(builder: GraphBuilder, ref: ValueRef, type: TensorType) {
    this.builder = builder;
    this.ref = ref;
    this.type = type;
  }

  get dtype(): DType {
    return this.type.dtype;
  }

  get shape(): Shape {
    return this.type.shape;
  }
}

export class GraphBuilder {
  readonly name: string;
  readonly #nodes: Node[] = [];
  readonly #sizes = new Map<string, SizeSymbol>();
  readonly #named = new Map<string, Tensor>();
  readonly #updates = new Map<string, NamedValue>();
  #scope = "";

  constructor(name: string) {
    this.name = name;
  }

  /** Declares a size that is fixed at run time, with inclusive bounds. */
  size(name: string, min: number, max: number): SymbolicDim {
    const dim = size(name, min, max);
    this.#register(dim);
    return dim;
  }

  /** A value passed to each run. */
  input(name: string, dtype: DType, shape: Shape): Tensor {
    return this.#leaf(inputOp, name, { dtype, shape });
  }

  /** A value that outlives a run, shared by all programs over one store: a parameter, a moment, a cache. */
  state(name: string, dtype: DType, shape: Shape): Tensor {
    return this.#leaf(stateOp, name, { dtype, shape });
  }

  /** A state that training updates; by another name because that is what a reader looks for. */
  parameter(name: string, dtype: DType, shape: Shape): Tensor {
    return this.state(name, dtype, shape);
  }

  constant(value: HostTensor): Tensor {
    return this.push(constantOp, [], {}, [{ dtype: value.dtype, shape: value.shape }], value)[0]!;
  }

  /** A constant without axes; it broadcasts against any shape. */
  scalar(value: number, dtype: DType = "f32"): Tensor {
    return this.constant(hostTensor(dtype, [], [value]));
  }

  /** After the run, the state holds `value`. A state has one update. */
  update(state: Tensor, value: Tensor): void {
    const node = this.nodeOf(state);
    const name = String(node.attrs["name"]);
    if (node.op !== stateOp)
      throw new AttributeError({
        what: `only a state can be updated, this is the result of ${node.op.name}`,
        where: this.#scope,
        hint: "Pass the tensor that b.state or b.parameter returned.",
      });
    if (this.#updates.has(name))
      throw new AttributeError({
        what: `state "${name}" is updated twice`,
        where: this.#scope,
        hint: "Compute one value from both and update once.",
      });
    if (value.dtype !== state.dtype || !shapesEqual(value.shape, state.shape))
      throw new ShapeError({
        what: `state "${name}" is ${formatType(state.type)}, its update ${formatType(value.type)}`,
        where: this.#scope,
        hint: "Convert or reshape the update.",
      });
    this.#updates.set(name, { name, value: value.ref });
  }

  /** Runs `body` with `name` appended to the path of everything declared inside. */
  scope<T>(name: string, body: () => T): T {
    const outer = this.#scope;
    return this.withPath(outer ? `${outer}.${name}` : name, body);
  }

  /** Runs `body` under exactly this path: for rewrites that keep a node's origin. */
  withPath<T>(path: string, body: () => T): T {
    const outer = this.#scope;
    this.#scope = path;
    try {
      return body();
    } catch (error) {
      // The innermost scope adds its path to what does not know its place.
      if (error instanceof MillraceError && error.details.where === undefined && path !== "")
        throw error.at(path);
      throw error;
    } finally {
      this.#scope = outer;
    }
  }

  get path(): string {
    return this.#scope;
  }

  /** Applies an op; errors of its `infer` get the scope path. */
  apply(op: AnyOp, inputs: readonly Tensor[], attrs: Attributes = {}): readonly Tensor[] {
    for (const input of inputs)
      if (input.builder !== this)
        throw new AttributeError({
          what: `an argument of ${op.name} belongs to graph "${input.builder.name}", not to "${this.name}"`,
          where: this.#scope,
          hint: "Combine tensors of one declare() only.",
        });
    return this.push(op, inputs, attrs, this.infer(op, inputs, attrs));
  }

  /** Output types of an op here, with the scope path in its errors. */
  infer(op: AnyOp, inputs: readonly Tensor[], attrs: Attributes): readonly TensorType[] {
    try {
      return op.infer(
        inputs.map((input) => input.type),
        attrs,
      );
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      throw error.at(this.#scope ? `${this.#scope} (${op.name})` : op.name);
    }
  }

  /** Appends a node whose types are known. */
  push(
    op: AnyOp,
    inputs: readonly Tensor[],
    attrs: Attributes,
    outputs: readonly TensorType[],
    value?: HostTensor,
  ): readonly Tensor[] {
    for (const { shape } of outputs)
      for (const dim of shape)
        if (typeof dim === "number" && !(Number.isSafeInteger(dim) && dim >= 0))
          throw new ShapeError({
            what: `the result would have the shape [${shape.map((other) => formatDim(other)).join(", ")}]`,
            where: this.#scope ? `${this.#scope} (${op.name})` : op.name,
            hint: "Sizes are whole numbers from 0 to 2^53 - 1; check those that were passed.",
          });
    const id = this.#nodes.length;
    this.#nodes.push({
      id,
      op,
      attrs,
      inputs: inputs.map((input) => input.ref),
      outputs,
      scope: this.#scope,
      ...(value && { value }),
    });
    for (const type of outputs) for (const dim of type.shape) this.#register(dim);
    return outputs.map((type, output) => new Handle(this, { node: id, output }, type));
  }

  nodeOf(tensor: Tensor): Node {
    const node = this.#nodes[tensor.ref.node];
    if (!node) throw new InternalError({ what: `no node ${tensor.ref.node} in "${this.name}"` });
    return node;
  }

  /** The tensor of a value of this builder. */
  tensor(ref: ValueRef): Tensor {
    return new Handle(this, ref, this.#nodes[ref.node]!.outputs[ref.output]!);
  }

  /** Nodes so far, in order. */
  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  finish(outputs: Readonly<Record<string, Tensor>>): Graph {
    return {
      name: this.name,
      sizes: [...this.#sizes.values()],
      nodes: [...this.#nodes],
      outputs: Object.entries(outputs).map(([name, { ref }]) => ({ name, value: ref })),
      updates: [...this.#updates.values()],
    };
  }

  #leaf(op: AnyOp, name: string, type: TensorType): Tensor {
    const key = `${op.name} ${name}`;
    const known = this.#named.get(key);
    if (known) {
      if (known.dtype === type.dtype && shapesEqual(known.shape, type.shape)) return known;
      throw new ShapeError({
        what: `${op.name} "${name}" is declared as ${formatType(known.type)} and as ${formatType(type)}`,
        where: this.#scope,
        hint: "Use one type, or two names.",
      });
    }
    for (const dim of type.shape)
      if (minDim(dim) < 0)
        throw new ShapeError({
          what: `${op.name} "${name}" of type ${formatType(type)} has a size that may be negative`,
          where: this.#scope,
          hint: "Raise the lower bound of the size symbol.",
        });
    const tensor = this.push(op, [], { name }, [type])[0]!;
    this.#named.set(key, tensor);
    return tensor;
  }

  #register(dim: Dim): void {
    for (const symbol of symbolsOf(dim)) {
      const known = this.#sizes.get(symbol.name);
      if (known && (known.min !== symbol.min || known.max !== symbol.max))
        throw new ShapeError({
          what: `size "${symbol.name}" has bounds ${known.min} to ${known.max} and ${symbol.min} to ${symbol.max}`,
          where: this.#scope,
          hint: "Declare a size once and pass it on.",
        });
      this.#sizes.set(symbol.name, symbol);
    }
  }
}

/** The builder of the first tensor among arguments. */
export function builderOf(...values: readonly unknown[]): GraphBuilder {
  for (const value of values) if (value instanceof Handle) return value.builder;
  throw new AttributeError({
    what: "no argument is a tensor",
    hint: "Make at least one with b.input, b.parameter or b.constant.",
  });
}
