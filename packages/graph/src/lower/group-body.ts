/**
 * What each value of a group is, as an expression. In: a group and an index. Out: expressions over loads of memory, the
 * hero's result and axes; the kernel's buffers are collected on the way. This is where fusion happens: reading an input
 * inside the group continues into the input's own body, composing index maps.
 */
import { isFloat } from "../dtype.ts";
import { InternalError } from "../errors.ts";
import type { Expr } from "../expression.ts";
import {
  apply,
  axis,
  literal,
  load,
  local,
  round,
  scalarType,
  sizeOf,
  wrap,
} from "../expression.ts";
import type { GroupedGraph, Group } from "../fuse/group.ts";
import type { Graph, Node, ValueRef } from "../graph.ts";
import { placeOf, typeOf } from "../graph.ts";
import { loadElement } from "../host-tensor.ts";
import type { Kernel, KernelBuffer, Range, Statement } from "../kernel.ts";
import type { Dim, Shape, TensorType } from "../shape.ts";
import { multiplyDims } from "../shape.ts";
import { simplify } from "./index-map.ts";
import { boundOf, isWithin } from "./index-range.ts";
import type { Names } from "./share.ts";
import { Interner, share } from "./share.ts";

/** A kernel and the values bound to its buffers. */
export interface Call {
  readonly kernel: Kernel;
  /** `values[i]` is bound to the kernel's buffer i. */
  readonly values: readonly ValueRef[];
  readonly label: string;
  /** Buffer 0 starts as this value: it is updated in place or copied first. */
  readonly initial?: ValueRef;
}

export class GroupBody {
  readonly graph: Graph;
  readonly group: Group;
  readonly names: Names = { next: 0 };
  readonly #inside: ReadonlySet<number>;
  readonly #buffers: (KernelBuffer & { readonly value: ValueRef })[] = [];
  readonly #interner = new Interner();
  readonly #values = new Map<string, Expr>();
  #hero: { readonly index: readonly Expr[]; readonly value: Expr } | undefined;

  constructor({ graph }: GroupedGraph, group: Group) {
    this.graph = graph;
    this.group = group;
    this.#inside = new Set(group.nodes);
  }

  get root(): Node {
    return this.graph.nodes[this.group.root]!;
  }

  /** The reduction, primitive or composite. */
  get hero(): Node {
    return this.graph.nodes[this.group.hero ?? this.group.root]!;
  }

  inputType(operand: number): TensorType {
    return typeOf(this.graph, this.hero.inputs[operand]!);
  }

