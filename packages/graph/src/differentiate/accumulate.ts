/**
 * Sums of cotangents. In: contributions to the derivative by one value, one for each of its uses. Out: their sum, in the value's
 * dtype. Narrow floats are added in f32 and rounded once. A value without contributions has none, rather than zeros, so
 * that whatever does not matter is never computed.
 */
import { isFloat } from "../dtype.ts";
import type { ValueRef } from "../graph.ts";
import type { TensorType } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import type { GraphBuilder } from "../declare/builder.ts";
import { broadcastTo } from "../declare/ops/broadcast.ts";
import { add, convert } from "../declare/ops/elementwise.ts";

/** Cotangents gathered so far, by value. */
export class Cotangents {
  readonly #parts = new Map<string, Tensor[]>();

  /** Adds a contribution; integers and bools have no derivative, theirs is dropped. */
  add(ref: ValueRef, part: Tensor): void {
    if (!isFloat(part.dtype)) return;
    const parts = this.#parts.get(key(ref));
    if (parts) parts.push(part);
    else this.#parts.set(key(ref), [part]);
  }

  /** The sum of the contributions, in the order in which they came; undefined without any. */
  total(ref: ValueRef): Tensor | undefined {
    const parts = this.#parts.get(key(ref));
    if (!parts || parts.length === 0) return undefined;
    if (parts.length === 1) return parts[0]!;
    const sum = convert(
      parts.map((part) => convert(part, "f32")).reduce((a, b) => add(a, b)),
      parts[0]!.dtype,
    );
    this.#parts.set(key(ref), [sum]);
    return sum;
  }
}

const key = ({ node, output }: ValueRef): string => `${node}.${output}`;

/** Zeros of a type. */
export function zeros(b: GraphBuilder, type: TensorType): Tensor {
  return broadcastTo(b.scalar(0, type.dtype), type.shape);
}
