/**
 * The laws of one graph. In: a graph with values, the graph interpreter, a backend and perhaps a reference backend. Out: nothing, or a
 * ConformanceError that says which law broke, where the values first differ, and which stage to look at.
 *
 * 1. Every form is legal, and reads back from its text as it was.
 * 2. The compiled program, fused and unfused, agrees with the interpreter in every output and state.
 * 3. A second run over the same states gives the same bits.
 */
import type { AnyOp, Backend, CompiledProgram, Graph, HostTensor, Program } from "@millrace/graph";
import {
  compile,
  elementCount,
  hostArray,
  leavesNamed,
  parseGraph,
  parseProgram,
  printGraph,
  printProgram,
  typeOf,
  verifyGraph,
  verifyProgram,
} from "@millrace/graph";
import type { GraphCase } from "./arbitraries/graph.ts";
import { concreteShape } from "./arbitraries/graph.ts";
import { ConformanceError, expectSameBits, expectSameValues } from "./report.ts";

type Values = Readonly<Record<string, HostTensor>>;

/** Values in double precision, rounded nowhere. */
export interface ExactValue {
  readonly dtype: HostTensor["dtype"];
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

interface InterpretOptions {
  readonly states?: Values;
  readonly sizes?: Readonly<Record<string, number>>;
}

/** The first oracle: `interpret` of @millrace/kernels-cpu, or one like it. */
export interface Interpret {
  (
    graph: Graph,
    inputs: Values,
    options?: InterpretOptions,
  ): {
    readonly outputs: Readonly<Record<string, HostTensor>>;
    readonly states: Readonly<Record<string, HostTensor>>;
  };
  (
    graph: Graph,
    inputs: Readonly<Record<string, HostTensor | ExactValue>>,
    options: { readonly precision: "f64" },
  ): { readonly outputs: Readonly<Record<string, ExactValue>> };
}

export interface Oracles {
  readonly interpret: Interpret;
  readonly backend: Backend;
  /** A backend that is believed; then an error says which side of the kernels it is on. */
  readonly reference?: Backend;
}

/** Checks all laws of one graph. */
export async function checkGraph(graphCase: GraphCase, oracles: Oracles): Promise<void> {
  const { graph, inputs, states, sizes } = graphCase;
  checkText(graph);
  const expected = oracles.interpret(graph, inputs, { states, sizes });
  checkInferred(graphCase, expected.outputs);
  for (const fuse of [true, false]) {
    const what = `${oracles.backend.name}, ${fuse ? "fused" : "unfused"}`;
    const compare = (actual: Results, name: string, hint?: string): void => {
      const common = { what: name, where: graph.name, ...(hint !== undefined && { hint }) };
      const { tolerances, stateTolerances } = graphCase;
      expectSameValues(actual.outputs, expected.outputs, { ...common, tolerances });
      expectSameValues(actual.states, expected.states, { ...common, tolerances: stateTolerances });
    };
    const compiled = await compile(graph, oracles.backend, { fuse });
    try {
      checkProgram(compiled, oracles.backend);
      const first = await runOnce(compiled, graphCase);
      const second = await runOnce(compiled, graphCase);
      expectSameBits(second.outputs, first.outputs, `second run on ${what}`, graph.name);
      expectSameBits(second.states, first.states, `second run on ${what}`, graph.name);
      try {
        compare(first, what);
      } catch (error) {
        if (!oracles.reference || !(error instanceof ConformanceError)) throw error;
        const hint = await blame(graphCase, oracles.reference, fuse, compare);
        compare(first, what, hint);
      }
    } finally {
      compiled.dispose();
      compiled.store.dispose();
    }
  }
}

interface Results {
  readonly outputs: Values;
  readonly states: Values;
}

/** Runs over the states of the case, whatever an earlier run left. */
async function runOnce(
  compiled: CompiledProgram,
  { graph, inputs, states, sizes }: GraphCase,
): Promise<Results> {
  const { store } = compiled;
  // A state that nothing reads or updates need not be in the program; it then stays as it was.
  const names = compiled.program.states.map(({ name }) => name);
  for (const name of names) if (states[name]) await store.write(name, states[name]);
  const outputs = await compiled.run(inputs, sizes);
  const after: Record<string, HostTensor> = {};
  for (const { name, type } of leavesNamed(graph, "state"))
    after[name] = states[name] ?? zeros(type.dtype, concreteShape(type.shape, sizes));
  for (const name of names) after[name] = await store.read(name);
  return { outputs, states: after };
}

function zeros(dtype: HostTensor["dtype"], shape: readonly number[]): HostTensor {
  return { dtype, shape, data: hostArray(dtype, elementCount(shape)) };
}

/** Runs the reference backend to say which side of the kernels is wrong. */
async function blame(
  graphCase: GraphCase,
  reference: Backend,
  fuse: boolean,
  compare: (actual: Results, name: string) => void,
): Promise<string> {
  const compiled = await compile(graphCase.graph, reference, { fuse });
  try {
    compare(await runOnce(compiled, graphCase), reference.name);
    return `${reference.name} is right, so look at how this backend runs the kernels.`;
  } catch {
    return `${reference.name} is wrong too, so look at the op, fuse, lower or plan.`;
  } finally {
    compiled.dispose();
    compiled.store.dispose();
  }
}

/** A graph is legal and reads back. */
export function checkText(graph: Graph): void {
  verifyGraph(graph);
  const ops: AnyOp[] = graph.nodes.map(({ op }) => op);
  const text = printGraph(graph);
  expectSameText("graph", graph.name, printGraph(parseGraph(text, { ops })), text);
  verifyGraph(parseGraph(text, { ops }));
}

/** Results have the types that `infer` gave, in this case's sizes. */
function checkInferred({ graph, sizes }: GraphCase, results: Values): void {
  for (const { name, value } of graph.outputs) {
    const { dtype, shape } = typeOf(graph, value);
    const expected = `${dtype}[${concreteShape(shape, sizes).join(", ")}]`;
    const result = results[name];
    const actual = result && `${result.dtype}[${result.shape.join(", ")}]`;
    if (actual !== expected)
      throw new ConformanceError({
        what: `"${name}" is ${actual ?? "missing"}, inferred was ${expected}`,
        where: graph.name,
      });
  }
}

function checkProgram(compiled: CompiledProgram, { capabilities }: Backend): void {
  const { program, stages } = compiled;
  verifyGraph(stages.fused.graph);
  verifyProgram(program, capabilities);
  const text = printProgram(program);
  const read: Program = parseProgram(text);
  expectSameText("program", program.name, printProgram(read), text);
  verifyProgram(read, capabilities);
  if (compiled.bytes !== program.arenaBytes)
    throw new ConformanceError({
      what: `the backend took ${compiled.bytes} bytes, planned were ${program.arenaBytes}`,
      where: program.name,
    });
}

function expectSameText(kind: string, where: string, actual: string, expected: string): void {
  if (actual === expected) return;
  const lines = expected.split("\n");
  const line = actual.split("\n").findIndex((other, i) => other !== lines[i]);
  throw new ConformanceError({
    what: `the text of the ${kind} reads back as something else, first in line ${line + 1}: ${lines[line]}`,
    where,
  });
}
