/**
 * Persistent values in WebAssembly memory. In: names and types. Out: one block of one memory per state, zero until written,
 * which every program over the store addresses directly. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import { hostArray, StateTable } from "@millrace/graph";
import type { MemoryLimits, Place } from "./launch/memories.ts";
import { Memories } from "./launch/memories.ts";
import { Turns } from "./launch/turns.ts";

/** The states of programs, and the memories these programs run in. */
export class WasmStore implements Store {
  /** Names the store to those who must not keep it. */
  readonly key: symbol = Symbol("store");
  readonly memories: Memories;
  /** Several threads can run programs over it. */
  readonly shared: boolean;
  /** What touches the memory's contents, one after the other: runs, reading, writing, giving back. */
  readonly turns: Turns = new Turns();
  readonly #states: StateTable<Place> = new StateTable();
  readonly #onDispose: (key: symbol) => void;

  constructor(limits: MemoryLimits, onDispose: (key: symbol) => void) {
    this.memories = new Memories(limits);
    this.shared = limits.shared;
    this.#onDispose = onDispose;
  }

  ensure(specs: readonly StateSpec[]): void {
    this.#states.ensure(specs, ({ spec, bytes }) =>
      this.memories.place(bytes, `state "${spec.name}"`, "state"),
    );
  }

  get specs(): readonly StateSpec[] {
    return this.#states.specs;
  }

  write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    return this.turns.take(() => {
      this.#states.forWrite(name, tensor, at);
      this.#data(name).set(tensor.data as never, at);
    });
  }

  read(name: string): Promise<HostTensor> {
    return this.turns.take(() => {
      const { spec, shape } = this.#states.get(name);
      return { dtype: spec.type.dtype, shape, data: this.#data(name).slice() };
    });
  }

  get bytes(): number {
    return this.#states.bytes;
  }

  dispose(): void {
    const places = [...this.#states.places];
    this.#states.clear();
    void this.turns.take(() => places.forEach((place) => this.memories.release(place)));
    this.#onDispose(this.key);
  }

  /** Where a state lies. */
  place(name: string): Place {
    return this.#states.get(name).place;
  }

  #data(name: string): HostArray {
    const { spec, length, place } = this.#states.get(name);
    return hostArray(spec.type.dtype, length, place.memory.memory.buffer, place.address);
  }
}
