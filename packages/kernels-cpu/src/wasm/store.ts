/**
 * Persistent values in WebAssembly memory. In: names and types. Out: one block of memory per state, zero until written, which
 * every program over the store addresses directly. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import {
  byteWidth,
  elementCount,
  formatType,
  hostArray,
  InputError,
  maxDim,
} from "@millrace/graph";
import { LinearMemory } from "./launch/memory.ts";

interface State {
  readonly spec: StateSpec;
  readonly shape: readonly number[];
  readonly address: number;
}

/** The states of programs, and the memory these programs run in. */
export class WasmStore implements Store {
  readonly memory: LinearMemory = new LinearMemory();
  readonly #states: Map<string, State> = new Map();

  ensure(specs: readonly StateSpec[]): void {
    for (const spec of specs) {
      const known = this.#states.get(spec.name);
      if (known && formatType(known.spec.type) !== formatType(spec.type))
        throw new InputError({
          what: `state "${spec.name}" is ${formatType(known.spec.type)} in the store and ${formatType(spec.type)} in the program`,
          where: spec.name,
          hint: "Use one type for the state, or two stores.",
        });
    }
    for (const spec of specs) {
      if (this.#states.has(spec.name)) continue;
      const shape = spec.type.shape.map(maxDim);
      const bytes = elementCount(shape) * byteWidth(spec.type.dtype);
      const address = this.memory.allocate(bytes, `state "${spec.name}"`);
      this.#states.set(spec.name, { spec, shape, address });
    }
  }

  get specs(): readonly StateSpec[] {
    return [...this.#states.values()].map(({ spec }) => spec);
  }

  async write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    const { spec } = this.#state(name);
    const data = this.#data(name);
    if (tensor.dtype !== spec.type.dtype)
      throw new InputError({
        what: `state "${name}" is ${formatType(spec.type)}, the value written ${tensor.dtype}`,
        hint: "Convert the value first.",
      });
    if (!Number.isInteger(at) || at < 0 || at + tensor.data.length > data.length)
      throw new InputError({
        what: `elements ${at} to ${at + tensor.data.length} are not all within state "${name}" of ${data.length}`,
        hint: "Write within the state's size.",
      });
    data.set(tensor.data as never, at);
  }

  async read(name: string): Promise<HostTensor> {
    const { spec, shape } = this.#state(name);
    return { dtype: spec.type.dtype, shape, data: this.#data(name).slice() };
  }

  get bytes(): number {
    let total = 0;
    for (const { spec, shape } of this.#states.values())
      total += elementCount(shape) * byteWidth(spec.type.dtype);
    return total;
  }

  dispose(): void {
    for (const { address } of this.#states.values()) this.memory.release(address);
    this.#states.clear();
  }

  /** Byte address of a state. */
  address(name: string): number {
    return this.#state(name).address;
  }

  #data(name: string): HostArray {
    const { spec, shape, address } = this.#state(name);
    return hostArray(spec.type.dtype, elementCount(shape), this.memory.memory.buffer, address);
  }

  #state(name: string): State {
    const state = this.#states.get(name);
    if (!state)
      throw new InputError({
        what: `there is no state "${name}" in the store`,
        hint: `It holds: ${[...this.#states.keys()].slice(0, 20).join(", ") || "nothing"}.`,
      });
    return state;
  }
}
