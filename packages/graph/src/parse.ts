/**
 * Every intermediate form from its text. In: what `print.ts` wrote, and for graphs the ops it may name. Out: equal data, or an
 * InputError with line and column. Reading does not judge: run `verify` on what comes from elsewhere.
 */
import { builtInOps } from "./declare/built-in-ops.ts";
import type { Graph, NamedValue, Node } from "./graph.ts";
import type { Kernel } from "./kernel.ts";
import type { AnyOp } from "./op.ts";
import { readKernel } from "./parse-kernel.ts";
import { TextReader } from "./parse-tokens.ts";
import type { Binding, Place, Program, ProgramBuffer, StateSpec, Step } from "./program.ts";
import type { TensorType } from "./shape.ts";

export interface ParseGraphOptions {
  /** Ops beside the built-in ones; one with the name of a built-in op takes its place. */
  readonly ops?: readonly AnyOp[];
}

/** Reads what `printGraph` wrote. */
export function parseGraph(text: string, options: ParseGraphOptions = {}): Graph {
  const ops = new Map([...builtInOps, ...(options.ops ?? [])].map((op) => [op.name, op]));
  return whole(text, (reader) => {
    reader.expect("graph");
    const name = reader.name();
    reader.expect("{");
    const sizes = reader.sizeLines();
    const nodes: Node[] = [];
    while (reader.next.text.startsWith("%")) nodes.push(readNode(reader, ops, nodes.length));
    const outputs = readNamed(reader, "output");
    const updates = readNamed(reader, "update");
    reader.expect("}");
    return { name, sizes, nodes, outputs, updates };
  });
}

/** Reads what `printKernel` wrote. */
export function parseKernel(text: string): Kernel {
  return whole(text, readKernel);
}

/** Reads what `printProgram` wrote. */
export function parseProgram(text: string): Program {
  return whole(text, readProgram);
}

function whole<T>(text: string, read: (reader: TextReader) => T): T {
  const reader = new TextReader(text);
  const result = read(reader);
  if (reader.next.kind !== "end") reader.fail("expected the end of the text");
  return result;
}

function readNode(reader: TextReader, ops: ReadonlyMap<string, AnyOp>, id: number): Node {
  const { offset } = reader.next;
  if (reader.reference("%").node !== id) reader.fail(`expected node %${id}`, offset);
  reader.expect("=");
  const nameOffset = reader.next.offset;
  const name = reader.name();
  const op =
    ops.get(name) ??
    reader.fail(`there is no op "${name}"; pass it in parseGraph(text, { ops })`, nameOffset);
  reader.expect("(");
  const inputs = reader.list(")", () => reader.reference("%"));
  const attrs = reader.sees("{") ? reader.attributes() : {};
  reader.expect(":");
  const outputs = reader.accept("(") ? reader.list(")", () => reader.type()) : [reader.type()];
  const value = reader.accept("=")
    ? reader.elements(outputs[0] ?? reader.fail("a constant has one type"))
    : undefined;
  const scope = reader.trail();
  return { id, op, attrs, inputs, outputs, scope, ...(value && { value }) };
}

function readNamed(reader: TextReader, word: "output" | "update"): NamedValue[] {
  const values: NamedValue[] = [];
  while (reader.accept(word)) {
    const name = reader.name();
    reader.expect("=");
    values.push({ name, value: reader.reference("%") });
  }
  return values;
}

function readProgram(reader: TextReader): Program {
  reader.expect("program");
  const name = reader.name();
  reader.expect("{");
  const sizes = reader.sizeLines();
  reader.expect("arena");
  const arenaBytes = reader.count();
  reader.expect("bytes");
  const states: StateSpec[] = [];
  while (reader.accept("state")) states.push(readTyped(reader));
  const buffers: ProgramBuffer[] = [];
  while (reader.accept("buffer")) buffers.push(readBuffer(reader, buffers.length));
  const inputs = readBindings(reader, "input");
  const outputs = readBindings(reader, "output");
  const kernels: Kernel[] = [];
  while (reader.sees("kernel")) kernels.push(readKernel(reader));
  const steps: Step[] = [];
  while (reader.accept("step")) {
    const kernel = reader.count();
    reader.expect("(");
    const bound = reader.list(")", () => reader.reference("$").node);
    steps.push({ kernel, buffers: bound, label: reader.trail() });
  }
  reader.expect("}");
  return { name, sizes, inputs, outputs, states, buffers, kernels, steps, arenaBytes };
}

function readTyped(reader: TextReader): { readonly name: string; readonly type: TensorType } {
  const name = reader.name();
  reader.expect(":");
  return { name, type: reader.type() };
}

function readBuffer(reader: TextReader, index: number): ProgramBuffer {
  const { offset } = reader.next;
  if (reader.reference("$").node !== index) reader.fail(`expected buffer $${index}`, offset);
  reader.expect(":");
  const type = reader.type();
  return { type, place: readPlace(reader, type) };
}

function readPlace(reader: TextReader, type: TensorType): Place {
  if (reader.accept("=")) return { kind: "constant", value: reader.elements(type) };
  reader.expect("at");
  return reader.word(["arena", "state"]) === "arena"
    ? { kind: "arena", offset: reader.count() }
    : { kind: "state", name: reader.name() };
}

function readBindings(reader: TextReader, word: "input" | "output"): Binding[] {
  const bindings: Binding[] = [];
  while (reader.accept(word)) {
    const typed = readTyped(reader);
    reader.expect("in");
    bindings.push({ ...typed, buffer: reader.reference("$").node });
  }
  return bindings;
}
