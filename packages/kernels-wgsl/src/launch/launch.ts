/**
 * Programs on the device. In: a program, a store and the emitted kernels. Out: an executable: buffers, pipelines and bind groups made
 * once; a run writes inputs, encodes all dispatches into one command buffer, and copies outputs out through a mapped buffer.
 * Every run waits for what the device says of it, so nothing wrong is returned as a result.
 */
import type { Dim, Executable, HostTensor, ProfiledRun, Program, Values } from "@millrace/graph";
import {
  bindSizes,
  byteWidth,
  DeviceError,
  elementCount,
  evaluateDim,
  hostArray,
  InputError,
  InternalError,
  maxBytes,
  profileOf,
  UnsupportedError,
} from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Sharing } from "../emit/bindings.ts";
import type { EmittedKernel } from "../emit/emit.ts";
import { emitKernel } from "../emit/emit.ts";
import type { LaunchGrid, Shader } from "../emit/segment.ts";
import { countGroups, rowLength } from "../emit/segment.ts";
import type { WgslStore } from "../store.ts";
import type { ArenaPlan } from "./arena.ts";
import { locate, planChunks } from "./arena.ts";
import type { DeviceMemory, Region } from "./buffers.ts";
import { bytesOf, roundUp, usage } from "./buffers.ts";
import type { Pipelines } from "./pipelines.ts";
import { expectTimestamps, Timestamps } from "./timestamps.ts";

/** What every program of a backend shares. */
export interface LaunchContext {
  readonly device: GPUDevice;
  readonly capabilities: WgslCapabilities;
  readonly memory: DeviceMemory;
  readonly pipelines: Pipelines;
}

interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: LaunchGrid;
  readonly label: string;
  /** Of the program's steps, the one that it is a part of. */
  readonly step: number;
}

/** A shader's uniform array within the buffer of them all. */
interface SizeArea {
  readonly offset: number;
  readonly dims: readonly Dim[];
}

/** Which buffers of a step are one memory. */
export function sharingOf(program: Program, buffers: readonly number[]): Sharing {
  const key = (index: number): string => {
    const { place } = program.buffers[index]!;
    return place.kind === "state" ? `state ${place.name}` : String(index);
  };
  const keys = buffers.map(key);
  return keys.map((k) => keys.indexOf(k));
}

/** Each kernel once per way in which steps share memory among its buffers. */
export function emitProgram(
  program: Program,
  capabilities: WgslCapabilities,
): { readonly variants: ReadonlyMap<string, EmittedKernel>; readonly keys: readonly string[] } {
  const variants = new Map<string, EmittedKernel>();
  const keys = program.steps.map(({ kernel: index, buffers }) => {
    const sharing = sharingOf(program, buffers);
    const key = `${index}: ${sharing.join(" ")}`;
    if (!variants.has(key))
      variants.set(key, emitKernel(program.kernels[index]!, capabilities, sharing));
    return key;
  });
  return { variants, keys };
}

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

interface Prepared {
  readonly regions: readonly Region[];
  readonly dispatches: readonly Dispatch[];
  readonly areas: readonly SizeArea[];
  readonly sizes: GPUBuffer | undefined;
  readonly sizeBytes: number;
  readonly release: () => void;
}

class WgslExecutable implements Executable {
  readonly program: Program;
  readonly bytes: number;
  readonly #store: WgslStore;
  readonly #context: LaunchContext;
  #prepared: Prepared | undefined;
  /** The sizes that the uniform buffer holds. */
  #written: string | undefined;

  constructor(program: Program, store: WgslStore, context: LaunchContext, prepared: Prepared) {
    this.program = program;
    this.bytes = program.arenaBytes;
    this.#store = store;
    this.#context = context;
    this.#prepared = prepared;
  }

  async run(
    inputs: Values,
    sizes?: Readonly<Record<string, number>>,
  ): Promise<Record<string, HostTensor>> {
    return this.#execute(inputs, bindSizes(this.program, inputs, sizes), undefined);
  }

  async profile(inputs: Values, sizes?: Readonly<Record<string, number>>): Promise<ProfiledRun> {
    const { program } = this;
    const { memory, capabilities } = this.#context;
    const bound = bindSizes(program, inputs, sizes);
    expectTimestamps(capabilities, program.name);
    const { dispatches } = this.#expectPrepared();
    const where = `the times of ${program.name}`;
    let made: Timestamps | undefined;
    try {
      // Also where the device then refuses them, they are given back.
      const timestamps = await memory.guard.scope(
        where,
        () => (made = new Timestamps(memory, dispatches.length, program.name)),
      );
      const outputs = await this.#execute(inputs, bound, timestamps);
      const times = await timestamps.read(program.name);
      const ran = dispatches.flatMap(({ step, grid }, i) =>
        countGroups(grid, bound) > 0 ? [{ step, ...times[i]! }] : [],
      );
      const events = [...Map.groupBy(ran, ({ step }) => step)].map(([step, parts]) => {
        const start = Math.min(...parts.map((part) => part.start));
        const end = Math.max(...parts.map((part) => part.end));
        return { step, row: 0, start, duration: Math.max(0, end - start) };
      });
      return { outputs, profile: profileOf(program, bound, ["queue"], events) };
    } finally {
      made?.dispose();
    }
  }

