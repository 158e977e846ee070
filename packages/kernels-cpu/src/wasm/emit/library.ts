/**
 * Functions that a module holds at most once, defined when first asked for. In: a name. Out: a function to call.
 * The functions themselves are in math.ts, float-formats.ts and integer-division.ts.
 */
import type { ModuleBuilder, Signature } from "./assembler.ts";
import type { FunctionBuilder, FunctionRef } from "./function-builder.ts";

/** A function of the library: its signature and its body, which may ask for other functions. */
export interface LibraryFunction {
  /** Names what it computes: two functions of one name are the same function. */
  readonly name: string;
  readonly signature: Signature;
  readonly body: (f: FunctionBuilder, library: Library) => void;
}

/** Signature of a function of one register. */
export const unaryVector: Signature = { params: ["v128"], results: ["v128"] };
/** Signature of a function of two registers. */
export const binaryVector: Signature = { params: ["v128", "v128"], results: ["v128"] };

/** The shared functions of one module. */
export class Library {
  readonly #module: ModuleBuilder;
  readonly #defined: Map<string, FunctionRef> = new Map();

  constructor(module: ModuleBuilder) {
    this.#module = module;
  }

  /** The function, defined now if nobody has asked before. */
  get(source: LibraryFunction): FunctionRef {
    const known = this.#defined.get(source.name);
    if (known) return known;
    const defined = this.#module.define(source.signature, (f) => source.body(f, this));
    this.#defined.set(source.name, defined);
    return defined;
  }
}
