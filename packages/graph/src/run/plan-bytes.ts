/**
 * Programs, and what a backend makes of them, as bytes. In: plain data and blocks of bytes. Out: one block with a checksum, read back to
 * equal data, or to nothing where a bit of it has changed. Not for exchange: only the version that wrote it reads it.
 * Layout: `MRPL`, the checksum of all that follows (8 bytes), the length of the text (4), JSON text, then blocks at multiples of 8 bytes.
 */
import type { HostTensor } from "../host-tensor.ts";
import { hostArray } from "../host-tensor.ts";
import type { Program } from "../program.ts";

// Every platform has these two, but they are not part of the language, whose types alone are known here.
declare const TextEncoder: new () => { encode(text: string): Uint8Array };
declare const TextDecoder: new () => { decode(bytes: Uint8Array): string };

const MAGIC = 0x4c50524d; // "MRPL", little endian
const HEADER = 16;

const aligned = (at: number): number => Math.ceil(at / 8) * 8;

/** Two sums that each byte changes, and its position too. Adler's, with 32-bit words and a multiplication. */
function checksum(bytes: Uint8Array): readonly [number, number] {
  let a = 1;
  let b = bytes.length;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
  for (const word of words) {
    a = Math.imul(a ^ word, 0x01000193);
    b = (Math.imul(b, 31) + a) | 0;
  }
  for (let i = words.length * 4; i < bytes.length; i++) a = Math.imul(a ^ bytes[i]!, 0x01000193);
  return [a >>> 0, (b ^ a) >>> 0];
}

/** `data` is anything that JSON holds. */
export function encodeBlocks(
  data: unknown,
  blocks: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(
    JSON.stringify([data, blocks.map((block) => block.byteLength)]),
  );
  let end = HEADER + text.length;
  const offsets = blocks.map((block) => {
    const at = aligned(end);
    end = at + block.byteLength;
    return at;
  });
  const bytes = new Uint8Array(end);
  const view = new DataView(bytes.buffer);
  view.setUint32(12, text.length, true);
  bytes.set(text, HEADER);
  blocks.forEach((block, i) => bytes.set(block, offsets[i]));
  const [a, b] = checksum(bytes.subarray(12));
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, a, true);
  view.setUint32(8, b, true);
  return bytes;
}

/** What `encodeBlocks` was given, or undefined where the bytes are not what it made. */
export function decodeBlocks(
  given: Uint8Array<ArrayBuffer>,
): { readonly data: unknown; readonly blocks: readonly Uint8Array<ArrayBuffer>[] } | undefined {
  const bytes = given.byteOffset % 8 === 0 ? given : given.slice();
  if (bytes.length < HEADER) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [a, b] = checksum(bytes.subarray(12));
  if (view.getUint32(0, true) !== MAGIC) return undefined;
  if (view.getUint32(4, true) !== a || view.getUint32(8, true) !== b) return undefined;
  const textEnd = HEADER + view.getUint32(12, true);
  const text = new TextDecoder().decode(bytes.subarray(HEADER, textEnd));
  const [data, lengths] = JSON.parse(text) as [unknown, number[]];
  let end = textEnd;
  const blocks = lengths.map((length) => {
    const at = aligned(end);
    end = at + length;
    return bytes.subarray(at, end);
  });
  return { data, blocks };
}

/** Numbers that JSON lacks. */
const SPECIAL = "number ";

function withoutSpecial(_: string, value: unknown): unknown {
  if (typeof value !== "number" || (Number.isFinite(value) && !Object.is(value, -0))) return value;
  return `${SPECIAL}${Object.is(value, -0) ? "-0" : value}`;
}

/** Puts them back, in place: they are the values of literals, anywhere inside the kernels. */
function restoreSpecial(data: unknown): void {
  if (typeof data !== "object" || data === null) return;
  const literal = data as { kind?: unknown; value?: unknown };
  if (literal.kind === "literal" && typeof literal.value === "string")
    literal.value = Number(literal.value.slice(SPECIAL.length));
  for (const part of Object.values(data)) restoreSpecial(part);
}

type PlaceData = { readonly kind: string; readonly value?: HostTensor };

export function encodePlan(program: Program): Uint8Array<ArrayBuffer> {
  const blocks: Uint8Array[] = [];
  const buffers = program.buffers.map(({ type, place }) => {
    if (place.kind !== "constant") return { type, place };
    const { dtype, shape, data } = place.value;
    blocks.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    return { type, place: { kind: "constant", value: { dtype, shape, data: blocks.length - 1 } } };
  });
  const kernels = JSON.stringify(program.kernels, withoutSpecial);
  return encodeBlocks({ ...program, buffers, kernels }, blocks);
}

export function decodePlan(bytes: Uint8Array<ArrayBuffer>): Program | undefined {
  const decoded = decodeBlocks(bytes);
  if (!decoded) return undefined;
  const { kernels: text, ...rest } = decoded.data as Omit<Program, "kernels"> & {
    readonly kernels: string;
  };
  const kernels = JSON.parse(text) as Program["kernels"];
  if (text.includes(`"${SPECIAL}`)) restoreSpecial(kernels);
  const buffers = rest.buffers.map((buffer) => {
    const { value } = buffer.place as PlaceData;
    if (value === undefined) return buffer;
    const block = decoded.blocks[value.data as unknown as number]!;
    const length = value.shape.reduce((product, size) => product * size, 1);
    const data = hostArray(value.dtype, length, block.buffer, block.byteOffset);
    return { ...buffer, place: { kind: "constant" as const, value: { ...value, data } } };
  });
  return { ...rest, buffers, kernels };
}
