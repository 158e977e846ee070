/**
 * The closed list of primitives, by name. In: a primitive and its node's inputs. Out: its outputs, each element rounded once to
 * its dtype, unless floats are to stay exact.
 */
import type { PrimitiveName } from "@millrace/graph";
import { storageRounding } from "./elements.ts";
import type { NodeContext } from "./evaluate-node.ts";
import { dotGeneral, raggedDot, raggedOuter } from "./primitives/contract.ts";
import { scatterAdd } from "./primitives/gather.ts";
import type { Primitive } from "./primitives/primitive.ts";
import { randomBits } from "./primitives/random.ts";
import { cumulativeSum } from "./primitives/reduce.ts";
import { countingSort, sort, topK } from "./primitives/sort.ts";
import { updateSlice } from "./primitives/state.ts";
import type { InterpreterValue } from "./value.ts";

const primitives: Readonly<Record<PrimitiveName, Primitive>> = {
  dot_general: dotGeneral,
  ragged_dot: raggedDot,
  ragged_outer: raggedOuter,
  scatter_add: scatterAdd,
  update_slice: updateSlice,
  cumulative_sum: cumulativeSum,
  top_k: topK,
  sort,
  counting_sort: countingSort,
  random_bits: randomBits,
};

/** All outputs of a primitive. */
export function evaluatePrimitive(
  name: PrimitiveName,
  { node, inputs, outputs, exact, where }: NodeContext,
): readonly InterpreterValue[] {
  const results = primitives[name]({ attrs: node.attrs, inputs, outputs, where });
  return outputs.map(({ dtype, shape }, i) => ({
    dtype,
    shape,
    data: results[i]!.map(storageRounding(dtype, exact)),
  }));
}
