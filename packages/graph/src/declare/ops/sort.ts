/**
 * Orders. In: values, or small integer keys. Out: the values in order and where each was. All orders are stable, so equal
 * values keep their places and every backend gives the same indices.
 */
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition, VjpContext } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { addDims, formatType, minDim } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { putAlongAxis } from "./gather.ts";

function expectSortable(inputs: readonly TensorType[]): TensorType {
  expectInputs(inputs, 1);
  const x = inputs[0]!;
  if (!isFloat(x.dtype) && x.dtype !== "i32")
    throw new DTypeError({
      what: `does not take ${formatType(x)}`,
      hint: "Convert it to a float or i32.",
    });
  if (x.shape.length === 0)
    throw new ShapeError({ what: "takes at least one axis", hint: "Reshape the value to [1]." });
  return x;
}

/** Each value's cotangent goes back to where the value was. */
function putBack({
  inputs,
  outputs,
  cotangents: [ct],
}: VjpContext<unknown>): readonly (Tensor | undefined)[] {
  const x = inputs[0]!;
  const last = x.shape.length - 1;
  return [ct && putAlongAxis(ct, outputs[1]!, last, x.shape[last]!)];
}

/** Largest k of the last axis, descending; of equal ones the lower index first; NaN last. */
export const topKOp: OpDefinition<{ k: number }> = defineOp<{ k: number }>({
  name: "top_k",
  infer: (inputs, { k }) => {
    const { dtype, shape } = expectSortable(inputs);
    if (!Number.isInteger(k) || k < 0 || k > minDim(shape.at(-1)!))
      throw new AttributeError({
        what: `k = ${k} of the last axis of ${formatType(inputs[0]!)}`,
        hint: "k is an integer from 0 to the size of the axis.",
      });
    const picked = shape.with(shape.length - 1, k);
    return [
      { dtype, shape: picked },
      { dtype: "i32", shape: picked },
    ];
  },
  vjp: putBack,
  body: { class: "primitive", primitive: "top_k" },
});

/** The `k` largest of the last axis and their indices (i32). */
export function topK(x: Tensor, k: number): readonly [values: Tensor, indices: Tensor] {
  const [values, indices] = applyOp(topKOp, [x], { k });
  return [values!, indices!];
}

/** The last axis in order, stable; NaN last either way. */
export const sortOp: OpDefinition<{ descending: boolean }> = defineOp<{ descending: boolean }>({
  name: "sort",
  infer: (inputs) => {
    const { dtype, shape } = expectSortable(inputs);
    return [
      { dtype, shape },
      { dtype: "i32", shape },
    ];
  },
  vjp: putBack,
  body: { class: "primitive", primitive: "sort" },
});

/** The last axis in order, ascending by default, and the index (i32) each value had. */
export function sort(
  x: Tensor,
  options: { readonly descending?: boolean } = {},
): readonly [values: Tensor, indices: Tensor] {
  const [values, indices] = applyOp(sortOp, [x], { descending: options.descending ?? false });
  return [values!, indices!];
}

/** Outputs: permutation, inverse, offsets. */
export const countingSortOp: OpDefinition<{ groups: number }> = defineOp({
  name: "counting_sort",
  infer: (inputs, { groups }) => {
    expectInputs(inputs, 1);
    const keys = inputs[0]!;
    expectDType(keys, ["i32"], "keys");
    if (keys.shape.length !== 1)
      throw new ShapeError({
        what: `keys are ${formatType(keys)}`,
        hint: "Reshape them to one axis.",
      });
    if (!Number.isInteger(groups) || groups < 1)
      throw new AttributeError({ what: `groups = ${groups}`, hint: "Give a positive integer." });
    return [
      { dtype: "i32", shape: keys.shape },
      { dtype: "i32", shape: keys.shape },
      { dtype: "i32", shape: [addDims(groups, 1)] },
    ];
  },
  vjp: "none",
  body: { class: "primitive", primitive: "counting_sort" },
});

/**
 * Stable order of keys (i32 [N], each from 0 to groups - 1): place p of the order holds element `permutation[p]`, element
 * i is at place `inverse[i]`, and group g has the places from `offsets[g]` to `offsets[g + 1]`.
 */
export function countingSort(
  keys: Tensor,
  groups: number,
): { readonly permutation: Tensor; readonly inverse: Tensor; readonly offsets: Tensor } {
  const [permutation, inverse, offsets] = applyOp(countingSortOp, [keys], { groups });
  return { permutation: permutation!, inverse: inverse!, offsets: offsets! };
}
