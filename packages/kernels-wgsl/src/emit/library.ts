/**
 * WGSL functions that kernels call: elementary functions, float formats, integer corner cases. In: names as they are used.
 * Out: the text of those functions and of what they call, each once, callees first. Texts are in the files beside this one.
 */
import { InternalError } from "@millrace/graph";
import { floatFormatFunctions } from "./float-formats.ts";
import { mathFunctions } from "./math.ts";

/** A function of the library; `calls` are those it needs. */
export interface LibraryFunction {
  readonly name: string;
  readonly calls?: readonly string[];
  readonly text: string;
}

const functions: ReadonlyMap<string, LibraryFunction> = new Map(
  [...mathFunctions, ...floatFormatFunctions].map((entry) => [entry.name, entry]),
);

/** The functions that one shader uses. */
export class Library {
  readonly #used = new Map<string, LibraryFunction>();

  /** Marks a function as used and gives its name. */
  use(name: string): string {
    if (this.#used.has(name)) return name;
    const entry = functions.get(name);
    if (!entry) throw new InternalError({ what: `the library has no function ${name}` });
    for (const callee of entry.calls ?? []) this.use(callee);
    this.#used.set(name, entry);
    return name;
  }

  uses(name: string): boolean {
    return this.#used.has(name);
  }

  /** Texts of all used functions, callees first. */
  texts(): readonly string[] {
    return [...this.#used.values()].map(({ text }) => text.trim());
  }
}
