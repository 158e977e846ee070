/**
 * Persistent values in WebAssembly memory. In: names and types. Out: one block of memory per state, zero until written, which
 * every program over the store addresses directly. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import { hostArray, StateTable } from "@millrace/graph";
import { LinearMemory } from "./launch/memory.ts";

/** The states of programs, and the memory these programs run in. */
export class WasmStore implements Store {
  readonly memory: LinearMemory = new LinearMemory();
  readonly #addresses: StateTable<number> = new StateTable();

  ensure(specs: readonly StateSpec[]): void {
    this.#addresses.ensure(specs, ({ spec, bytes }) =>
      this.memory.allocate(bytes, `state "${spec.name}"`),
    );
  }

  get specs(): readonly StateSpec[] {
    return this.#addresses.specs;
  }

  async write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    this.#addresses.forWrite(name, tensor, at);
    this.#data(name).set(tensor.data as never, at);
  }

  async read(name: string): Promise<HostTensor> {
    const { spec, shape } = this.#addresses.get(name);
    return { dtype: spec.type.dtype, shape, data: this.#data(name).slice() };
  }

  get bytes(): number {
    return this.#addresses.bytes;
  }

  dispose(): void {
    for (const address of this.#addresses.places) this.memory.release(address);
    this.#addresses.clear();
  }

  /** Byte address of a state. */
  address(name: string): number {
    return this.#addresses.get(name).place;
  }

  #data(name: string): HostArray {
    const { spec, length, place } = this.#addresses.get(name);
    return hostArray(spec.type.dtype, length, this.memory.memory.buffer, place);
  }
}
