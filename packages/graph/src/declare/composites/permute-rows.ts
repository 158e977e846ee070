/**
 * Moves rows for mixture-of-experts dispatch. In: rows [R, ...] and a permutation with its inverse. Out: row i is input
 * row permutation[i]. The inverse is asked for because it makes the derivative a read, not a scatter: each row of the
 * result is written once, in any order, with the same bits.
 */
import { ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim } from "../../shape.ts";
import { dimsEqual, formatType, multiplyDims } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo } from "../ops/broadcast.ts";
import { take } from "../ops/gather.ts";
import { reshape } from "../ops/movement.ts";

export const permuteRowsOp: OpDefinition<Record<string, never>> = defineOp({
  name: "permute_rows",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const [x, permutation, inverse] = inputs;
    for (const index of [permutation!, inverse!]) {
      expectDType(index, ["i32"], "a permutation");
      if (
        x!.shape.length < 1 ||
        index.shape.length !== 1 ||
        !dimsEqual(index.shape[0]!, x!.shape[0]!)
      )
        throw new ShapeError({
          what: `a permutation ${formatType(index)} does not fit rows ${formatType(x!)}`,
          hint: "Give one index for each row.",
        });
    }
    return [x!];
  },
  vjp: ({ inputs: [, permutation, inverse], cotangents: [ct] }) => [
    ct && permuteRows(ct, inverse!, permutation!),
    undefined,
    undefined,
  ],
  body: {
    class: "composite",
    decompose: ([x, permutation]) => [take(x!, permutation!, 0)],
  },
});

/** Row i of the result is row `permutation[i]` of `x`; `inverse` undoes it. */
export function permuteRows(x: Tensor, permutation: Tensor, inverse: Tensor): Tensor {
  return applyOne(permuteRowsOp, [x, permutation, inverse], {});
}

/** [T, ...] → [T·k, ...]: each row `k` times in succession. Its derivative is a sum over the copies. */
export function repeatRows(x: Tensor, k: Dim): Tensor {
  const [rows, ...rest] = x.shape;
  if (rows === undefined)
    throw new ShapeError({
      what: "a scalar has no rows to repeat",
      where: x.builder.path,
      hint: "Reshape it to [1].",
    });
  const axes = x.shape.map((_, axis) => (axis === 0 ? 0 : axis + 1));
  return reshape(broadcastTo(x, [rows, k, ...rest], axes), [multiplyDims(rows, k), ...rest]);
}
