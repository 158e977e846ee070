/**
 * The interpreter's states. In: names and types. Out: one typed array per state, zero until written, shared by all programs
 * over the store. A state with symbolic sizes has room for the largest.
 */
import type { HostArray, HostTensor, StateSpec, Store } from "@millrace/graph";
import { DeviceError, StateTable, hostArray } from "@millrace/graph";

/** Persistent values of the interpreter backend. */
export class InterpreterStore implements Store {
  readonly #states = new StateTable<HostArray>();

  ensure(specs: readonly StateSpec[]): void {
    this.#states.ensure(specs, ({ spec, length, bytes }) => {
      try {
        return hostArray(spec.type.dtype, length);
      } catch (cause) {
        throw new DeviceError({
          what: `there is no memory for ${bytes} bytes`,
          where: `state "${spec.name}"`,
          hint: "Use a smaller model, batch or context, or a narrower dtype.",
          cause,
        });
      }
    });
  }

  get specs(): readonly StateSpec[] {
    return this.#states.specs;
  }

  async write(name: string, tensor: HostTensor, at = 0): Promise<void> {
    this.#states.forWrite(name, tensor, at).place.set(tensor.data as never, at);
  }

  async read(name: string): Promise<HostTensor> {
    const { spec, shape, place } = this.#states.get(name);
    return { dtype: spec.type.dtype, shape, data: place.slice() };
  }

  get bytes(): number {
    return this.#states.bytes;
  }

  dispose(): void {
    this.#states.clear();
  }

  /** The state's own storage, for programs over this store. */
  data(name: string): HostArray {
    return this.#states.get(name).place;
  }
}
