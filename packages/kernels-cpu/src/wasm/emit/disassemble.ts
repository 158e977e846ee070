/**
 * Modules as text, to be read by people. In: the bytes of a module that our encoder made. Out: the WebAssembly text format, by
 * index and without names; a text assembler makes the same bytes of it again.
 */
import { InternalError } from "@millrace/graph";
import { ByteReader } from "./byte-reader.ts";
import {
  atomicOpcodes,
  laneOpcodes,
  memoryLaneOpcodes,
  memoryOpcodes,
  plainOpcodes,
  structuralOpcodes,
  valueTypeCodes,
} from "./opcodes.ts";

const plain: ReadonlyMap<number, string> = new Map(
  Object.entries(plainOpcodes).map(([name, code]) => [code, name]),
);
const lane: ReadonlyMap<number, string> = new Map(
  Object.entries(laneOpcodes).map(([name, code]) => [code, name]),
);
const structural: ReadonlyMap<number, string> = new Map(
  Object.entries(structuralOpcodes).map(([name, code]) => [code, name]),
);
type Access = { readonly name: string; readonly natural: number };
const accessTable = (
  table: Readonly<Record<string, readonly [number, number]>>,
): ReadonlyMap<number, Access> =>
  new Map(Object.entries(table).map(([name, [code, natural]]) => [code, { name, natural }]));
const memory = accessTable(memoryOpcodes);
const atomic = accessTable(atomicOpcodes);
const memoryLane = accessTable(memoryLaneOpcodes);
const valueTypes: ReadonlyMap<number, string> = new Map(
  Object.entries(valueTypeCodes).map(([name, code]) => [code, name]),
);

const float = (value: number): string =>
  value !== value
    ? "nan"
    : Math.abs(value) === Infinity
      ? value > 0
        ? "inf"
        : "-inf"
      : Object.is(value, -0)
        ? "-0"
        : String(value);

function accessText({ name, natural }: Access, reader: ByteReader): string {
  const flags = reader.unsigned();
  const align = flags & 63;
  const memoryIndex = flags & 64 ? ` ${reader.unsigned()}` : "";
  const offset = reader.unsigned();
  return `${name}${memoryIndex}${offset > 0 ? ` offset=${offset}` : ""}${align === natural ? "" : ` align=${2 ** align}`}`;
}

function structuralText(name: string, reader: ByteReader): string {
  switch (name) {
    case "block":
    case "loop":
    case "if": {
      const result = valueTypes.get(reader.byte());
      return result ? `${name} (result ${result})` : name;
    }
    case "i32.const":
    case "i64.const":
      return `${name} ${reader.signed()}`;
    case "f32.const":
      return `${name} ${float(reader.float32())}`;
    case "f64.const":
      return `${name} ${float(reader.float64())}`;
    case "v128.const": {
      const words = [reader.word(), reader.word(), reader.word(), reader.word()];
      return `${name} i32x4 ${words.map((word) => `0x${word.toString(16)}`).join(" ")}`;
    }
    case "i8x16.shuffle":
      return `${name} ${reader.take(16).join(" ")}`;
    case "memory.copy":
      reader.take(2);
      return name;
    case "memory.fill":
    case "memory.size":
    case "memory.grow":
      reader.byte();
      return name;
    case "else":
    case "end":
      return name;
    default:
      return `${name} ${reader.unsigned()}`;
  }
}

function instruction(reader: ByteReader): string {
  const first = reader.byte();
  const code = first >= 0xfc ? (first << 16) | reader.unsigned() : first;
  const simple = plain.get(code);
  if (simple) return simple;
  const access = memory.get(code) ?? atomic.get(code);
  if (access) return accessText(access, reader);
  const laneAccess = memoryLane.get(code);
  if (laneAccess) {
    const text = accessText(laneAccess, reader);
    return `${text} ${reader.byte()}`;
  }
  const laneName = lane.get(code);
  if (laneName) return `${laneName} ${reader.byte()}`;
  const other = structural.get(code);
  if (other === undefined)
    throw new InternalError({ what: `opcode 0x${code.toString(16)} is in no table` });
  return structuralText(other, reader);
}

/** Instructions up to the `end` of a function or constant, one a line, indented as they are nested. */
function instructions(reader: ByteReader, indent: string): string[] {
  const lines: string[] = [];
  for (let depth = 0; ;) {
    const text = instruction(reader);
    const closes = text === "end" || text === "else";
    if (text === "end" && depth === 0) return lines;
    if (closes) depth--;
    lines.push(indent + "  ".repeat(depth) + text);
    if (text === "else" || /^(block|loop|if)\b/.test(text)) depth++;
  }
}

const typeList = (reader: ByteReader): string =>
  Array.from({ length: reader.unsigned() }, () => ` ${valueTypes.get(reader.byte())}`).join("");

const quoted = (text: string): string => JSON.stringify(text);

function importText(reader: ByteReader): string {
  const path = `${quoted(reader.name())} ${quoted(reader.name())}`;
  if (reader.byte() === 0) return `  (import ${path} (func (type ${reader.unsigned()})))`;
  const flags = reader.byte();
  const minimum = reader.unsigned();
  const maximum = flags & 1 ? ` ${reader.unsigned()}` : "";
  return `  (import ${path} (memory ${minimum}${maximum}${flags & 2 ? " shared" : ""}))`;
}

function functionText(reader: ByteReader, type: number): string[] {
  reader.unsigned();
  const locals = Array.from({ length: reader.unsigned() }, () => {
    const count = reader.unsigned();
    return ` ${valueTypes.get(reader.byte())}`.repeat(count);
  }).join("");
  const head = `  (func (type ${type})${locals ? ` (local${locals})` : ""}`;
  return [head, ...instructions(reader, "    "), "  )"];
}

/** The text of a module. */
export function disassemble(bytes: Uint8Array): string {
  const reader = new ByteReader(bytes);
  reader.take(8);
  const lines: string[] = [];
  let functionTypes: number[] = [];
  while (!reader.atEnd) {
    const section = reader.byte();
    reader.unsigned();
    const count = reader.unsigned();
    if (section === 3) {
      functionTypes = Array.from({ length: count }, () => reader.unsigned());
      continue;
    }
    for (let i = 0; i < count; i++)
      switch (section) {
        case 1: {
          reader.byte();
          const params = typeList(reader);
          const results = typeList(reader);
          lines.push(
            `  (type (func${params ? ` (param${params})` : ""}${results ? ` (result${results})` : ""}))`,
          );
          break;
        }
        case 2:
          lines.push(importText(reader));
          break;
        case 6: {
          const type = valueTypes.get(reader.byte());
          const mutable = reader.byte() === 1;
          const [value] = instructions(reader, "");
          lines.push(`  (global ${mutable ? `(mut ${type})` : type} (${value}))`);
          break;
        }
        case 7: {
          const name = reader.name();
          reader.byte();
          lines.push(`  (export ${quoted(name)} (func ${reader.unsigned()}))`);
          break;
        }
        case 10:
          lines.push(...functionText(reader, functionTypes[i] ?? 0));
          break;
        case 11: {
          reader.byte();
          const [offset] = instructions(reader, "");
          const data = [...reader.take(reader.unsigned())];
          const hex = data.map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
          lines.push(`  (data (${offset}) "${hex}")`);
          break;
        }
        default:
          throw new InternalError({ what: `a module with a section ${section}` });
      }
  }
  return ["(module", ...lines, ")", ""].join("\n");
}
