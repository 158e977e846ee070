/**
 * The states of a store by name, with what every backend checks alike. In: specs and where each was placed. Out: entries, or an
 * error that names the state. Knows nothing of memory: a place is whatever the backend makes it.
 */
import { byteWidth } from "../dtype.ts";
import { InputError } from "../errors.ts";
import type { HostTensor } from "../host-tensor.ts";
import { dataProblem, elementCount } from "../host-tensor.ts";
import type { StateSpec } from "../program.ts";
import { formatType, maxDim } from "../shape.ts";

export interface StateEntry<Place> {
  readonly spec: StateSpec;
  /** With symbolic sizes at their largest. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly length: number;
  readonly bytes: number;
  readonly place: Place;
}

export class StateTable<Place> {
  readonly #entries = new Map<string, StateEntry<Place>>();

  /** Places the states that are not there yet; throws, and places none, if one exists with another type. */
  ensure(
    specs: readonly StateSpec[],
    place: (state: Omit<StateEntry<Place>, "place">) => Place,
  ): void {
    for (const { name, type } of specs) {
      const known = this.#entries.get(name)?.spec.type;
      if (known && formatType(known) !== formatType(type))
        throw new InputError({
          what: `state "${name}" is ${formatType(known)} in the store and ${formatType(type)} in the program`,
          where: name,
          hint: "Use one type for the state, or two stores.",
        });
    }
    for (const spec of specs) {
      if (this.#entries.has(spec.name)) continue;
      const shape = spec.type.shape.map(maxDim);
      const length = elementCount(shape);
      const state = { spec, shape, length, bytes: length * byteWidth(spec.type.dtype) };
      this.#entries.set(spec.name, { ...state, place: place(state) });
    }
  }

  get(name: string): StateEntry<Place> {
    const entry = this.#entries.get(name);
    if (!entry)
      throw new InputError({
        what: `there is no state "${name}" in the store`,
        hint: `It holds: ${[...this.#entries.keys()].slice(0, 20).join(", ") || "nothing"}.`,
      });
    return entry;
  }

  /** The entry, if `tensor` may be written into it from element `at` on. */
  forWrite(name: string, tensor: HostTensor, at: number): StateEntry<Place> {
    const entry = this.get(name);
    if (tensor.dtype !== entry.spec.type.dtype)
      throw new InputError({
        what: `state "${name}" is ${formatType(entry.spec.type)}, the value written ${tensor.dtype}`,
        hint: "Convert the value first.",
      });
    const problem = dataProblem(tensor);
    if (problem !== undefined)
      throw new InputError({
        what: `the value written to state "${name}" of ${problem}`,
        hint: "Make it with hostTensor, or give it the array that its dtype is stored in.",
      });
    if (!Number.isInteger(at) || at < 0 || at + tensor.data.length > entry.length)
      throw new InputError({
        what: `elements ${at} to ${at + tensor.data.length} are not all within state "${name}" of ${entry.length}`,
        hint: "Write within the state's size.",
      });
    return entry;
  }

  get specs(): readonly StateSpec[] {
    return [...this.#entries.values()].map(({ spec }) => spec);
  }

  get places(): readonly Place[] {
    return [...this.#entries.values()].map(({ place }) => place);
  }

  get bytes(): number {
    return [...this.#entries.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }

  clear(): void {
    this.#entries.clear();
  }
}
