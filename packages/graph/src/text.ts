/**
 * The small pieces of the text forms: names, numbers, attribute values, sizes, elements of constants. In: data. Out: text
 * that `parse.ts` reads back to equal data. Canonical: equal data gives equal text, whatever its key order was.
 */
import { byteWidth } from "./dtype.ts";
import type { HostTensor } from "./host-tensor.ts";
import { hostArray, loadElement, storeElement } from "./host-tensor.ts";
import type { Attribute } from "./op.ts";
import type { SizeSymbol, SymbolicDim } from "./shape.ts";
import { formatDim } from "./shape.ts";

/** Words that mean a value wherever a name could stand, so a name like them is quoted. */
const reserved: ReadonlySet<string> = new Set(["true", "false", "null", "inf", "nan"]);

/** A name, quoted unless it is made of letters, digits, `_` and `.` and is no reserved word. */
export function formatName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_.]*$/.test(name) && !reserved.has(name)
    ? name
    : JSON.stringify(name);
}

/** Shortest text that reads back to the same double. */
export function formatNumber(value: number): string {
  if (value !== value) return "nan";
  if (Object.is(value, -0)) return "-0";
  if (value === Infinity) return "inf";
  return value === -Infinity ? "-inf" : String(value);
}

export function isSymbolicDim(value: unknown): value is SymbolicDim {
  return (
    typeof value === "object" &&
    value !== null &&
    Array.isArray((value as Partial<SymbolicDim>).terms) &&
    Object.keys(value).length === 1
  );
}

/** An attribute: JSON with `inf`, `nan` and sizes such as `size(T+1)`; keys sorted. */
export function formatAttribute(value: Attribute): string {
  if (typeof value === "number") return formatNumber(value);
  if (isSymbolicDim(value)) return `size(${formatDim(value)})`;
  if (Array.isArray(value)) return `[${value.map(formatAttribute).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value as { readonly [key: string]: Attribute });
    const sorted = entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
    return `{${sorted.map(([key, item]) => `${formatName(key)}: ${formatAttribute(item)}`).join(", ")}}`;
  }
  return JSON.stringify(value) ?? "null";
}

/** `size T in 1..128`. */
export function formatSize({ name, min, max }: SizeSymbol): string {
  return `size ${name} in ${formatNumber(min)}..${formatNumber(max)}`;
}

/** A trailing `// layers.3.mlp`; nothing for an empty path. */
export function formatTrail(path: string): string {
  if (path === "") return "";
  return ` // ${/^[^\s"][^\r\n\u2028\u2029]*$/.test(path) && path === path.trim() ? path : JSON.stringify(path)}`;
}

/** Constants up to this many elements are printed as numbers. */
const inlineElements = 16;

/** Elements as `[1, 2.5]`, or as base64 of their bytes where there are many or a number would not keep the bits. */
export function formatElements({ dtype, data }: HostTensor): string {
  const bytes = bytesOf(data);
  if (data.length <= inlineElements) {
    const values = Array.from({ length: data.length }, (_, i) => loadElement(dtype, data, i));
    const copy = hostArray(dtype, data.length);
    values.forEach((value, i) => {
      storeElement(dtype, copy, i, value);
    });
    const copied = bytesOf(copy);
    if (bytes.every((byte, i) => byte === copied[i]))
      return `[${values.map(formatNumber).join(", ")}]`;
  }
  return `base64 "${encodeBase64(bytes)}"`;
}

function bytesOf(data: HostTensor["data"]): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** Elements of `dtype` from bytes; undefined when they are not a whole number of elements. */
export function elementsFromBytes(
  dtype: HostTensor["dtype"],
  bytes: Uint8Array<ArrayBuffer>,
): HostTensor["data"] | undefined {
  const count = bytes.length / byteWidth(dtype);
  return Number.isInteger(count) ? hostArray(dtype, count, bytes.buffer, 0) : undefined;
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** RFC 4648 base64 with padding; written here because this package uses no platform API. */
export function encodeBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let i = 0; i < bytes.length; i += 3) {
    const word = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    const left = bytes.length - i;
    parts.push(
      alphabet[word >>> 18]! +
        alphabet[(word >>> 12) & 63]! +
        (left > 1 ? alphabet[(word >>> 6) & 63]! : "=") +
        (left > 2 ? alphabet[word & 63]! : "="),
    );
  }
  return parts.join("");
}

/** Bytes of what `encodeBase64` wrote; undefined for anything else. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const bytes = new Uint8Array((text.length / 4) * 3 - padding);
  const digit = (i: number): number => Math.max(0, alphabet.indexOf(text[i]!));
  for (let i = 0, at = 0; i < text.length; i += 4) {
    const word = (digit(i) << 18) | (digit(i + 1) << 12) | (digit(i + 2) << 6) | digit(i + 3);
    for (const byte of [word >>> 16, (word >>> 8) & 255, word & 255])
      if (at < bytes.length) bytes[at++] = byte;
  }
  return bytes;
}
