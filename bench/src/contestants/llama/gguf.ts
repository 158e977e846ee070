/**
 * Writes GGUF files. In: keys and tensors. Out: a file that llama.cpp loads. Tensors are made one at a time, since a model may be
 * larger than one array. Source: the GGUF specification, version 3, and the block formats of ggml.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { decodeFloats, encodeFloats, encodeGroups } from "@millrace/graph";
import type { WeightFormat } from "../../case.ts";

/** Element types that both sides have. */
export type GgufFormat = Exclude<WeightFormat, "e4m3fn">;

const typeCodes: Readonly<Record<GgufFormat, number>> = {
  f32: 0,
  f16: 1,
  int4: 2, // Q4_0
  int8: 8, // Q8_0
  bf16: 30,
};

const BLOCK = 32;
const ALIGNMENT = 32;

export type GgufValue =
  | { readonly kind: "u32"; readonly value: number }
  | { readonly kind: "f32"; readonly value: number }
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "texts"; readonly value: readonly string[] }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "whole numbers"; readonly value: readonly number[] };

export interface GgufTensor {
  readonly name: string;
  /** Rows first. */
  readonly shape: readonly number[];
  readonly format: GgufFormat;
  readonly make: () => Float32Array<ArrayBuffer>;
}

const bytesPerBlock: Readonly<Record<GgufFormat, number>> = {
  f32: 4 * BLOCK,
  f16: 2 * BLOCK,
  bf16: 2 * BLOCK,
  int8: 2 + BLOCK,
  int4: 2 + BLOCK / 2,
};

/** Bytes of `count` elements, a multiple of 32. */
export function ggufBytes(format: GgufFormat, count: number): number {
  return (count / BLOCK) * bytesPerBlock[format];
}

/** Elements in their stored form. */
export function encodeTensor(format: GgufFormat, values: Float32Array<ArrayBuffer>): Uint8Array {
  switch (format) {
    case "f32":
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    case "f16":
    case "bf16": {
      const codes = encodeFloats(format, values);
      return new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength);
    }
    case "int8":
    case "int4":
      return encodeBlocks(format, values);
  }
}

/** Blocks with the codes that our own weights have, so that both sides multiply by the same numbers; ggml's scales are f16. */
function encodeBlocks(format: "int8" | "int4", values: Float32Array): Uint8Array {
  const tensor = { dtype: "f32", shape: [values.length], data: values } as const;
  const { codes, scales } = encodeGroups(tensor, format === "int8" ? 8 : 4, BLOCK);
  const { buffer, byteOffset, byteLength } = codes.data;
  const own = new Uint8Array(buffer, byteOffset, byteLength);
  const exact = decodeFloats("bf16", scales.data as Uint16Array);
  const steps = encodeFloats("f16", exact) as Uint16Array;
  const size = bytesPerBlock[format];
  const width = size - 2;
  const out = new Uint8Array(ggufBytes(format, values.length));
  for (let block = 0; block < steps.length; block++) {
    const at = block * size;
    out[at] = steps[block]! & 255;
    out[at + 1] = steps[block]! >> 8;
    const from = own.subarray(block * width, (block + 1) * width);
    // A byte of ours holds two neighbours, one of ggml's an element from each half of the block.
    const half = (i: number): number => (from[i >> 1]! >> (4 * (i % 2))) & 15;
    if (format === "int8") out.set(from, at + 2);
    else for (let i = 0; i < width; i++) out[at + 2 + i] = half(i) | (half(i + width) << 4);
  }
  return out;
}

/** Little-endian pieces of the head of a file. */
class Head {
  readonly #pieces: Uint8Array[] = [];
  length = 0;

  push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.length += piece.length;
  }

  u32(value: number): void {
    this.push(new Uint8Array(Uint32Array.of(value).buffer));
  }

  u64(value: number): void {
    this.push(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.push(bytes);
  }

  value(value: GgufValue): void {
    switch (value.kind) {
      case "u32":
        this.u32(4);
        this.u32(value.value);
        return;
      case "f32":
        this.u32(6);
        this.push(new Uint8Array(Float32Array.of(value.value).buffer));
        return;
      case "text":
        this.u32(8);
        this.text(value.value);
        return;
      case "texts":
        this.#array(8, value.value.length);
        for (const text of value.value) this.text(text);
        return;
      case "floats":
        this.#array(6, value.value.length);
        this.push(new Uint8Array(Float32Array.from(value.value).buffer));
        return;
      case "whole numbers":
        this.#array(5, value.value.length);
        this.push(new Uint8Array(Int32Array.from(value.value).buffer));
    }
  }

  #array(type: number, length: number): void {
    this.u32(9);
    this.u32(type);
    this.u64(length);
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#pieces);
  }
}

const padded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Writes a whole file. */
export function writeGguf(
  path: string,
  keys: Readonly<Record<string, GgufValue>>,
  tensors: readonly GgufTensor[],
): void {
  const head = new Head();
  head.push(new TextEncoder().encode("GGUF"));
  head.u32(3);
  head.u64(tensors.length);
  head.u64(Object.keys(keys).length);
  for (const [name, value] of Object.entries(keys)) {
    head.text(name);
    head.value(value);
  }
  let offset = 0;
  for (const { name, shape, format } of tensors) {
    head.text(name);
    head.u32(shape.length);
    for (const size of shape.toReversed()) head.u64(size);
    head.u32(typeCodes[format]);
    head.u64(offset);
    const count = shape.reduce((product, size) => product * size, 1);
    offset += padded(ggufBytes(format, count));
  }
  const file = openSync(path, "w");
  try {
    const write = (bytes: Uint8Array): void => {
      for (let at = 0; at < bytes.length;)
        at += writeSync(file, bytes, at, Math.min(bytes.length - at, 2 ** 30));
      const rest = padded(bytes.length) - bytes.length;
      if (rest > 0) writeSync(file, new Uint8Array(rest));
    };
    write(head.bytes());
    for (const { format, make } of tensors) write(encodeTensor(format, make()));
  } finally {
    closeSync(file);
  }
}
