/**
 * Writing a part of a value, as a cache does. In: the value, the new rows and where they start. Out: the value with them.
 * Nothing is changed in place here; `plan` does so where nobody reads the old value any more. Reading a computed part is
 * `dynamicSlice` in `gather.ts`.
 */
import { DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo } from "./broadcast.ts";
import { dynamicSlice } from "./gather.ts";

/** Rows start to start + T of `axis` are those of the update; rows that would fall outside are dropped. */
export const updateSliceOp: OpDefinition<{ axis: number }> = defineOp({
  name: "update_slice",
  infer: (inputs, { axis }) => {
    expectInputs(inputs, 3);
    const [operand, update, start] = inputs as [TensorType, TensorType, TensorType];
    expectAxis(operand.shape, axis);
    if (update.dtype !== operand.dtype)
      throw new DTypeError({
        what: `the update is ${formatType(update)}, the operand ${formatType(operand)}`,
        hint: "Convert the update.",
      });
    if (
      update.shape.length !== operand.shape.length ||
      !shapesEqual(update.shape.with(axis, 1), operand.shape.with(axis, 1))
    )
      throw new ShapeError({
        what: `${formatType(update)} and ${formatType(operand)} differ in other axes than ${axis}`,
        hint: "Only the updated axis may be shorter.",
      });
    expectDType(start, ["i32"], "the start");
    if (start.shape.length !== 0)
      throw new ShapeError({ what: `the start is ${formatType(start)}`, hint: "It has no axes." });
    return [operand];
  },
  vjp: ({ attrs: { axis }, inputs: [, update, start], cotangents: [ct] }) => {
    if (!ct) return [];
    const zeros = broadcastTo(ct.builder.scalar(0, ct.dtype), update!.shape);
    return [
      updateSlice(ct, zeros, start!, axis),
      dynamicSlice(ct, start!, update!.shape[axis]!, axis),
      undefined,
    ];
  },
  body: { class: "primitive", primitive: "update_slice" },
});

/** `operand` with the rows of `axis` from `start` (i32, no axes) on replaced by `update`. */
export function updateSlice(operand: Tensor, update: Tensor, start: Tensor, axis: number): Tensor {
  return applyOne(updateSliceOp, [operand, update, start], { axis });
}
