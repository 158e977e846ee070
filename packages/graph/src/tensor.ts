/**
 * A handle to a value while a graph is being declared: what op functions take and return. Knows its type and the
 * builder it belongs to, never its elements.
 */
import type { GraphBuilder } from "./declare/builder.ts";
import type { DType } from "./dtype.ts";
import type { ValueRef } from "./graph.ts";
import type { Shape, TensorType } from "./shape.ts";

export interface Tensor {
  readonly builder: GraphBuilder;
  readonly ref: ValueRef;
  readonly type: TensorType;
  readonly dtype: DType;
  readonly shape: Shape;
}
