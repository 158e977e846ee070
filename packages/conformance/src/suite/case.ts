/**
 * Graphs of the suite, written by hand. In: values for the inputs and a function of them. Out: a case for `checkGraph`, with tolerances
 * relative to the largest value that the interpreter gives.
 */
import type { HostTensor, Tensor } from "@millrace/graph";
import { GraphBuilder, isFloat, toNumbers } from "@millrace/graph";
import type { GraphCase } from "../arbitraries/graph.ts";
import { checkGraph } from "../check-graph.ts";
import type { SuiteContext } from "../describe-backend.ts";
import type { Tolerance } from "../tolerance.ts";
import { exact } from "../tolerance.ts";

export interface Sample {
  readonly name: string;
  readonly inputs?: Readonly<Record<string, HostTensor>>;
  readonly states?: Readonly<Record<string, HostTensor>>;
  readonly declare: (
    b: GraphBuilder,
    values: Readonly<Record<string, Tensor>>,
  ) => Readonly<Record<string, Tensor>>;
  /** Allowed difference of float results as a part of the largest of them; 0, the default, is equality. */
  readonly relative?: number;
}

/** Checks all laws of `checkGraph` on a sample. */
export async function checkSample(sample: Sample, context: SuiteContext): Promise<void> {
  const { interpret, reference } = context;
  const { name, inputs = {}, states = {}, relative = 0 } = sample;
  const b = new GraphBuilder(name);
  const values: Record<string, Tensor> = {};
  for (const [key, { dtype, shape }] of Object.entries(inputs))
    values[key] = b.input(key, dtype, shape);
  for (const [key, { dtype, shape }] of Object.entries(states))
    values[key] = b.state(key, dtype, shape);
  const graph = b.finish(sample.declare(b, values));
  const expected = interpret(graph, inputs, { states });
  const tolerances = (results: Readonly<Record<string, HostTensor>>): Record<string, Tolerance> =>
    Object.fromEntries(
      Object.entries(results).map(([key, result]) => [key, relativeTo(result, relative)]),
    );
  const graphCase: GraphCase = {
    graph,
    inputs,
    states,
    sizes: {},
    tolerances: tolerances(expected.outputs),
    stateTolerances: tolerances(expected.states),
  };
  const backend = await context.backend();
  await checkGraph(graphCase, { interpret, backend, ...(reference && { reference }) });
}

/** Beside the difference, a result may round to the next value of its dtype. */
function relativeTo(result: HostTensor, relative: number): Tolerance {
  if (relative === 0 || !isFloat(result.dtype)) return exact;
  const largest = toNumbers(result)
    .filter(Number.isFinite)
    .reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return { ulps: result.dtype === "f32" ? 0 : 1, absolute: relative * largest + 2 ** -126 };
}
