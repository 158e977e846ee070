/**
 * When each dispatch of a run begins and ends, by the device's own clock. In: how many dispatches there are. Out: what their compute
 * passes write down, and the times read back. A pass of its own for each dispatch keeps neighbours from overlapping, so a measured
 * run may take a little longer than another.
 */
import { UnsupportedError } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { DeviceMemory } from "./buffers.ts";
import { usage } from "./buffers.ts";

/** Most queries of one set, by the specification. */
const setSize = 4096;
const queryBytes = 8;

/** Beginning and end of a dispatch, in milliseconds. */
export interface DispatchTime {
  readonly start: number;
  readonly end: number;
}

/** Timestamps of one run. */
export class Timestamps {
  readonly #memory: DeviceMemory;
  readonly #count: number;
  readonly #sets: readonly GPUQuerySet[];
  readonly #resolved: GPUBuffer;
  #readback: GPUBuffer | undefined;

  /** Call within a scope of the guard. Throws UnsupportedError where the device has no timestamps. */
  constructor(memory: DeviceMemory, dispatches: number, where: string) {
    this.#memory = memory;
    this.#count = 2 * dispatches;
    const sets = Math.ceil(this.#count / setSize);
    this.#sets = Array.from({ length: sets }, (_, i) =>
      memory.device.createQuerySet({
        type: "timestamp",
        count: Math.min(setSize, this.#count - i * setSize),
        label: where,
      }),
    );
    const bytes = this.#count * queryBytes;
    const flags = usage.queryResolve | usage.copySource;
    this.#resolved = memory.create(bytes, `the times of ${where}`, flags);
  }

  /** What the pass of a dispatch writes down. */
  writesOf(dispatch: number): GPUComputePassTimestampWrites {
    const first = (2 * dispatch) % setSize;
    return {
      querySet: this.#sets[Math.floor((2 * dispatch) / setSize)]!,
      beginningOfPassWriteIndex: first,
      endOfPassWriteIndex: first + 1,
    };
  }

  /** Copies all times to where they can be read, after the passes. */
  resolve(encoder: GPUCommandEncoder): void {
    const bytes = this.#count * queryBytes;
    for (const [i, set] of this.#sets.entries())
      encoder.resolveQuerySet(set, 0, set.count, this.#resolved, i * setSize * queryBytes);
    this.#readback = this.#memory.takeReadback(bytes);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readback, 0, bytes);
  }

  /** The times of every dispatch, once the run has been submitted. */
  async read(where: string): Promise<readonly DispatchTime[]> {
    const readback = this.#readback!;
    this.#readback = undefined;
    const bytes = await this.#memory.readBack(readback, this.#count * queryBytes, where);
    const nanoseconds = new BigUint64Array(bytes.buffer, 0, this.#count);
    const ms = (index: number): number => Number(nanoseconds[index]!) / 1e6;
    return Array.from({ length: this.#count / 2 }, (_, i) => {
      return { start: ms(2 * i), end: ms(2 * i + 1) };
    });
  }

  dispose(): void {
    for (const set of this.#sets) set.destroy();
    this.#memory.destroy(this.#resolved);
    if (this.#readback) this.#memory.destroy(this.#readback);
  }
}

/** Throws where the device cannot measure. */
export function expectTimestamps({ timestamps }: WgslCapabilities, where: string): void {
  if (timestamps) return;
  throw new UnsupportedError({
    what: 'the device has no timestamps (WebGPU\'s feature "timestamp-query"), by which steps are measured',
    where,
    hint: "Use another adapter, a browser that offers the feature, or the WebAssembly backend.",
  });
}