  #expectPrepared(): Prepared {
    if (this.#prepared) return this.#prepared;
    throw new InputError({
      what: "the executable has been disposed",
      where: this.program.name,
      hint: "Load the program again.",
    });
  }

  /** Runs once, with a pass for each dispatch where there are timestamps to write. */
  async #execute(
    inputs: Values,
    bound: ReadonlyMap<string, number>,
    timestamps: Timestamps | undefined,
  ): Promise<Record<string, HostTensor>> {
    const { program } = this;
    const { memory } = this.#context;
    await this.#store.settled();
    const prepared = this.#expectPrepared();
    const outputs = program.outputs.map(({ name, type, buffer }) => {
      const shape = type.shape.map((dim) => evaluateDim(dim, bound));
      const length = elementCount(shape);
      return {
        name,
        dtype: type.dtype,
        shape,
        length,
        bytes: length * byteWidth(type.dtype),
        buffer,
      };
    });
    const starts: number[] = [];
    let total = 0;
    for (const { bytes } of outputs) {
      starts.push(total);
      total += roundUp(bytes, 8);
    }
    let readback: GPUBuffer | undefined;
    try {
      await memory.guard.scope(program.name, () => {
        for (const { name, buffer } of program.inputs) {
          const region = prepared.regions[buffer]!;
          memory.write(region.buffer, region.offset, bytesOf(inputs[name]!.data));
        }
        this.#writeSizes(prepared, bound);
        const encoder = this.#context.device.createCommandEncoder({ label: program.name });
        this.#encode(encoder, prepared, bound, timestamps);
        timestamps?.resolve(encoder);
        if (total > 0) {
          readback = memory.takeReadback(total);
          for (const [i, { bytes, buffer }] of outputs.entries()) {
            const region = prepared.regions[buffer]!;
            if (bytes > 0)
              encoder.copyBufferToBuffer(
                region.buffer,
                region.offset,
                readback,
                starts[i]!,
                roundUp(bytes, 4),
              );
          }
        }
        this.#context.device.queue.submit([encoder.finish()]);
      });
    } catch (error) {
      if (readback) memory.destroy(readback);
      throw error;
    }
    if (!readback) {
      await memory.guard.wait(program.name, this.#context.device.queue.onSubmittedWorkDone());
      return Object.fromEntries(
        outputs.map(({ name, dtype, shape }) => [
          name,
          { dtype, shape, data: hostArray(dtype, 0) },
        ]),
      );
    }
    const data = await memory.readBack(readback, total, program.name);
    return Object.fromEntries(
      outputs.map(({ name, dtype, shape, length, bytes }, i) => {
        const own = data.slice(starts[i], starts[i]! + bytes).buffer;
        return [name, { dtype, shape, data: hostArray(dtype, length, own, 0) }];
      }),
    );
  }

  #writeSizes({ areas, sizes, sizeBytes }: Prepared, bound: ReadonlyMap<string, number>): void {
    const key = [...bound].map(([name, value]) => `${name}=${value}`).join();
    if (!sizes || this.#written === key) return;
    const values = new Int32Array(sizeBytes / 4);
    for (const { offset, dims } of areas)
      dims.forEach((dim, i) => (values[offset / 4 + i] = evaluateDim(dim, bound)));
    this.#context.memory.write(sizes, 0, bytesOf(values));
    this.#written = key;
  }

  #encode(
    encoder: GPUCommandEncoder,
    { dispatches }: Prepared,
    bound: ReadonlyMap<string, number>,
    timestamps: Timestamps | undefined,
  ): void {
    const { maxGroups } = this.#context.capabilities;
    const whole = timestamps ? undefined : encoder.beginComputePass({ label: this.program.name });
    for (const [i, { pipeline, bindGroup, grid, label }] of dispatches.entries()) {
      const groups = countGroups(grid, bound);
      if (groups === 0) continue;
      const rows = Math.ceil(groups / rowLength);
      if (groups > maxGroups && rows > maxGroups)
        throw new DeviceError({
          what: `a step of ${groups} workgroups is more than the device dispatches at once`,
          where: `${this.program.name}: ${label}`,
          hint: "Use a smaller batch or fewer tokens at once.",
        });
      const pass =
        whole ?? encoder.beginComputePass({ label, timestampWrites: timestamps!.writesOf(i) });
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, bindGroup);
      if (groups <= maxGroups) pass.dispatchWorkgroups(groups);
      else pass.dispatchWorkgroups(rowLength, rows);
      if (!whole) pass.end();
    }
    whole?.end();
  }

  dispose(): void {
    this.#prepared?.release();
    this.#prepared = undefined;
  }
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
