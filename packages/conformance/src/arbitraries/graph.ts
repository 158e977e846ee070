/**
 * Random graphs with values to run them on. In: which dtypes and ops may appear. Out: graphs of several inputs, states and outputs in
 * which values are shared, sizes may be symbolic, and every output says how far backends may differ in it. Cases shrink
 * to fewer nodes and print as the graph's text.
 */
import fc from "fast-check";
import type { Dim, DType, Graph, HostTensor, Tensor } from "@millrace/graph";
import { GraphBuilder, add, evaluateDim, isFloat, printGraph } from "@millrace/graph";
import type { Tolerance } from "../tolerance.ts";
import { exact } from "../tolerance.ts";
import { elementwiseRecipes } from "./elementwise-recipes.ts";
import { movementRecipes } from "./movement-recipes.ts";
import { reductionRecipes } from "./reduction-recipes.ts";
import { routingRecipes } from "./routing-recipes.ts";
import { shapeArbitrary } from "./shape.ts";
import type { ValueKind } from "./tensor.ts";
import { seededTensor } from "./tensor.ts";
import type { Recipe, Tracked } from "./tracked.ts";
import { Draw, isExact, tracked } from "./tracked.ts";

/** A graph, what to run it on, and what its results may differ by. */
export interface GraphCase {
  readonly graph: Graph;
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** States before the run. */
  readonly states: Readonly<Record<string, HostTensor>>;
  readonly sizes: Readonly<Record<string, number>>;
  /** By output name. */
  readonly tolerances: Readonly<Record<string, Tolerance>>;
  /** By state name. */
  readonly stateTolerances: Readonly<Record<string, Tolerance>>;
}

export interface GraphOptions {
  /** Dtypes that may appear; f32, i32, u32 and bool must. */
  readonly dtypes: readonly DType[];
  readonly maxNodes?: number;
  /** Ops that may appear, by the names of `recipes`; by default all. */
  readonly only?: readonly string[];
}

/** What random graphs are made of. */
export const recipes: Readonly<Record<string, Recipe>> = {
  ...elementwiseRecipes,
  ...movementRecipes,
  ...reductionRecipes,
  ...routingRecipes,
};

interface Leaf {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly symbolic: boolean;
  readonly kind: ValueKind;
  readonly seed: number;
  readonly isState: boolean;
}

interface Plan {
  readonly leaves: readonly Leaf[];
  readonly size: { readonly value: number; readonly min: number; readonly more: number };
  readonly steps: readonly { readonly recipe: number; readonly numbers: readonly number[] }[];
  readonly outputs: readonly number[];
}

/** A random graph and its values. */
export function graphArbitrary({
  dtypes,
  maxNodes = 12,
  only = Object.keys(recipes),
}: GraphOptions): fc.Arbitrary<GraphCase> {
  const computed = dtypes.filter((dtype) => dtype !== "i64");
  const leaf = fc.record({
    dtype: fc.oneof(fc.constant<DType>("f32"), fc.constantFrom(...computed)),
    shape: shapeArbitrary({ maxRank: 3, maxElements: 512 }),
    symbolic: fc.boolean(),
    kind: fc.constantFrom<ValueKind>("small", "small", "small", "integers", "edges"),
    seed: fc.nat(1000),
    isState: fc.boolean(),
  });
  const step = fc.record({
    recipe: fc.nat(only.length - 1),
    numbers: fc.array(fc.nat(1000), { minLength: 6, maxLength: 12 }),
  });
  return fc
    .record({
      leaves: fc.array(leaf, { minLength: 1, maxLength: 4 }),
      size: fc.record({
        value: fc.constantFrom(0, 1, 2, 3, 8, 15, 16, 17, 31, 64, 127, 128, 129),
        min: fc.nat(2),
        more: fc.nat(3),
      }),
      steps: fc.array(step, { minLength: 1, maxLength: maxNodes }),
      outputs: fc.array(fc.nat(1000), { minLength: 1, maxLength: 3 }),
    })
    .map((plan) => build(plan, computed, only));
}

