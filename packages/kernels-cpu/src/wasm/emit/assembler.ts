/**
 * A WebAssembly module under construction. In: imported memories, functions, globals, exports, data. Out: the
 * bytes of the binary format. Knows no kernels. Source: WebAssembly 3.0 core specification, modules.
 */
import { InternalError } from "@millrace/graph";
import { ByteBuffer } from "./byte-buffer.ts";
import type { FunctionRef, Global } from "./function-builder.ts";
import { FunctionBuilder } from "./function-builder.ts";
import type { ValueType } from "./opcodes.ts";
import { structuralOpcodes, valueTypeCodes } from "./opcodes.ts";

/** Types of a function's parameters and results. */
export interface Signature {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** The memory a module imports, in pages of 64 KiB. */
export interface MemoryImport {
  readonly module: string;
  readonly name: string;
  readonly minimum: number;
  readonly maximum?: number;
  readonly shared?: boolean;
}

const sections = {
  type: 1,
  import: 2,
  function: 3,
  global: 6,
  export: 7,
  code: 10,
  data: 11,
} as const;

const FUNCTION_KIND = 0;
const MEMORY_KIND = 2;

/** Collects a module's parts and encodes them. */
export class ModuleBuilder {
  readonly #types: Map<string, number> = new Map();
  readonly #typeBytes: ByteBuffer = new ByteBuffer();
  readonly #imports: { module: string; name: string; type: number }[] = [];
  readonly #functions: { type: number; builder: FunctionBuilder }[] = [];
  readonly #globals: { type: ValueType; value: number; mutable: boolean }[] = [];
  readonly #exports: { name: string; index: number }[] = [];
  readonly #data: { offset: number; bytes: Uint8Array }[] = [];
  readonly #memories: MemoryImport[] = [];

  #typeIndex(signature: Signature): number {
    const key = `${signature.params.join(" ")} -> ${signature.results.join(" ")}`;
    const known = this.#types.get(key);
    if (known !== undefined) return known;
    const index = this.#types.size;
    this.#types.set(key, index);
    this.#typeBytes.byte(0x60);
    for (const list of [signature.params, signature.results]) {
      this.#typeBytes.unsigned(list.length);
      for (const type of list) this.#typeBytes.byte(valueTypeCodes[type]);
    }
    return index;
  }

  /** Memories are numbered in the order of their import. */
  importMemory(memory: MemoryImport): void {
    this.#memories.push(memory);
  }

  /** An imported function; all imports come before the first definition. */
  importFunction(module: string, name: string, signature: Signature): FunctionRef {
    if (this.#functions.length > 0)
      throw new InternalError({ what: `the import ${module}.${name} comes after a definition` });
    const index = this.#imports.push({ module, name, type: this.#typeIndex(signature) }) - 1;
    return { index, ...signature };
  }

  /** Defines a function; `body` may call it and any function defined before. */
  define(signature: Signature, body: (f: FunctionBuilder, self: FunctionRef) => void): FunctionRef {
    const builder = new FunctionBuilder(signature.params);
    const type = this.#typeIndex(signature);
    const index = this.#imports.length + this.#functions.push({ type, builder }) - 1;
    const self = { index, params: signature.params, results: signature.results };
    body(builder, self);
    return self;
  }

  global(type: "i32" | "f32", value: number, mutable = false): Global {
    return { index: this.#globals.push({ type, value, mutable }) - 1, type };
  }

  export(name: string, target: FunctionRef): void {
    this.#exports.push({ name, index: target.index });
  }

  /** Bytes copied to a fixed offset of the first memory when the module is instantiated. */
  data(offset: number, bytes: Uint8Array): void {
    this.#data.push({ offset, bytes });
  }

  #importSection(out: ByteBuffer): void {
    out.unsigned(this.#imports.length + this.#memories.length);
    for (const entry of this.#imports) {
      out.name(entry.module);
      out.name(entry.name);
      out.byte(FUNCTION_KIND);
      out.unsigned(entry.type);
    }
    for (const memory of this.#memories) {
      out.name(memory.module);
      out.name(memory.name);
      out.byte(MEMORY_KIND);
      out.byte((memory.maximum === undefined ? 0 : 1) | (memory.shared === true ? 2 : 0));
      out.unsigned(memory.minimum);
      if (memory.maximum !== undefined) out.unsigned(memory.maximum);
    }
  }

  #globalSection(out: ByteBuffer): void {
    out.unsigned(this.#globals.length);
    for (const { type, value, mutable } of this.#globals) {
      out.byte(valueTypeCodes[type]);
      out.byte(mutable ? 1 : 0);
      if (type === "f32") {
        out.byte(structuralOpcodes["f32.const"]);
        out.float32(value);
      } else {
        out.byte(structuralOpcodes["i32.const"]);
        out.signed(value);
      }
      out.byte(structuralOpcodes.end);
    }
  }

  #dataSection(out: ByteBuffer): void {
    out.unsigned(this.#data.length);
    for (const { offset, bytes } of this.#data) {
      out.byte(0);
      out.byte(structuralOpcodes["i32.const"]);
      out.signed(offset);
      out.byte(structuralOpcodes.end);
      out.unsigned(bytes.length);
      out.append(bytes);
    }
  }

  /** The module in the binary format. */
  encode(): Uint8Array<ArrayBuffer> {
    const out = new ByteBuffer();
    out.append(Uint8Array.of(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00));
    const section = (id: number, present: boolean, write: (content: ByteBuffer) => void): void => {
      if (!present) return;
      const content = new ByteBuffer();
      write(content);
      out.byte(id);
      out.sized(content);
    };
    section(sections.type, this.#types.size > 0, (content) => {
      content.unsigned(this.#types.size);
      content.append(this.#typeBytes.bytes());
    });
    const imported = this.#imports.length > 0 || this.#memories.length > 0;
    section(sections.import, imported, (content) => this.#importSection(content));
    section(sections.function, this.#functions.length > 0, (content) => {
      content.unsigned(this.#functions.length);
      for (const { type } of this.#functions) content.unsigned(type);
    });
    section(sections.global, this.#globals.length > 0, (content) => this.#globalSection(content));
    section(sections.export, this.#exports.length > 0, (content) => {
      content.unsigned(this.#exports.length);
      for (const { name, index } of this.#exports) {
        content.name(name);
        content.byte(FUNCTION_KIND);
        content.unsigned(index);
      }
    });
    section(sections.code, this.#functions.length > 0, (content) => {
      content.unsigned(this.#functions.length);
      for (const { builder } of this.#functions) content.sized(builder.encode());
    });
    section(sections.data, this.#data.length > 0, (content) => this.#dataSection(content));
    return out.bytes();
  }
}
