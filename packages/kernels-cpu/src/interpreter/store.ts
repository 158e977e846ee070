/**
 * The interpreter's states. In: names and types. Out: one typed array per state, zero until written, shared by all programs
 * over the store. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import {
  InputError,
  byteWidth,
  elementCount,
  formatType,
  hostArray,
  maxDim,
} from "@millrace/graph";

interface State {
  readonly spec: StateSpec;
  readonly shape: readonly number[];
  readonly data: HostArray;
}

/** Persistent values of the interpreter backend. */
export class InterpreterStore implements Store {
  readonly #states = new Map<string, State>();

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
      const data = hostArray(spec.type.dtype, elementCount(shape));
      this.#states.set(spec.name, { spec, shape, data });
    }
  }

  get specs(): readonly StateSpec[] {
    return [...this.#states.values()].map(({ spec }) => spec);
  }

  async write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    const { spec, data } = this.#state(name);
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
    const { spec, shape, data } = this.#state(name);
    return { dtype: spec.type.dtype, shape, data: data.slice() };
  }

  get bytes(): number {
    let total = 0;
    for (const { spec, data } of this.#states.values())
      total += data.length * byteWidth(spec.type.dtype);
    return total;
  }

  dispose(): void {
    this.#states.clear();
  }

  /** The state's own storage, for programs over this store. */
  data(name: string): HostArray {
    return this.#state(name).data;
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
