/**
 * Persistent values on the device. In: names and types. Out: one buffer per state, zero until written, which every program
 * over the store binds. A state with symbolic sizes has room for the largest.
 */
import type { HostTensor, StateSpec, Store } from "@millrace/graph";
import { byteWidth, hostArray, StateTable } from "@millrace/graph";
import type { DeviceMemory, Region } from "./launch/buffers.ts";
import { bytesOf, roundUp, usage } from "./launch/buffers.ts";

/** The states of programs. */
export class WgslStore implements Store {
  readonly memory: DeviceMemory;
  readonly #buffers: StateTable<GPUBuffer> = new StateTable();
  /** What the device says of the buffers, and writes that depend on each other. */
  #pending: Promise<unknown> = Promise.resolve();

  constructor(memory: DeviceMemory) {
    this.memory = memory;
  }

  ensure(specs: readonly StateSpec[]): void {
    const flags = usage.storage | usage.copySource | usage.copyTarget;
    const { report } = this.memory.guard.open("the states of a store", () =>
      this.#buffers.ensure(specs, ({ spec, bytes }) =>
        this.memory.create(bytes, `state "${spec.name}"`, flags),
      ),
    );
    // Whoever uses the states next waits for this, and hears of a lack of memory.
    this.#after(report);
  }

  #after(work: Promise<unknown>): void {
    const before = this.#pending;
    this.#pending = before.then(() => work);
    this.#pending.catch(() => undefined);
    work.catch(() => undefined);
  }

  /** Waits until the device has agreed to all states, and all writes are under way. */
  async settled(): Promise<void> {
    await this.#pending;
  }

  get specs(): readonly StateSpec[] {
    return this.#buffers.specs;
  }

  async write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    const { spec } = this.#buffers.forWrite(name, tensor, at);
    const width = byteWidth(spec.type.dtype);
    const work = this.settled().then(() =>
      this.#writeBytes(this.region(name), at * width, bytesOf(tensor.data), `state "${name}"`),
    );
    // Narrow elements share words with their neighbours, so writes follow one another.
    this.#after(work.catch(() => undefined));
    await work;
  }

  async #writeBytes(
    region: Region,
    from: number,
    data: Uint8Array<ArrayBuffer>,
    where: string,
  ): Promise<void> {
    if (data.byteLength === 0) return;
    const to = from + data.byteLength;
    const start = from - (from % 4);
    const end = roundUp(to, 4);
    let whole = data;
    if (start !== from || (end !== to && to !== region.bytes)) {
      // The words at both ends hold other elements too.
      whole = new Uint8Array(end - start);
      for (const word of new Set([start, end - 4])) {
        const old = await this.memory.download({ ...region, offset: word, bytes: 4 }, where);
        whole.set(old, word - start);
      }
      whole.set(data, from - start);
    }
    await this.memory.upload({ ...region, offset: start }, whole, where);
  }

  async read(name: string): Promise<HostTensor> {
    const { spec, shape, length } = this.#buffers.get(name);
    await this.settled();
    const bytes = await this.memory.download(this.region(name), `state "${name}"`);
    const { dtype } = spec.type;
    return { dtype, shape, data: hostArray(dtype, length, bytes.buffer, 0) };
  }

  get bytes(): number {
    return this.#buffers.bytes;
  }

  dispose(): void {
    for (const buffer of this.#buffers.places) this.memory.destroy(buffer);
    this.#buffers.clear();
  }

  /** Where a state lies. */
  region(name: string): Region {
    const { bytes, place } = this.#buffers.get(name);
    return { buffer: place, offset: 0, bytes };
  }
}
