/**
 * Identities that need no knowledge of a device. In: one application of an op. Out: a cheaper equal. Nothing here changes a
 * bit of any result: `x + 0` stays, because it turns -0 into 0.
 */
import { broadcastOp, sumOp } from "../declare/ops/broadcast.ts";
import { convertOp, divOp, mulOp, selectOp } from "../declare/ops/elementwise.ts";
import { constantOp } from "../declare/ops/leaf.ts";
import { reshape, reshapeOp, transpose, transposeOp } from "../declare/ops/movement.ts";
import { isFloat } from "../dtype.ts";
import type { Node } from "../graph.ts";
import { loadElement } from "../host-tensor.ts";
import type { Shape } from "../shape.ts";
import { dimsEqual, shapesEqual } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { Application, Rule } from "./rewrite.ts";

/** The one value of a constant that is the same everywhere, through broadcasts and reshapes. */
function uniformValue(x: Tensor, source: Application["source"]): number | undefined {
  const node = source(x);
  if (node.op === constantOp && node.value?.data.length === 1)
    return loadElement(node.value.dtype, node.value.data, 0);
  if (node.op === broadcastOp || node.op === reshapeOp)
    return uniformValue(inputOf(x, node), source);
  return undefined;
}

const inputOf = (x: Tensor, node: Node): Tensor => x.builder.tensor(node.inputs[0]!);

const identities: Rule = {
  name: "identities",
  apply: ({ op, inputs, source }) => {
    const [x, y] = inputs;
    const isOne = (t: Tensor): boolean => uniformValue(t, source) === 1;
    if (op === mulOp && isOne(y!)) return [x!];
    if (op === mulOp && isOne(x!)) return [y!];
    if (op === divOp && isOne(y!)) return [x!];
    if (op === selectOp && y!.ref.node === inputs[2]!.ref.node && sameRef(y!, inputs[2]!))
      return [y!];
    return undefined;
  },
};

const sameRef = (a: Tensor, b: Tensor): boolean =>
  a.ref.node === b.ref.node && a.ref.output === b.ref.output;

const movements: Rule = {
  name: "movements",
  apply: ({ op, inputs, attrs, source }) => {
    const x = inputs[0];
    if (!x) return undefined;
    const from = source(x);
    if (op === reshapeOp) {
      const shape = attrs["shape"] as unknown as Shape;
      if (shapesEqual(x.shape, shape)) return [x];
      if (from.op === reshapeOp) return [reshape(inputOf(x, from), shape)];
    }
    if (op === transposeOp) {
      const order = attrs["permutation"] as unknown as readonly number[];
      if (order.every((axis, i) => axis === i)) return [x];
      if (movesOnlyOnes(x.shape, order))
        return [
          reshape(
            x,
            order.map((axis) => x.shape[axis]!),
          ),
        ];
      if (from.op === transposeOp) {
        const inner = from.attrs["permutation"] as unknown as readonly number[];
        return [
          transpose(
            inputOf(x, from),
            order.map((axis) => inner[axis]!),
          ),
        ];
      }
    }
    if (op === broadcastOp && shapesEqual(x.shape, attrs["shape"] as unknown as Shape)) return [x];
    return undefined;
  },
};

/** Axes of size 1 may change places without moving an element. */
function movesOnlyOnes(shape: Shape, order: readonly number[]): boolean {
  const rest = order.filter((axis) => shape[axis] !== 1);
  return rest.every((axis, i) => i === 0 || axis > rest[i - 1]!);
}

const conversions: Rule = {
  name: "conversions",
  apply: ({ op, inputs, attrs, source }) => {
    const x = inputs[0]!;
    if (op !== convertOp) return undefined;
    if (attrs["dtype"] === x.dtype) return [x];
    // Widening and back is the identity; narrowing and back is not.
    const from = source(x);
    const original = from.op === convertOp ? inputOf(x, from) : undefined;
    const widened = x.dtype === "f32" && original !== undefined && isFloat(original.dtype);
    return widened && original.dtype === attrs["dtype"] ? [original] : undefined;
  },
};

const emptySums: Rule = {
  name: "sums of single elements",
  apply: ({ op, inputs, attrs }) => {
    if (op !== sumOp) return undefined;
    const axes = attrs["axes"] as unknown as readonly number[];
    const { shape } = inputs[0]!;
    if (!axes.every((axis) => dimsEqual(shape[axis]!, 1))) return undefined;
    return [
      reshape(
        inputs[0]!,
        shape.filter((_, axis) => !axes.includes(axis)),
      ),
    ];
  },
};

export const simplify: readonly Rule[] = [identities, movements, conversions, emptySums];
