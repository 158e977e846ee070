/**
 * Decides which values share memory. In: the calls of a program. Out: for each value the storage that holds it: a state, a
 * constant, or a temporary; views share their source's, updates in place their operand's. Where sharing would let a later
 * reader see a new value too early, a copy is inserted instead.
 */
import { axis, load } from "../expression.ts";
import type { Graph, Node, ValueRef } from "../graph.ts";
import { typeOf } from "../graph.ts";
import type { Kernel } from "../kernel.ts";
import { readsOnlyWhatItWrites } from "../lower/elementwise.ts";
import type { Call } from "../lower/group-body.ts";
import type { LoweredGraph } from "../lower/lower.ts";
import type { TensorType } from "../shape.ts";
import { shapeSize } from "../shape.ts";

/** A piece of memory; several values may live in it one after the other. */
export interface Storage {
  readonly type: TensorType;
  readonly kind: "input" | "state" | "constant" | "temporary";
  /** The leaf, for inputs, states and constants. */
  readonly leaf?: Node;
}

/** A kernel call over storages. */
export interface BoundCall {
  readonly kernel: Kernel;
  readonly storages: readonly Storage[];
  readonly label: string;
}

export interface AliasedCalls {
  readonly calls: readonly BoundCall[];
  readonly outputs: readonly Storage[];
}

const keyOf = ({ node, output }: ValueRef): string => `${node}.${output}`;

export function alias({ graph, calls, aliases }: LoweredGraph): AliasedCalls {
  const assigner = new Assigner(graph, calls);
  const sources = new Map(aliases.map(({ value, source }) => [keyOf(value), source]));
  const origin = (ref: ValueRef): ValueRef => {
    const source = sources.get(keyOf(ref));
    return source ? origin(source) : ref;
  };
  return assigner.run(origin);
}

class Assigner {
  readonly #graph: Graph;
  readonly #calls: readonly Call[];
  readonly #storages = new Map<string, Storage>();
  /** Index of the last call that reads a value. */
  readonly #lastRead = new Map<string, number>();
  /** Index of the call that computes a value. */
  readonly #writtenAt = new Map<string, number>();

  constructor(graph: Graph, calls: readonly Call[]) {
    this.#graph = graph;
    this.#calls = calls;
  }