  /** Declares a buffer for a value, once per value and access. */
  buffer(value: ValueRef, access: KernelBuffer["access"]): string {
    const known = this.#buffers.find(
      (b) => b.value.node === value.node && b.value.output === value.output && b.access === access,
    );
    if (known) return known.name;
    const { dtype, shape } = typeOf(this.graph, value);
    const name = `b${this.#buffers.length}`;
    this.#buffers.push({ name, dtype, shape, access, value });
    return name;
  }

  /** The result of the hero at `index`, for the nodes behind it. */
  setHero(index: readonly Expr[], value: Expr): void {
    const { dtype } = this.hero.outputs[0]!;
    this.#hero = { index, value: isFloat(dtype) ? round(value, dtype) : value };
    this.#values.clear();
  }

  /** An input of the hero at an index. */
  operand(i: number, index: readonly Expr[]): Expr {
    return this.value(this.hero.inputs[i]!, index);
  }

  /** A value at an index: computed here if it is inside the group, else loaded. */
  value(ref: ValueRef, index: readonly Expr[]): Expr {
    const at = index.map(simplify);
    const key = `${ref.node}.${ref.output}@${at.map((i) => this.#interner.idOf(i)).join(",")}`;
    const known = this.#values.get(key);
    if (known) return known;
    const value = this.#compute(ref, at);
    this.#values.set(key, value);
    return value;
  }

  /** `let`s of what occurs more than once, and the simplified expressions. */
  share(exprs: readonly Expr[]): { lets: readonly Statement[]; exprs: readonly Expr[] } {
    return share(exprs.map(simplify), this.names);
  }

  /** An element of one of the hero's outputs, as it is stored. */
  output(
    output: number,
    index: readonly Expr[],
    access: "write" | "update",
  ): Expr & { readonly kind: "load" } {
    const ref = { node: this.hero.id, output };
    const { dtype } = typeOf(this.graph, ref);
    const type = scalarType(dtype);
    return { kind: "load", type, buffer: this.buffer(ref, access), index: index.map(simplify) };
  }

  /** Stores an element of one of the hero's outputs, rounded to its dtype. */
  store(
    output: number,
    index: readonly Expr[],
    value: Expr,
    access: "write" | "update",
  ): Statement {
    const { buffer, index: at } = this.output(output, index, access);
    const type = typeOf(this.graph, { node: this.hero.id, output });
    return { kind: "store", buffer, index: at, value: inDType(value, type) };
  }

  /**
   * Stores the group's values at `index`. Of several, all are computed before the first is stored: a state written in place
   * may be among the operands of the next.
   */
  storeAll(index: readonly Expr[]): readonly Statement[] {
    const at = index.map(simplify);
    const refs = this.group.stores.map((node) => ({ node, output: 0 }));
    const buffers = refs.map((ref) => this.buffer(ref, "write"));
    const { lets, exprs } = this.share(refs.map((ref) => this.value(ref, index)));
    const store = (value: Expr, i: number): Statement => {
      return { kind: "store", buffer: buffers[i]!, index: at, value };
    };
    if (exprs.length === 1) return [...lets, ...exprs.map(store)];
    const named = exprs.map((value) => ({ name: `t${this.names.next++}`, value }));
    return [
      ...lets,
      ...named.map(({ name, value }): Statement => ({ kind: "let", name, value })),
      ...named.map(({ name, value }, i) => store(local(name, value.type), i)),
    ];
  }

  /** The call, under the hero's name by default; `initial` is what buffer 0 starts as. */
  call(
    body: readonly Statement[],
    options: { readonly initial?: ValueRef; readonly name?: string } = {},
  ): Call {
    const { initial } = options;
    const title = (options.name ?? this.hero.op.name).replaceAll(".", "_");
    const suffix = this.group.hero === undefined || this.group.nodes.length === 1 ? "" : "_fused";
    return {
      kernel: {
        name: `${title}${suffix}`,
        buffers: this.#buffers.map(({ name, dtype, shape, access }) => ({
          name,
          dtype,
          shape,
          access,
        })),
        body,
      },
      values: this.#buffers.map(({ value }) => value),
      label: placeOf(this.hero),
      ...(initial && { initial }),
    };
  }

  #compute(ref: ValueRef, index: readonly Expr[]): Expr {
    const node = this.graph.nodes[ref.node]!;
    if (node.value && node.value.data.length === 1) {
      const { dtype, data } = node.value;
      return literal(loadElement(dtype, data, 0), scalarType(dtype));
    }
    const type = node.outputs[ref.output]!;
    if (!this.#inside.has(ref.node)) return load(this.buffer(ref, "read"), index, type.dtype);
    const { body } = node.op;
    const inputs = node.inputs.map((input) => typeOf(this.graph, input));
    const context = { attrs: node.attrs, inputs };
    if (body.class === "elementwise") {
      const args = node.inputs.map((input) => this.value(input, index));
      return inDType(body.scalar(args, context), type);
    }
    if (body.class === "movement")
      return this.#withoutGuard(
        body.at(index, (i, at) => this.value(node.inputs[i]!, at), { ...context, output: type }),
      );
    if (this.#hero) return this.#hero.value;
    throw new InternalError({ what: "a hero is read before it is computed", where: placeOf(node) });
  }

  /** The element behind a test of its index, where the index always passes. */
  #withoutGuard(value: Expr): Expr {
    if (value.kind !== "apply" || value.op !== "select") return value;
    const [condition, element] = value.args as [Expr, Expr, Expr];
    return this.#isCertain(condition) ? element : value;
  }

  #isCertain(condition: Expr): boolean {
    if (condition.kind !== "apply") return false;
    const [x, y] = condition.args as [Expr, Expr];
    if (condition.op === "and") return this.#isCertain(x) && this.#isCertain(y);
    if (x.kind !== "load" || (y.kind !== "literal" && y.kind !== "size")) return false;
    const source = this.#buffers.find(({ name }) => name === x.buffer);
    const bound = source?.access === "read" ? boundOf(this.graph, source.value) : undefined;
    if (bound === undefined) return false;
    if (condition.op === "ge") return y.kind === "literal" && y.value <= 0;
    return condition.op === "lt" && isWithin(bound, y.kind === "literal" ? y.value : y.dim);
  }
}

/** Results of narrow types are rounded where they would be stored, so fusing changes no bit. */
function inDType(value: Expr, { dtype }: TensorType): Expr {
  if (isFloat(dtype)) return round(value, dtype);
  return wrap(value, dtype);
}

/** One axis for each size, named by `prefix`. */
export function axesOf(shape: Shape, prefix: string): { ranges: Range[]; index: Expr[] } {
  const ranges = shape.map((extent, i) => ({ axis: `${prefix}${i}`, extent }));
  return { ranges, index: ranges.map((range) => axis(range.axis, range.extent)) };
}

/** Parallel loops around `body`, the first range outermost. */
export function parallel(
  ranges: readonly Range[],
  body: readonly Statement[],
): readonly Statement[] {
  return ranges.reduceRight<readonly Statement[]>(
    (inner, range) => [{ kind: "loop", range, order: "parallel", body: inner }],
    body,
  );
}

/** One range over several axes, and the index of each in it. */
export function merged(shape: Shape, name: string): { range: Range; index: Expr[] } {
  const extent = shape.reduce<Dim>((product, dim) => multiplyDims(product, dim), 1);
  const whole = axis(name, extent);
  const index: Expr[] = [];
  let rest: Expr = whole;
  for (let i = shape.length - 1; i >= 0; i--) {
    index.unshift(i === 0 ? rest : apply("rem", rest, sizeOf(shape[i]!)));
    rest = apply("div", rest, sizeOf(shape[i]!));
  }
  return { range: { axis: name, extent }, index: index.map(simplify) };
}
