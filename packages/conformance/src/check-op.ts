/**
 * The laws of one op. In: an op, ours or a user's, and cases of inputs and attributes. Out: nothing, or the failing case with the seed
 * that makes it again. The op is declared in a graph of its own and all laws of `checkGraph` are asked of it, once
 * with fixed and once with symbolic sizes; what `infer` promised is compared with what comes out.
 */
import fc from "fast-check";
import type { Attributes, Dim, HostTensor, OpDefinition, Shape } from "@millrace/graph";
import { GraphBuilder, size } from "@millrace/graph";
import type { GraphCase } from "./arbitraries/graph.ts";
import { describeCase } from "./arbitraries/graph.ts";
import type { Interpret, Oracles } from "./check-graph.ts";
import { checkGraph } from "./check-graph.ts";
import { expectSameValues } from "./report.ts";
import type { Tolerance } from "./tolerance.ts";
import { opTolerance } from "./tolerance.ts";

/** One application of an op. */
export interface OpCase<A extends Attributes> {
  readonly inputs: readonly HostTensor[];
  readonly attrs: A;
  /** By output; what `opTolerance` gives for the dtype by default. */
  readonly tolerances?: readonly Tolerance[];
}

export interface RunOptions {
  readonly numRuns?: number;
  /** To run a reported case again. */
  readonly seed?: number;
  readonly path?: string;
}

export interface CheckOpOptions<A extends Attributes = Attributes> extends Oracles, RunOptions {
  /** What the op should give, computed in some other way: a loop over plain numbers. */
  readonly expected?: (opCase: OpCase<A>) => readonly HostTensor[];
  /** Axes whose sizes are also tried as symbols; attributes must not depend on them. */
  readonly symbolic?: readonly Axis[];
}

type Axis = readonly [input: number, axis: number];

/** Checks an op on every generated case. */
export async function checkOp<A extends Attributes>(
  op: OpDefinition<A>,
  cases: fc.Arbitrary<OpCase<A>>,
  options: CheckOpOptions<A>,
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      cases.map((opCase) => graphOf(op, opCase, options.symbolic)),
      async ({ opCase, fixed, symbolic }) => {
        if (options.expected) checkExpected(fixed, options.expected(opCase), options.interpret);
        await checkGraph(fixed, options);
        if (symbolic) await checkGraph(symbolic, options);
      },
    ),
    runParameters(options),
  );
}

/** Parameters of fast-check, without the ones that were not given. */
export function runParameters({ numRuns = 50, seed, path }: RunOptions): fc.Parameters<unknown> {
  return { numRuns, ...(seed !== undefined && { seed }), ...(path !== undefined && { path }) };
}

function checkExpected(
  { graph, inputs, tolerances }: GraphCase,
  expected: readonly HostTensor[],
  interpret: Interpret,
): void {
  const named = Object.fromEntries(expected.map((tensor, i) => [`y${i}`, tensor]));
  const { outputs } = interpret(graph, inputs);
  expectSameValues(outputs, named, { what: `the definition of ${graph.name}`, tolerances });
}

interface OpGraphs<A extends Attributes> {
  readonly opCase: OpCase<A>;
  readonly fixed: GraphCase;
  readonly symbolic?: GraphCase;
}

function graphOf<A extends Attributes>(
  op: OpDefinition<A>,
  opCase: OpCase<A>,
  axes: readonly Axis[] = [],
): OpGraphs<A> {
  const shapes = opCase.inputs.map(({ shape }) => shape);
  const fixed = declareOp(op, opCase, shapes, {});
  const graphs: OpGraphs<A> = {
    opCase,
    fixed,
    ...(axes.length > 0 && { symbolic: symbolicOf(op, opCase, axes) }),
  };
  return Object.assign(graphs, { [fc.toStringMethod]: () => describeCase(fixed) });
}

function symbolicOf<A extends Attributes>(
  op: OpDefinition<A>,
  opCase: OpCase<A>,
  axes: readonly Axis[],
): GraphCase {
  const sizes: Record<string, number> = {};
  const shapes = opCase.inputs.map(({ shape }, input) =>
    shape.map((value, axis): Dim => {
      if (!axes.some(([i, a]) => i === input && a === axis)) return value;
      // Equal sizes get one name, as an op that ties two axes expects.
      const name = `T${value}`;
      sizes[name] = value;
      return size(name, Math.max(0, value - 1), value + 2);
    }),
  );
  return declareOp(op, opCase, shapes, sizes);
}

function declareOp<A extends Attributes>(
  op: OpDefinition<A>,
  { inputs, attrs, tolerances = [] }: OpCase<A>,
  shapes: readonly Shape[],
  sizes: Readonly<Record<string, number>>,
): GraphCase {
  const b = new GraphBuilder(op.name);
  const names = inputs.map((_, i) => `x${i}`);
  const declared = inputs.map(({ dtype }, i) => b.input(names[i]!, dtype, shapes[i]!));
  const results = b.apply(op, declared, attrs);
  const outputs = Object.fromEntries(results.map((result, i) => [`y${i}`, result]));
  return {
    graph: b.finish(outputs),
    inputs: Object.fromEntries(inputs.map((tensor, i) => [names[i]!, tensor])),
    states: {},
    sizes,
    tolerances: Object.fromEntries(
      results.map(({ dtype }, i) => [`y${i}`, tolerances[i] ?? opTolerance(dtype)]),
    ),
    stateTolerances: {},
  };
}