  run(origin: (ref: ValueRef) => ValueRef): AliasedCalls {
    const graph = this.#graph;
    this.#calls.forEach((call, at) => {
      const read = call.values.filter((_, i) => call.kernel.buffers[i]!.access === "read");
      for (const ref of call.initial ? [...read, call.initial] : read)
        this.#lastRead.set(keyOf(origin(ref)), at);
      call.values.forEach((ref, i) => {
        if (call.kernel.buffers[i]!.access !== "read") this.#writtenAt.set(keyOf(ref), at);
      });
    });
    const outputs = graph.outputs.map(({ value }) => origin(value));
    const updates = graph.updates.map(({ name, value }) => ({ name, value: origin(value) }));
    const bound: BoundCall[] = [];
    const late: { readonly from: ValueRef; readonly state: Storage }[] = [];

    // Leaves first, then each update in place where no one is disturbed.
    for (const node of graph.nodes) this.#placeLeaf(node);
    const states = new Map<string, Storage>();
    for (const node of graph.nodes)
      if (node.op.name === "state")
        states.set(String(node.attrs["name"]), this.#storages.get(`${node.id}.0`)!);
    const visible = new Set(outputs.map(keyOf));
    for (const { name, value } of updates) {
      const state = states.get(name)!;
      if (this.#canUpdateInPlace(state, value, origin, visible))
        this.#storages.set(keyOf(value), state);
      else late.push({ from: value, state });
    }

    // A state that is written late, or returned, from another state's old value needs that value kept.
    const early = new Map<string, Storage>();
    const keep = (ref: ValueRef): Storage => {
      const storage = this.#storageOf(ref);
      if (storage.kind !== "state" || this.#graph.nodes[ref.node]!.op.name !== "state")
        return storage;
      const known = early.get(keyOf(ref));
      if (known) return known;
      const copy: Storage = { type: storage.type, kind: "temporary" };
      early.set(keyOf(ref), copy);
      bound.push(copyCall(storage, copy, "copy of a state"));
      return copy;
    };
    const kept = late.map(({ from, state }) => ({ from: keep(from), state }));
    const returned = outputs.map(keep);

    for (const call of this.#calls) {
      if (call.initial) this.#placeInitial(call, origin, visible, bound);
      bound.push({
        kernel: call.kernel,
        storages: call.values.map((ref) => this.#storageOf(origin(ref))),
        label: call.label,
      });
    }
    for (const { from, state } of kept) bound.push(copyCall(from, state, "update of a state"));
    return { calls: bound, outputs: returned };
  }

  #placeLeaf(node: Node): void {
    if (node.op.body.class !== "leaf") return;
    const kind = node.op.name as "input" | "state" | "constant";
    this.#storages.set(`${node.id}.0`, { type: node.outputs[0]!, kind, leaf: node });
  }

  #storageOf(ref: ValueRef): Storage {
    const known = this.#storages.get(keyOf(ref));
    if (known) return known;
    const made: Storage = { type: typeOf(this.#graph, ref), kind: "temporary" };
    this.#storages.set(keyOf(ref), made);
    return made;
  }

  /** The value may be computed right into the state: nobody reads the old contents afterwards. */
  #canUpdateInPlace(
    state: Storage,
    value: ValueRef,
    origin: (ref: ValueRef) => ValueRef,
    visible: ReadonlySet<string>,
  ): boolean {
    const old = `${state.leaf!.id}.0`;
    if (this.#storages.has(keyOf(value)) || visible.has(old)) return false;
    const at = this.#writtenAt.get(keyOf(value)) ?? -1;
    const call = this.#calls[at];
    if (!call || (this.#lastRead.get(old) ?? -1) > at) return false;
    if (call.initial) {
      // The new rows are written over the old state, whose other rows stay.
      const operand = origin(call.initial);
      return keyOf(operand) === old && !readsElsewhere(call, old, origin);
    }
    return call.values.every((ref, i) => {
      const { name, access } = call.kernel.buffers[i]!;
      if (access !== "read" || keyOf(origin(ref)) !== old) return true;
      const target = call.values.findIndex((v, j) => keyOf(v) === keyOf(value) && j !== i);
      return (
        sameLayout(call.kernel, i, target) &&
        readsOnlyWhatItWrites(call.kernel, name, call.kernel.buffers[target]!.name)
      );
    });
  }

  /** Puts the operand of a partial update where its result is: by sharing, or by a copy. */
  #placeInitial(
    call: Call,
    origin: (ref: ValueRef) => ValueRef,
    visible: ReadonlySet<string>,
    bound: BoundCall[],
  ): void {
    const operand = origin(call.initial!);
    const result = call.values[0]!;
    const source = this.#storageOf(operand);
    if (this.#storages.get(keyOf(result)) === source) return;
    const at = this.#calls.indexOf(call);
    const free =
      source.kind === "temporary" &&
      !this.#storages.has(keyOf(result)) &&
      (this.#lastRead.get(keyOf(operand)) ?? -1) <= at &&
      !visible.has(keyOf(operand)) &&
      !this.#graph.updates.some(({ value }) => keyOf(origin(value)) === keyOf(operand)) &&
      !readsElsewhere(call, keyOf(operand), origin);
    if (free) this.#storages.set(keyOf(result), source);
    else bound.push(copyCall(source, this.#storageOf(result), `copy for ${call.label}`));
  }
}

const readsElsewhere = (call: Call, key: string, origin: (ref: ValueRef) => ValueRef): boolean =>
  call.values.some(
    (ref, i) => call.kernel.buffers[i]!.access === "read" && keyOf(origin(ref)) === key,
  );

/** Equal shapes, so that equal indices are equal places. */
const sameLayout = (kernel: Kernel, a: number, b: number): boolean =>
  b >= 0 &&
  kernel.buffers[a]!.dtype === kernel.buffers[b]!.dtype &&
  JSON.stringify(kernel.buffers[a]!.shape) === JSON.stringify(kernel.buffers[b]!.shape);

function copyCall(from: Storage, to: Storage, label: string): BoundCall {
  const extent = shapeSize(to.type.shape);
  const { dtype } = to.type;
  const shape = [extent];
  const index = [axis("i", extent)];
  const kernel: Kernel = {
    name: "copy",
    buffers: [
      { name: "b0", dtype, shape, access: "read" },
      { name: "b1", dtype, shape, access: "write" },
    ],
    body: [
      {
        kind: "loop",
        range: { axis: "i", extent },
        order: "parallel",
        body: [{ kind: "store", buffer: "b1", index, value: load("b0", index, dtype) }],
      },
    ],
  };
  return { kernel, storages: [from, to], label };
}
