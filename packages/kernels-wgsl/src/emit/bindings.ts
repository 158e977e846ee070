/**
 * Which storage bindings a kernel has, and how an element is read and written. In: the kernel's buffers, which of them are the same
 * memory, which are stored to and how. Out: declarations, and texts of loads and stores by row-major position.
 *
 * f32, i32 and u32 are arrays of themselves. Narrower elements are packed in words of 32 bits, an i64 is two words of which
 * the low one counts. A packed element is stored by the invocation that owns its whole word, or by atomic operations on the
 * word. A buffer larger than a binding may be is bound in parts.
 */
import type { DType, Kernel, KernelBuffer } from "@millrace/graph";
import { byteWidth, InternalError, isFloat, maxBytes } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import { quad } from "../configure/accesses.ts";
import type { Library } from "./library.ts";
import type { Names } from "./names.ts";

/** Memory that one or more of the kernel's buffers are bound to. */
export interface Binding {
  /** Identifier in the shader; parts after the first get a suffix. */
  readonly name: string;
  readonly dtype: DType;
  /** Indices of the kernel's buffers. */
  readonly members: readonly number[];
  /** Bindings it takes. */
  readonly parts: number;
  /** Elements of the array type in each part but the last. */
  readonly partLength: number;
  readonly written: boolean;
  /** Elements of f16 as what they are, not packed in words. */
  readonly half: boolean;
}

/** `sharing[i]` is the lowest buffer that is the same memory as buffer i. */
export type Sharing = readonly number[];

/** A sharing in which every buffer has memory of its own. */
export const unshared = (kernel: Kernel): Sharing => kernel.buffers.map((_, i) => i);

const bytesOf = ({ dtype, shape }: KernelBuffer): number => maxBytes({ dtype, shape });

export function bindingsOf(
  kernel: Kernel,
  sharing: Sharing,
  capabilities: WgslCapabilities,
  names: Names,
): readonly Binding[] {
  const bindings: Binding[] = [];
  kernel.buffers.forEach((buffer, i) => {
    if (sharing[i] !== i) return;
    const members = kernel.buffers.flatMap((_, j) => (sharing[j] === i ? [j] : []));
    const bytes = Math.max(...members.map((j) => bytesOf(kernel.buffers[j]!)));
    const half = !isPacked(buffer.dtype, capabilities) && buffer.dtype === "f16";
    bindings.push({
      name: names.fresh(buffer.name),
      dtype: buffer.dtype,
      members,
      parts: Math.max(1, Math.ceil(bytes / capabilities.maxBindingBytes)),
      partLength: capabilities.maxBindingBytes / (half ? 2 : 4),
      written: members.some((j) => kernel.buffers[j]!.access !== "read"),
      half,
    });
  });
  return bindings;
}

/** Elements of a dtype in one word. */
export const perWord = (dtype: DType): number => Math.max(1, 4 / byteWidth(dtype));

/** Whether several elements are in a word. */
export const isPacked = (dtype: DType, { f16 }: Pick<WgslCapabilities, "f16">): boolean =>
  byteWidth(dtype) < 4 && !(f16 && dtype === "f16");

const arrayType = ({ dtype, half }: Binding): string => {
  if (half) return "f16";
  if (dtype === "f32" || dtype === "i32" || dtype === "u32") return dtype;
  return dtype === "i64" ? "i32" : "u32";
};

/** How packed elements of a binding are written. */
export type PackedStore = "none" | "owned" | "atomic";

export class Storage {
  readonly binding: Binding;
  readonly store: PackedStore;
  /** An array of vectors of four elements, which is only read. */
  readonly vectors: boolean;
  readonly #library: Library;

  constructor(binding: Binding, store: PackedStore, library: Library, vectors = false) {
    this.binding = binding;
    this.store = store;
    this.vectors = vectors;
    this.#library = library;
  }

