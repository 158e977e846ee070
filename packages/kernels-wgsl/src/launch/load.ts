/**
 * Programs get on the device. In: a program, a store and the emitted kernels. Out: an executable, with its buffers, pipelines and bind
 * groups made; nothing of them is left where one cannot be made.
 */
import type { Executable, Program } from "@millrace/graph";
import { InputError, InternalError, maxBytes, UnsupportedError } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Shader } from "../emit/segment.ts";
import type { WgslStore } from "../store.ts";
import type { ArenaPlan } from "./arena.ts";
import { locate, planChunks } from "./arena.ts";
import type { Region } from "./buffers.ts";
import { bytesOf, roundUp, usage } from "./buffers.ts";
import { emitProgram } from "./emit-program.ts";
import type { Dispatch, SizeArea } from "./executable.ts";
import { WgslExecutable } from "./executable.ts";
import type { LaunchContext } from "./launch-context.ts";

export async function loadProgram(
  program: Program,
  store: WgslStore,
  context: LaunchContext,
): Promise<Executable> {
  const { memory, capabilities } = context;
  const { variants, keys } = emitProgram(program, capabilities);
  const arena = planChunks(program, capabilities.maxBufferBytes);
  const areas = new Map<Shader, SizeArea>();
  let sizeBytes = 0;
  for (const { shaders } of variants.values())
    for (const shader of shaders)
      if (shader.sizes) {
        areas.set(shader, { offset: sizeBytes, dims: shader.sizes });
        const used = roundUp(shader.sizes.length, 4) * 4;
        sizeBytes += roundUp(used, capabilities.uniformAlignment);
      }
  const owned: GPUBuffer[] = [];
  const release = (): void => {
    for (const buffer of owned.splice(0)) memory.destroy(buffer);
  };
  try {
    const compiling = Promise.all(
      program.steps.map(({ kernel, label }, i) => {
        const emitted = variants.get(keys[i]!)!;
        return Promise.all(
          emitted.shaders.map(async (shader) => {
            const where = `${program.name}: ${label || program.kernels[kernel]!.name}`;
            checkBindings(shader, where, capabilities);
            return context.pipelines.get(shader, where);
          }),
        );
      }),
    );
    compiling.catch(() => undefined);
    const made = await memory.guard.scope(`the buffers of ${program.name}`, () => {
      const create = (bytes: number, label: string, flags: number): GPUBuffer => {
        const buffer = memory.create(bytes, label, flags);
        owned.push(buffer);
        return buffer;
      };
      const flags = usage.storage | usage.copySource | usage.copyTarget;
      const chunks = arena.chunks.map((bytes) => create(bytes, `arena of ${program.name}`, flags));
      const constants = program.buffers.map(({ place }, i) => {
        if (place.kind !== "constant") return undefined;
        const bytes = bytesOf(place.value.data);
        const buffer = create(bytes.byteLength, `constant ${i} of ${program.name}`, flags);
        return { buffer, bytes };
      });
      const sizes =
        sizeBytes > 0 ? create(sizeBytes, "sizes", usage.uniform | usage.copyTarget) : undefined;
      const nothing = create(
        capabilities.maxBindings * capabilities.bindingAlignment,
        "empty tensors",
        flags,
      );
      return { chunks, constants, sizes, nothing };
    });
    await store.settled();
    const regions = program.buffers.map((_, i) =>
      regionOf(program, i, { arena, store, capabilities, ...made }),
    );
    for (const [i, constant] of made.constants.entries())
      if (constant)
        await memory.upload(regions[i]!, constant.bytes, `constant ${i} of ${program.name}`);
    const pipelines = await compiling;
    const dispatches = await memory.guard.scope(`the bindings of ${program.name}`, () =>
      program.steps.flatMap(({ buffers, label }, i) =>
        variants.get(keys[i]!)!.shaders.map((shader, segment): Dispatch => {
          const { pipeline, layout } = pipelines[i]![segment]!;
          const area = areas.get(shader);
          const bindGroup = context.device.createBindGroup({
            layout,
            label,
            entries: entriesOf(shader, buffers, regions, capabilities, made, area),
          });
          return { pipeline, bindGroup, grid: shader.grid, label, step: i };
        }),
      ),
    );
    return new WgslExecutable(program, store, context, {
      regions,
      dispatches,
      areas: [...areas.values()],
      sizes: made.sizes,
      sizeBytes,
      release,
    });
  } catch (error) {
    release();
    throw error;
  }
}

