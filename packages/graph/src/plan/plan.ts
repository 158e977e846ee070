/**
 * Stage 5. In: kernel calls over values. Out: a `Program`: steps in order, every buffer placed, equal kernels merged. The order
 * is that of declaration; memory is reused as soon as a value's last reader has run.
 */
import type { Capabilities } from "../capabilities.ts";
import { byteWidth } from "../dtype.ts";
import { DeviceError } from "../errors.ts";
import { leavesNamed } from "../graph.ts";
import { visitExpr } from "../expression.ts";
import type { Kernel } from "../kernel.ts";
import { expressionsOf, visitStatements } from "../kernel.ts";
import type { LoweredGraph } from "../lower/lower.ts";
import type { Binding, Place, Program, ProgramBuffer, StateSpec, Step } from "../program.ts";
import type { TensorType } from "../shape.ts";
import { maxDim, shapeSize } from "../shape.ts";
import type { AliasedCalls, Storage } from "./alias.ts";
import { alias } from "./alias.ts";
import type { Lifetime } from "./arena.ts";
import { placeInArena } from "./arena.ts";

/** Bytes of a tensor at the largest sizes. */
export function maxBytes({ dtype, shape }: TensorType): number {
  return maxDim(shapeSize(shape)) * byteWidth(dtype);
}

/** Bytes that the states of a program take. */
export function stateBytes({ states }: Pick<Program, "states">): number {
  return states.reduce((sum, { type }) => sum + maxBytes(type), 0);
}

export function plan(lowered: LoweredGraph, capabilities: Capabilities): Program {
  const { graph } = lowered;
  const { calls, outputs } = alias(lowered);
  const inputs = leavesNamed(graph, "input");
  const states: StateSpec[] = leavesNamed(graph, "state").map(({ name, type }) => ({ name, type }));

  const storages = [...new Set([...calls.flatMap((call) => call.storages), ...outputs])];
  const storageOfLeaf = new Map(storages.flatMap((s) => (s.leaf ? [[s.leaf.id, s] as const] : [])));
  for (const { node, type } of inputs)
    if (!storageOfLeaf.has(node)) {
      const storage: Storage = { type, kind: "input", leaf: graph.nodes[node]! };
      storageOfLeaf.set(node, storage);
      storages.push(storage);
    }
  const inArena = storages.filter(({ kind }) => kind === "input" || kind === "temporary");
  const lifetimes = lifetimesOf(inArena, { calls, outputs });
  const { offsets, bytes } = placeInArena(lifetimes, capabilities.alignment);
  const kept = stateBytes({ states });
  if (bytes + kept > capabilities.maxBytes)
    throw new DeviceError({
      what: `the program needs ${bytes} bytes beside ${kept} bytes of state, the device offers ${capabilities.maxBytes}`,
      where: graph.name,
      hint: "Use a smaller batch, fewer tokens at once, or a smaller model.",
    });
  expectBlocks(graph.name, bytes, states, capabilities);

  const bufferOf = new Map(storages.map((storage, i) => [storage, i]));
  const arenaIndex = new Map(inArena.map((storage, i) => [storage, i]));
  const buffers: ProgramBuffer[] = storages.map((storage) => ({
    type: storage.type,
    place: placeOfStorage(storage, offsets[arenaIndex.get(storage) ?? -1]),
  }));
  const { kernels, kernelOf } = mergeKernels(calls.map((call) => call.kernel));
  const steps: Step[] = calls.map((call, i) => ({
    kernel: kernelOf[i]!,
    buffers: call.storages.map((storage) => bufferOf.get(storage)!),
    label: call.label,
  }));
  return {
    name: graph.name,
    sizes: graph.sizes,
    inputs: inputs.map(({ name, type, node }): Binding => {
      return { name, type, buffer: bufferOf.get(storageOfLeaf.get(node)!)! };
    }),
    outputs: graph.outputs.map(({ name, value }, i): Binding => {
      const type = graph.nodes[value.node]!.outputs[value.output]!;
      return { name, type, buffer: bufferOf.get(outputs[i]!)! };
    }),
    states,
    buffers,
    kernels,
    steps,
    arenaBytes: bytes,
  };
}

/** Throws if the arena, or a state, is more than lies in one piece. */
function expectBlocks(
  name: string,
  arenaBytes: number,
  states: readonly StateSpec[],
  { maxBlockBytes = Infinity }: Capabilities,
): void {
  const fail = (what: string, bytes: number): never => {
    throw new DeviceError({
      what: `${what} takes ${bytes} bytes, the device has at most ${maxBlockBytes} in one piece`,
      where: name,
      hint: "Use a smaller batch, fewer tokens at once, a smaller model or a narrower dtype.",
    });
  };
  if (arenaBytes > maxBlockBytes) fail("what the program holds beside its states", arenaBytes);
  const large = states.find(({ type }) => maxBytes(type) > maxBlockBytes);
  if (large) fail(`state "${large.name}"`, maxBytes(large.type));
}

function placeOfStorage({ kind, leaf }: Storage, offset: number | undefined): Place {
  if (kind === "state") return { kind, name: String(leaf!.attrs["name"]) };
  if (kind === "constant") return { kind, value: leaf!.value! };
  return { kind: "arena", offset: offset! };
}

/** From the step that first touches a storage to the one that last does. */
function lifetimesOf(
  storages: readonly Storage[],
  { calls, outputs }: AliasedCalls,
): readonly Lifetime[] {
  const first = new Map<Storage, number>();
  const last = new Map<Storage, number>();
  calls.forEach((call, at) => {
    for (const storage of call.storages) {
      if (!first.has(storage)) first.set(storage, at);
      last.set(storage, at);
    }
  });
  for (const storage of outputs) last.set(storage, Infinity);
  return storages.map((storage) => ({
    bytes: maxBytes(storage.type),
    from: storage.kind === "input" ? -1 : (first.get(storage) ?? -1),
    to: last.get(storage) ?? -1,
  }));
}

/** Kernels that differ in nothing but their name are one. */
function mergeKernels(kernels: readonly Kernel[]): {
  readonly kernels: readonly Kernel[];
  readonly kernelOf: readonly number[];
} {
  const merged: Kernel[] = [];
  const known = new Map<string, number>();
  const kernelOf = kernels.map((kernel) => {
    // JSON lacks some numbers; they go beside it.
    const key = JSON.stringify([kernel.buffers, kernel.body, specialLiterals(kernel)]);
    const index = known.get(key) ?? merged.length;
    if (index === merged.length) {
      known.set(key, index);
      merged.push({ ...kernel, name: `${kernel.name}_${index}` });
    }
    return index;
  });
  return { kernels: merged, kernelOf };
}

/** The values of literals that JSON changes, in their order. */
function specialLiterals({ body }: Kernel): readonly string[] {
  const values: string[] = [];
  visitStatements(body, (statement) => {
    for (const expr of expressionsOf(statement))
      visitExpr(expr, (part) => {
        if (part.kind !== "literal" || (Number.isFinite(part.value) && part.value !== 0)) return;
        values.push(Object.is(part.value, -0) ? "-0" : String(part.value));
      });
  });
  return values;
}