function build(plan: Plan, dtypes: readonly DType[], only: readonly string[]): GraphCase {
  const b = new GraphBuilder("random");
  const { value, min, more } = plan.size;
  const T = b.size("T", Math.min(min, value), value + more);
  const inputs: Record<string, HostTensor> = {};
  const states: Record<string, HostTensor> = {};
  const pool: Tracked[] = [];
  const declaredStates: Tensor[] = [];
  plan.leaves.forEach((leaf, i) => {
    // States keep their shape between runs, so theirs is fixed; the first axis of an input may be T.
    const symbolic = leaf.symbolic && !leaf.isState && leaf.shape.length > 0;
    const rest = leaf.shape.slice(1);
    const shape: readonly Dim[] = symbolic ? [T, ...rest] : leaf.shape;
    const actual = symbolic ? [value, ...rest] : leaf.shape;
    const tensor = seededTensor(leaf.dtype, actual, leaf.seed, leaf.kind);
    const name = `${leaf.isState ? "s" : "x"}${i}`;
    (leaf.isState ? states : inputs)[name] = tensor;
    const declared = leaf.isState
      ? b.state(name, leaf.dtype, leaf.shape)
      : b.input(name, leaf.dtype, shape);
    if (leaf.isState) declaredStates.push(declared);
    const bound = { small: 2, integers: 8, wide: Infinity, edges: Infinity }[leaf.kind];
    const known = tracked(declared, leaf.dtype === "bool" ? 1 : bound);
    if (known) pool.push(known);
  });
  if (pool.length === 0) pool.push({ tensor: b.scalar(1), magnitude: 1, error: 0 });
  for (const [i, step] of plan.steps.entries()) {
    const recipe = recipes[only[step.recipe]!]!;
    const made = b.scope(`step.${i}`, () => recipe(new Draw(pool, dtypes, step.numbers)));
    for (const result of [made].flat()) if (result) pool.push(result);
  }
  return finish(b, plan, pool, declaredStates, { inputs, states, sizes: { T: value } });
}

function finish(
  b: GraphBuilder,
  plan: Plan,
  pool: readonly Tracked[],
  declaredStates: readonly Tensor[],
  values: Pick<GraphCase, "inputs" | "states" | "sizes">,
): GraphCase {
  const outputs: Record<string, Tensor> = {};
  const tolerances: Record<string, Tolerance> = {};
  const chosen = [pool.at(-1)!, ...plan.outputs.map((at) => pool[at % pool.length]!)];
  chosen.forEach((result, i) => {
    outputs[`y${i}`] = result.tensor;
    tolerances[`y${i}`] = toleranceOf(result);
  });
  const stateTolerances: Record<string, Tolerance> = {};
  for (const tensor of declaredStates) {
    const name = String(b.nodeOf(tensor).attrs["name"]);
    const update = updateOf(tensor, pool, plan.outputs[0]!);
    if (!update) continue;
    b.update(tensor, update.tensor);
    stateTolerances[name] = toleranceOf(update);
  }
  const graph = b.finish(outputs);
  // A size that nothing depends on is not in the graph, and need not be given.
  const sizes = graph.sizes.length > 0 ? values.sizes : {};
  const graphCase: GraphCase = { graph, ...values, sizes, tolerances, stateTolerances };
  return Object.assign(graphCase, { [fc.toStringMethod]: () => describeCase(graphCase) });
}

const toleranceOf = ({ error }: Tracked): Tolerance =>
  error === 0 ? exact : { ulps: 0, absolute: 2 * error };

/** A value of the state's type, the latest there is, or a sum with itself, or none. */
function updateOf(state: Tensor, pool: readonly Tracked[], choice: number): Tracked | undefined {
  const fits = pool.filter(
    ({ tensor }) =>
      tensor.dtype === state.dtype && JSON.stringify(tensor.shape) === JSON.stringify(state.shape),
  );
  const last = fits.at(-1);
  if (!last) return undefined;
  if (choice % 3 === 0) return undefined;
  if (choice % 3 === 1 && isFloat(state.dtype) && isExact(last))
    return { tensor: add(last.tensor, state), magnitude: Infinity, error: 0 };
  return last;
}

/** The case as text: the graph, its sizes and where its values come from. */
export function describeCase({ graph, inputs, states, sizes }: GraphCase): string {
  const values = Object.entries({ ...inputs, ...states }).map(([name, { dtype, shape, data }]) => {
    const head = Array.from({ length: Math.min(8, data.length) }, (_, i) => String(data[i]));
    return `${name}: ${dtype}[${shape.join(", ")}] starts with ${head.join(", ")}`;
  });
  const given = Object.entries(sizes).map(([name, size]) => `${name} = ${size}`);
  return [printGraph(graph), ...given, ...values].join("\n");
}

/** Shape of a declared type in this case. */
export function concreteShape(shape: readonly Dim[], sizes: GraphCase["sizes"]): number[] {
  const bound = new Map(Object.entries(sizes));
  return shape.map((dim) => evaluateDim(dim, bound));
}