interface Made {
  readonly chunks: readonly GPUBuffer[];
  readonly constants: readonly (
    | { readonly buffer: GPUBuffer; readonly bytes: Uint8Array }
    | undefined
  )[];
  readonly sizes: GPUBuffer | undefined;
  readonly nothing: GPUBuffer;
}

/** Where a buffer of the program lies, at its largest. */
function regionOf(
  program: Program,
  index: number,
  from: Made & {
    readonly arena: ArenaPlan;
    readonly store: WgslStore;
    readonly capabilities: WgslCapabilities;
  },
): Region {
  const { type, place } = program.buffers[index]!;
  const bytes = maxBytes(type);
  if (bytes === 0) return { buffer: from.nothing, offset: 0, bytes: 0 };
  switch (place.kind) {
    case "constant":
      return { buffer: from.constants[index]!.buffer, offset: 0, bytes };
    case "state":
      return { ...from.store.region(place.name), bytes };
    case "arena": {
      const { chunk, offset } = locate(from.arena, place.offset);
      if (offset % from.capabilities.bindingAlignment !== 0)
        throw new InputError({
          what: `buffer ${index} lies at ${place.offset} of the arena, which is not a multiple of ${from.capabilities.bindingAlignment}`,
          where: program.name,
          hint: "Plan the program with this backend's capabilities.",
        });
      return { buffer: from.chunks[chunk]!, offset, bytes };
    }
  }
}

function entriesOf(
  shader: Shader,
  buffers: readonly number[],
  regions: readonly Region[],
  { maxBindingBytes, bindingAlignment }: WgslCapabilities,
  { sizes, nothing }: Made,
  area: SizeArea | undefined,
): GPUBindGroupEntry[] {
  const resources: GPUBufferBinding[] = [];
  for (const { members, parts } of shader.bindings) {
    const { buffer, offset } = regions[buffers[members[0]!]!]!;
    const bytes = Math.max(...members.map((member) => regions[buffers[member]!]!.bytes));
    for (let part = 0; part < parts; part++) {
      const from = part * maxBindingBytes;
      const size = Math.min(bytes - from, maxBindingBytes);
      // Bindings may not overlap, those of empty tensors neither.
      if (bytes === 0)
        resources.push({ buffer: nothing, offset: resources.length * bindingAlignment, size: 16 });
      else resources.push({ buffer, offset: offset + from, size: roundUp(size, 4) });
    }
  }
  if (area && sizes)
    resources.push({ buffer: sizes, offset: area.offset, size: roundUp(area.dims.length, 4) * 4 });
  return resources.map((resource, binding) => ({ binding, resource }));
}

/** Checks that steps and kernels fit each other. */
export function checkProgram(program: Program): void {
  for (const { kernel, buffers, label } of program.steps)
    if (program.kernels[kernel]?.buffers.length !== buffers.length)
      throw new InternalError({
        what: `a step binds ${buffers.length} buffers to kernel ${kernel}, which has ${program.kernels[kernel]?.buffers.length ?? "no"} buffers`,
        where: `${program.name}: ${label}`,
      });
}

/** Checks that a shader binds no more than the device can. */
function checkBindings(shader: Shader, where: string, { maxBindings }: WgslCapabilities): void {
  const count = shader.bindings.reduce((sum, { parts }) => sum + parts, 0);
  if (count > maxBindings)
    throw new UnsupportedError({
      what: `a step needs ${count} bindings, the device has ${maxBindings}`,
      where,
      hint: "Use a smaller batch or model: large tensors are bound in parts.",
    });
}
