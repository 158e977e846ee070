/**
 * A loaded program. In: buffers, pipelines and bind groups made once. Out: runs: each writes inputs and sizes, encodes all dispatches into
 * one command buffer, and copies outputs out through a mapped buffer. Every run waits for what the device says of it, so nothing
 * wrong is returned as a result.
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
  profileOf,
} from "@millrace/graph";
import type { LaunchGrid } from "../emit/segment.ts";
import { countGroups, rowLength } from "../emit/segment.ts";
import type { WgslStore } from "../store.ts";
import type { Region } from "./buffers.ts";
import { bytesOf, roundUp } from "./buffers.ts";
import type { LaunchContext } from "./launch-context.ts";
import { expectTimestamps, Timestamps } from "./timestamps.ts";

/** One dispatch, with what it binds. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  readonly grid: LaunchGrid;
  readonly label: string;
  /** Of the program's steps, the one that it is a part of. */
  readonly step: number;
}

/** A shader's uniform array within the buffer of them all. */
export interface SizeArea {
  readonly offset: number;
  readonly dims: readonly Dim[];
}

/** What a run needs. */
export interface Prepared {
  readonly regions: readonly Region[];
  readonly dispatches: readonly Dispatch[];
  readonly areas: readonly SizeArea[];
  readonly sizes: GPUBuffer | undefined;
  readonly sizeBytes: number;
  readonly release: () => void;
}

export class WgslExecutable implements Executable {
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
