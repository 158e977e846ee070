/**
 * Turns an op's definition into what a declaration calls. In: an `OpDefinition`, ours or a user's. Out: a checked op
 * and, through `applyOp`, tensors. Registers nothing anywhere: a graph's nodes hold their op itself.
 */
import type { DType } from "../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../errors.ts";
import type { Attributes, OpDefinition } from "../op.ts";
import type { Shape, TensorType } from "../shape.ts";
import { formatType, shapesEqual } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { builderOf } from "./builder.ts";

/** Checks a definition once and returns it. */
export function defineOp<A extends Attributes>(definition: OpDefinition<A>): OpDefinition<A> {
  if (!/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/.test(definition.name))
    throw new AttributeError({
      what: `"${definition.name}" is not an op name`,
      hint: "Use lower-case words joined by underscores, with a prefix of your own: mylib.swish.",
    });
  const needsVjp = definition.body.class !== "composite" && definition.body.class !== "leaf";
  if (needsVjp && definition.vjp === undefined)
    throw new AttributeError({
      what: `op "${definition.name}" has no vjp`,
      hint: 'Give one, or vjp: "none" if it has no derivative by definition.',
    });
  return Object.freeze(definition);
}

/** Applies an op of several outputs. */
export function applyOp<A extends Attributes>(
  op: OpDefinition<A>,
  inputs: readonly Tensor[],
  attrs: A,
): readonly Tensor[] {
  return builderOf(...inputs).apply(op, inputs, attrs);
}

/** Applies an op of one output. */
export function applyOne<A extends Attributes>(
  op: OpDefinition<A>,
  inputs: readonly Tensor[],
  attrs: A,
): Tensor {
  return applyOp(op, inputs, attrs)[0]!;
}

/** Throws unless the op got this many inputs. */
export function expectInputs(inputs: readonly TensorType[], count: number): void {
  if (inputs.length !== count)
    throw new ShapeError({ what: `takes ${count} inputs, got ${inputs.length}` });
}

/** Throws unless the dtype is one of `allowed`. */
export function expectDType(type: TensorType, allowed: readonly DType[], what: string): void {
  if (!allowed.includes(type.dtype))
    throw new DTypeError({
      what: `${what} is ${formatType(type)}, expected ${allowed.join(" or ")}`,
      hint: "Convert it with convert(x, dtype).",
    });
}

/** Throws unless both have one shape. */
export function expectSameShape(a: TensorType, b: TensorType): void {
  if (!shapesEqual(a.shape, b.shape))
    throw new ShapeError({
      what: `shapes differ: ${formatType(a)} and ${formatType(b)}`,
      hint: "Broadcast or reshape one of them.",
    });
}

/** Throws unless `axis` is an axis of `shape`. */
export function expectAxis(shape: Shape, axis: number, what = "axis"): void {
  if (!Number.isInteger(axis) || axis < 0 || axis >= shape.length)
    throw new AttributeError({
      what: `${what} ${axis} does not exist in a tensor of ${shape.length} axes`,
      hint: "Count axes from 0.",
    });
}
