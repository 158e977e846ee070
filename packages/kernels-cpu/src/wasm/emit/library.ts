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

/** Bytes of memory that a module's table of constants may take. */
export const CONSTANT_TABLE_BYTES = 512;

/** The shared functions of one module. */
export class Library {
  readonly #module: ModuleBuilder;
  readonly #constantTable: number;
  readonly #constants: number[] = [];
  readonly #defined: Map<string, FunctionRef> = new Map();

  /** `constantTable` is the address of `CONSTANT_TABLE_BYTES` of memory, which the module fills when it starts. */
  constructor(module: ModuleBuilder, constantTable: number) {
    this.#module = module;
    this.#constantTable = constantTable;
  }

  /**
   * Leaves a float in four lanes on the stack, loaded from memory: one instruction, where V8 takes three to four for
   * a constant in the code. For functions that are called in loops.
   */
  f32x4(f: FunctionBuilder, value: number): void {
    let at = this.#constants.findIndex((known) => Object.is(known, value));
    if (at < 0) {
      if ((this.#constants.length + 1) * 4 > CONSTANT_TABLE_BYTES) {
        f.f32x4(value);
        return;
      }
      at = this.#constants.push(value) - 1;
    }
    f.i32(0);
    f.memory("v128.load32_splat", this.#constantTable + at * 4);
  }

  /** Adds the table to the module; call it once everything is defined. */
  finish(): void {
    if (this.#constants.length === 0) return;
    const bytes = Float32Array.from(this.#constants).buffer;
    this.#module.data(this.#constantTable, new Uint8Array(bytes));
  }

  /** What the function does, right here, to what lies on the stack. For short ones: a call in a loop costs as much as ten instructions. */
  inline(f: FunctionBuilder, { signature, body }: LibraryFunction): void {
    const locals = signature.params.toReversed().map((type) => f.save(type));
    f.withParams(locals.toReversed(), () => body(f, this));
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