  #part(part: number): string {
    return part === 0 ? this.binding.name : `${this.binding.name}_part${part}`;
  }

  /** Declarations of its parts, from binding number `first` on, and of the functions that choose among them. */
  declarations(first: number): readonly string[] {
    const { parts, partLength, name } = this.binding;
    const atomic = this.store === "atomic";
    const type = arrayType(this.binding);
    const plain = this.vectors ? `vec4<${type}>` : type;
    const element = atomic ? "atomic<u32>" : plain;
    const lines = Array.from(
      { length: parts },
      (_, part) =>
        `@group(0) @binding(${first + part}) var<storage, read_write> ${this.#part(part)}: array<${element}>;`,
    );
    if (parts === 1) return lines;
    // The last part needs no test.
    const choose = (use: (part: string, at: string) => string): string =>
      Array.from({ length: parts }, (_, part) => {
        const at = part === 0 ? "i" : `i - ${part * partLength}u`;
        const action = use(this.#part(part), at);
        return part === parts - 1
          ? `  ${action}`
          : `  if (i < ${(part + 1) * partLength}u) { ${action} }`;
      }).join("\n");
    lines.push(
      `fn ${name}_get(i: u32) -> ${type} {\n${choose((part, at) => `return ${atomic ? `atomicLoad(&${part}[${at}])` : `${part}[${at}]`};`)}\n}`,
    );
    if (!this.binding.written) return lines;
    if (atomic)
      lines.push(
        `fn ${name}_put(i: u32, mask: u32, value: u32) {\n${choose((part, at) => `atomicAnd(&${part}[${at}], ~mask); atomicOr(&${part}[${at}], value); return;`)}\n}`,
      );
    else
      lines.push(
        `fn ${name}_set(i: u32, value: ${type}) {\n${choose((part, at) => `${part}[${at}] = value; return;`)}\n}`,
      );
    return lines;
  }

  #word(at: string): string {
    const { parts, name } = this.binding;
    if (parts > 1) return `${name}_get(u32(${at}))`;
    if (this.vectors) return `${name}[(${at}) >> 2u][(${at}) & 3]`;
    return this.store === "atomic" ? `atomicLoad(&${name}[${at}])` : `${name}[${at}]`;
  }

  /** An element of f16 as a number, by way of its code: a device may flush small ones to zero when it converts them. */
  #fromHalf(value: string): string {
    return `${this.#library.use("decode_f16")}(bitcast<u32>(vec2<f16>(${value}, 0.0h)))`;
  }

  /** Text of the element at a position. */
  load(at: string): string {
    const { dtype, half } = this.binding;
    if (half) return this.#fromHalf(this.#word(at));
    switch (dtype) {
      case "f32":
      case "i32":
      case "u32":
        return this.#word(at);
      case "i64":
        return this.#word(`${at} * 2`);
      default: {
        const [log, bits, mask] = byteWidth(dtype) === 1 ? [2, 3, "0xffu"] : [1, 4, "0xffffu"];
        const within = byteWidth(dtype) === 1 ? 3 : 1;
        const shifted = `(${this.#word(`${at} >> ${log}u`)} >> (u32(${at} & ${within}) << ${bits}u))`;
        const code = `(${shifted} & ${mask})`;
        if (dtype === "u8") return `i32${code}`;
        if (dtype === "i8" || dtype === "i16") {
          const unused = dtype === "i8" ? 24 : 16;
          return `(bitcast<i32>(${code} << ${unused}u) >> ${unused}u)`;
        }
        if (dtype === "bool") return `(${code} != 0u)`;
        return `${this.#library.use(`decode_${dtype}`)}${code}`;
      }
    }
  }

  /** Texts that read four elements from a multiple of four on, and of each of the four. */
  quad(at: string): {
    readonly reads: readonly string[];
    readonly of: (names: readonly string[]) => readonly string[];
  } {
    const { dtype, half } = this.binding;
    const places = [0, 1, 2, 3];
    if (this.vectors)
      return {
        reads: [`${this.binding.name}[${at} >> 2u]`],
        of: ([name]) =>
          places.map((place) => {
            const value = `${name}.${"xyzw"[place]!}`;
            return half ? this.#fromHalf(value) : value;
          }),
      };
    if (half || byteWidth(dtype) === 4 || !(isFloat(dtype) || dtype === "u8"))
      return {
        reads: places.map((place) => this.load(`(${at} + ${place})`)),
        of: (names) => [...names],
      };
    const count = perWord(dtype);
    const bits = 32 / count;
    const words = Array.from({ length: quad / count }, (_, i) => i);
    return {
      reads: words.map((word) => this.#word(`((${at} >> ${count === 4 ? 2 : 1}u) + ${word})`)),
      of: (names) =>
        places.map((place) => {
          const shift = (place % count) * bits;
          const word = names[Math.floor(place / count)]!;
          const code = `((${word} >> ${shift}u) & ${bits === 8 ? "0xffu" : "0xffffu"})`;
          return dtype === "u8" ? `i32${code}` : `${this.#library.use(`decode_${dtype}`)}${code}`;
        }),
    };
  }

  /** The code of a packed element with this value. */
  code(value: string): string {
    const { dtype } = this.binding;
    if (dtype === "bool") return `u32(${value})`;
    if (dtype === "u8" || dtype === "i8") return `(bitcast<u32>(${value}) & 0xffu)`;
    if (dtype === "i16") return `(bitcast<u32>(${value}) & 0xffffu)`;
    return `${this.#library.use(`encode_${dtype}`)}(${value})`;
  }

  /** Statement that stores a word. */
  setWord(at: string, value: string): string {
    const { parts, name } = this.binding;
    return parts > 1 ? `${name}_set(u32(${at}), ${value});` : `${name}[${at}] = ${value};`;
  }

  /** Statements that store an element, which is not packed or shares its word with other invocations' elements. */
  set(at: string, value: string): readonly string[] {
    const { dtype, parts, name } = this.binding;
    if (dtype === "i64")
      return [this.setWord(`${at} * 2`, value), this.setWord(`${at} * 2 + 1`, `(${value} >> 31u)`)];
    if (this.binding.half) return [this.setWord(at, `bitcast<vec2<f16>>(${this.code(value)}).x`)];
    if (byteWidth(dtype) === 4) return [this.setWord(at, value)];
    if (this.store !== "atomic")
      throw new InternalError({
        what: `elements of ${name} are stored one by one, but its words are owned`,
      });
    const [log, bits, mask] = byteWidth(dtype) === 1 ? [2, 3, "0xffu"] : [1, 4, "0xffffu"];
    const within = byteWidth(dtype) === 1 ? 3 : 1;
    const shift = `(u32(${at} & ${within}) << ${bits}u)`;
    const word = `${at} >> ${log}u`;
    const shifted = `${this.code(value)} << ${shift}`;
    if (parts > 1) return [`${name}_put(u32(${word}), ${mask} << ${shift}, ${shifted});`];
    return [
      `atomicAnd(&${name}[${word}], ~(${mask} << ${shift}));`,
      `atomicOr(&${name}[${word}], ${shifted});`,
    ];
  }
}
