/**
 * Sizes that a shader reads at run time. In: dimensions, in the order they are met. Out: their places in a uniform array, and
 * texts. The first place is always 0: an integer that no compiler can see through (see `exact` in `math.ts`).
 */
import type { Dim } from "@millrace/graph";
import { formatDim } from "@millrace/graph";

export class SizeTable {
  readonly #dims: Dim[] = [0];
  readonly #places = new Map<string, number>();

  /** A number as itself, any other dimension as a read of its place. */
  text(dim: Dim): string {
    return typeof dim === "number" ? String(dim) : this.#read(dim, formatDim(dim));
  }

  /** A read of a number that the text does not show; `role` is where it stands. */
  hidden(dim: number, role: string): string {
    return this.#read(dim, `${dim} of ${role}`);
  }

  #read(dim: Dim, key: string): string {
    let place = this.#places.get(key);
    if (place === undefined) {
      place = this.#dims.length;
      this.#dims.push(dim);
      this.#places.set(key, place);
    }
    return `sizes[${Math.floor(place / 4)}].${"xyzw"[place % 4]!}`;
  }

  /** What the host writes, four to a vector. */
  get dims(): readonly Dim[] {
    return this.#dims;
  }

  declaration(binding: number): string {
    const vectors = Math.ceil(this.#dims.length / 4);
    return `@group(0) @binding(${binding}) var<uniform> sizes: array<vec4<i32>, ${vectors}>;`;
  }
}
