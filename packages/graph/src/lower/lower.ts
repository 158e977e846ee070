/**
 * Stage 4. In: groups of nodes. Out: a kernel call per group, over values, or a few for a composite; views stay views. Switches on the class of the
 * hero; each family has one file, named like its ops.
 */
import { InternalError } from "../errors.ts";
import { wholeKernels } from "../fuse/claim.ts";
import type { Group, GroupedGraph } from "../fuse/group.ts";
import type { Graph, ValueRef } from "../graph.ts";
import { typeOf } from "../graph.ts";
import type { PrimitiveName } from "../op.ts";
import { lowerDotGeneral, lowerRaggedDot, lowerRaggedOuter } from "./contract.ts";
import { lowerElementwise } from "./elementwise.ts";
import { lowerScatterAdd } from "./gather.ts";
import type { Call } from "./group-body.ts";
import { GroupBody } from "./group-body.ts";
import { lowerRandomBits } from "./random.ts";
import { lowerCumulativeSum, lowerReduction } from "./reduce.ts";
import { lowerCountingSort, lowerSort, lowerTopK } from "./sort.ts";
import { lowerUpdateSlice } from "./state.ts";

/** `value` is `source` under another shape. */
export interface Alias {
  readonly value: ValueRef;
  readonly source: ValueRef;
}

export interface LoweredGraph {
  readonly graph: Graph;
  readonly calls: readonly Call[];
  readonly aliases: readonly Alias[];
}

const primitives: Record<PrimitiveName, (body: GroupBody) => Call> = {
  dot_general: lowerDotGeneral,
  ragged_dot: lowerRaggedDot,
  ragged_outer: lowerRaggedOuter,
  scatter_add: lowerScatterAdd,
  update_slice: lowerUpdateSlice,
  cumulative_sum: lowerCumulativeSum,
  top_k: lowerTopK,
  sort: lowerSort,
  counting_sort: lowerCountingSort,
  random_bits: lowerRandomBits,
};

export function lower(grouped: GroupedGraph): LoweredGraph {
  const calls: Call[] = [];
  const aliases: Alias[] = [];
  const read = readValues(grouped.graph);
  for (const group of grouped.groups) {
    if (group.alias) {
      const source = grouped.graph.nodes[group.root]!.inputs[0]!;
      aliases.push({ value: { node: group.root, output: 0 }, source });
      continue;
    }
    calls.push(...lowerGroup(grouped, group, read));
  }
  return { graph: grouped.graph, calls, aliases };
}

function lowerGroup(
  grouped: GroupedGraph,
  group: Group,
  read: ReadonlySet<string>,
): readonly Call[] {
  const body = new GroupBody(grouped, group);
  const { body: hero } = body.hero.op;
  if (hero.class === "reduction") return [lowerReduction(body)];
  if (hero.class === "primitive") return [primitives[hero.primitive](body)];
  if (hero.class === "composite") return lowerWhole(grouped, group, read);
  return [lowerElementwise(body)];
}

/** The kernels of a composite, each with buffers of its own. */
function lowerWhole(
  grouped: GroupedGraph,
  group: Group,
  read: ReadonlySet<string>,
): readonly Call[] {
  const { op, attrs, inputs, id } = new GroupBody(grouped, group).hero;
  const types = inputs.map((ref) => typeOf(grouped.graph, ref));
  const kernels = wholeKernels(op, types, attrs, grouped);
  if (!kernels)
    throw new InternalError({ what: `composite ${op.name} was kept, but has no kernels` });
  const needed = kernels.filter(({ outputs }) =>
    outputs.some((output) => read.has(valueKey({ node: id, output }))),
  );
  return needed.map(({ name, body, readsBack = [] }) => {
    const inner = new GroupBody(grouped, group);
    const accessOf = (output: number): "write" | "update" =>
      readsBack.includes(output) ? "update" : "write";
    const statements = body({
      read: (input, index) => inner.operand(input, index),
      store: (output, index, value) => inner.store(output, index, value, accessOf(output)),
      readBack: (output, index) => inner.output(output, index, accessOf(output)),
    });
    return inner.call(statements, { name });
  });
}

const valueKey = ({ node, output }: ValueRef): string => `${node}.${output}`;

/** Values that a node reads, or that are seen from outside. */
function readValues({ nodes, outputs, updates }: Graph): ReadonlySet<string> {
  const refs = [
    ...nodes.flatMap(({ inputs }) => inputs),
    ...[...outputs, ...updates].map(({ value }) => value),
  ];
  return new Set(refs.map(valueKey));
}
