/**
 * Persistent values in WebAssembly memory. In: names and types. Out: one block of memory per state, zero until written, which
 * every program over the store addresses directly. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import { hostArray, StateTable } from "@millrace/graph";
import { LinearMemory } from "./launch/memory.ts";
import { Turns } from "./launch/turns.ts";

/** The states of programs, and the memory these programs run in. */
export class WasmStore implements Store {
  /** Names the store to those who must not keep it. */
  readonly key: symbol = Symbol("store");
  readonly memory: LinearMemory;
  /** What touches the memory's contents, one after the other: runs, reading, writing, giving back. */
  readonly turns: Turns = new Turns();
  readonly #addresses: StateTable<number> = new StateTable();
  readonly #onDispose: (key: symbol) => void;

  /** Several threads can run programs over a `shared` store. */
  constructor(shared: boolean, onDispose: (key: symbol) => void) {
    this.memory = new LinearMemory(shared);
    this.#onDispose = onDispose;
  }

  ensure(specs: readonly StateSpec[]): void {
    this.#addresses.ensure(specs, ({ spec, bytes }) =>
      this.memory.allocate(bytes, `state "${spec.name}"`),
    );
  }

  get specs(): readonly StateSpec[] {
    return this.#addresses.specs;
  }

  write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    return this.turns.take(() => {
      this.#addresses.forWrite(name, tensor, at);
      this.#data(name).set(tensor.data as never, at);
    });
  }

  read(name: string): Promise<HostTensor> {
    return this.turns.take(() => {
      const { spec, shape } = this.#addresses.get(name);
      return { dtype: spec.type.dtype, shape, data: this.#data(name).slice() };
    });
  }

  get bytes(): number {
    return this.#addresses.bytes;
  }

  dispose(): void {
    const addresses = [...this.#addresses.places];
    this.#addresses.clear();
    void this.turns.take(() => addresses.forEach((address) => this.memory.release(address)));
    this.#onDispose(this.key);
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
