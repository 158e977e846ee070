/**
 * Cross-entropy of integer labels: logsumexp(logits) − logits[label]. In: logits [..., V] of any float dtype and labels
 * i32 [...]. Out: f32 [...]. A label outside [0, V) marks a position to ignore: its loss and gradient are 0. The gradient
 * is softmax − one-hot, written as a comparison, so that no one-hot matrix exists. The logsumexp is a second output: the
 * backward pass needs one exponential per logit and no reduction.
 */
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import { formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOp, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo, sum } from "../ops/broadcast.ts";
import {
  add,
  bitAnd,
  convert,
  eq,
  exp,
  ge,
  log,
  lt,
  mul,
  select,
  sub,
} from "../ops/elementwise.ts";
import { iota, takeAlongAxis } from "../ops/gather.ts";
import { reshape } from "../ops/movement.ts";
import { max } from "../ops/reduce.ts";

/** One number per position, repeated over the vocabulary. */
const perRow = (value: Tensor, logits: Tensor): Tensor =>
  broadcastTo(
    value,
    logits.shape,
    value.shape.map((_, axis) => axis),
  );

const counted = (labels: Tensor, logits: Tensor): Tensor =>
  bitAnd(ge(labels, 0), lt(labels, vocabulary(logits)));

function vocabulary(logits: Tensor): number {
  return logits.shape.at(-1) as number;
}

export const crossEntropyOp: OpDefinition<Record<string, never>> = defineOp({
  name: "cross_entropy",
  infer: (inputs) => {
    expectInputs(inputs, 2);
    const [logits, labels] = inputs;
    if (!isFloat(logits!.dtype))
      throw new DTypeError({
        what: `logits are ${formatType(logits!)}`,
        hint: "Convert them to a float dtype.",
      });
    expectDType(labels!, ["i32"], "labels");
    if (
      typeof logits!.shape.at(-1) !== "number" ||
      !shapesEqual(logits!.shape.slice(0, -1), labels!.shape)
    )
      throw new ShapeError({
        what: `labels ${formatType(labels!)} do not fit logits ${formatType(logits!)}`,
        hint: "Give logits [..., V] with a fixed V and one label for each row.",
      });
    return [
      { dtype: "f32", shape: labels!.shape },
      { dtype: "f32", shape: labels!.shape },
    ];
  },
  vjp: ({ inputs: [logitsIn, labels], outputs: [, logSum], cotangents: [ct, ctLogSum] }) => {
    const logits = convert(logitsIn!, "f32");
    const probability = exp(sub(logits, perRow(logSum!, logits)));
    const parts: Tensor[] = [];
    if (ct) {
      const weight = perRow(select(counted(labels!, logits), ct, 0), logits);
      const axis = logits.shape.length - 1;
      const column = iota(logits.builder, "i32", [vocabulary(logits)], 0);
      const chosen = eq(broadcastTo(column, logits.shape, [axis]), perRow(labels!, logits));
      parts.push(mul(weight, sub(probability, select(chosen, 1, 0))));
    }
    if (ctLogSum) parts.push(mul(perRow(ctLogSum, logits), probability));
    const [first, second] = parts;
    if (!first) return [undefined, undefined];
    return [convert(second ? add(first, second) : first, logitsIn!.dtype), undefined];
  },
  body: {
    class: "composite",
    decompose: ([logitsIn, labels]) => {
      const logits = convert(logitsIn!, "f32");
      const axis = logits.shape.length - 1;
      const largest = max(logits, [axis]);
      const total = sum(exp(sub(logits, perRow(largest, logits))), [axis]);
      const logSum = add(largest, log(total));
      const at = reshape(labels!, [...labels!.shape, 1]);
      const label = convert(reshape(takeAlongAxis(logitsIn!, at, axis), labels!.shape), "f32");
      return [select(counted(labels!, logits), sub(logSum, label), 0), logSum];
    },
  },
});

/** Loss f32 [...] of each position of `logits` [..., V] for `labels` i32 [...]; labels outside [0, V) give 0. */
export function crossEntropy(logits: Tensor, labels: Tensor): Tensor {
  return applyOp(crossEntropyOp, [logits, labels], {})[0]!;
}
