/**
 * The contract every op fulfils: name, types, derivative and exactly one body, which fixes its class. In: types and
 * attributes. Out: types, and what one element is. Fuse and lower switch on the class, never on the name, so an op of a
 * known class needs no change in the compiler, and may live in another package.
 */
import type { Expr } from "./expression.ts";
import type { Statement } from "./kernel.ts";
import type { SymbolicDim, TensorType } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** Attributes are plain data: they print, parse back and hash. */
export type Attribute =
  | number
  | string
  | boolean
  | null
  | SymbolicDim
  | readonly Attribute[]
  | { readonly [key: string]: Attribute };
export type Attributes = { readonly [key: string]: Attribute };

export interface OpContext<A> {
  readonly attrs: A;
  readonly inputs: readonly TensorType[];
}

/** One element of a tensor as a function of the elements of its inputs at the same index. */
export interface ElementwiseBody<A> {
  readonly class: "elementwise";
  /** Arguments are in register types; narrow float results are rounded by the compiler, not here. */
  readonly scalar: (args: readonly Expr[], context: OpContext<A>) => Expr;
}

/**
 * Which element of which input each output element is. `read(i, index)` is an element of input i; it may be guarded by
 * `select` (pad), depend on another input's values (gather), or not be called at all (iota, random bits).
 */
export interface MovementBody<A> {
  readonly class: "movement";
  readonly at: (
    index: readonly Expr[],
    read: (input: number, index: readonly Expr[]) => Expr,
    context: OpContext<A> & { readonly output: TensorType },
  ) => Expr;
  /** The output is the input's memory under another shape. */
  readonly alias?: true;
}

/** Folds input 0 over some of its axes, which vanish. The accumulator is a tuple, so argmax is a reduction too. */
export interface ReductionBody<A> {
  readonly class: "reduction";
  /** Reduced axes, ascending. */
  readonly axes: (context: OpContext<A>) => readonly number[];
  readonly identity: (context: OpContext<A>) => readonly Expr[];
  /** The tuple of one element; `position` counts along the reduced axes, row-major. */
  readonly lift: (value: Expr, position: Expr, context: OpContext<A>) => readonly Expr[];
  /** Associative; may be applied in any grouping that keeps the order. */
  readonly combine: (left: readonly Expr[], right: readonly Expr[]) => readonly Expr[];
  readonly finish: (result: readonly Expr[], context: OpContext<A>) => Expr;
}

/** The ops that are loops of their own; the list is closed, each has one file in `lower/`. */
export type PrimitiveName =
  | "dot_general"
  | "ragged_dot"
  | "ragged_outer"
  | "scatter_add"
  | "update_slice"
  | "cumulative_sum"
  | "top_k"
  | "sort"
  | "counting_sort"
  | "random_bits";

export interface PrimitiveBody {
  readonly class: "primitive";
  readonly primitive: PrimitiveName;
}

export interface WholeContext<A> extends OpContext<A> {
  readonly outputs: readonly TensorType[];
  /** Bytes of arrays that a kernel may have on the device. */
  readonly arrayBytes: number;
}

/** How the kernels of a composite reach its values. */
export interface WholeAccess {
  /** An element of an input: loaded, or computed where it is read if that is a matter of indices. */
  readonly read: (input: number, index: readonly Expr[]) => Expr;
  /** Stores an element of an output, in its dtype. */
  readonly store: (output: number, index: readonly Expr[], value: Expr) => Statement;
  /** An element of an output as it was stored last; for those in `readsBack` only. */
  readonly readBack: (output: number, index: readonly Expr[]) => Expr;
}

/** One of the kernels of a composite. */
export interface WholeKernel {
  readonly name: string;
  /** The outputs it stores; if nothing needs any of them, the kernel is left out. */
  readonly outputs: readonly number[];
  /** Those of them that it also reads, after it has stored them. */
  readonly readsBack?: readonly number[];
  readonly body: (access: WholeAccess) => readonly Statement[];
}

/** Other ops put together. */
export interface CompositeBody<A> {
  readonly class: "composite";
  readonly decompose: (inputs: readonly Tensor[], attrs: A) => readonly Tensor[];
  /**
   * Kernels of its own that give the same results up to rounding, for devices and shapes that they are better for than the
   * parts; undefined for others. Inputs are read by any iteration, as often as need be.
   */
  readonly whole?: (context: WholeContext<A>) => readonly WholeKernel[] | undefined;
}

/** Inputs of a graph, states and constants: values that no op computes. */
export interface LeafBody {
  readonly class: "leaf";
}

export type OpBody<A> =
  | ElementwiseBody<A>
  | MovementBody<A>
  | ReductionBody<A>
  | PrimitiveBody
  | CompositeBody<A>
  | LeafBody;

export interface VjpContext<A> {
  readonly attrs: A;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Cotangent of each output; undefined where nothing depends on it. */
  readonly cotangents: readonly (Tensor | undefined)[];
}

export interface OpDefinition<A extends Attributes = Attributes> {
  readonly name: string;
  /** Output types, or a ShapeError, DTypeError or AttributeError that says what does not fit. */
  readonly infer: (inputs: readonly TensorType[], attrs: A) => readonly TensorType[];
  /**
   * Cotangents of the inputs, undefined for inputs without one. `"none"`: the op has no derivative by definition
   * (comparison, index). Absent on a composite: its decomposition is differentiated.
   */
  readonly vjp?: ((context: VjpContext<A>) => readonly (Tensor | undefined)[]) | "none";
  readonly body: OpBody<A>;
}

/** An op with its attribute type forgotten, as graphs hold it. */
// oxlint-disable-next-line typescript/no-explicit-any -- an op is used with the attributes of its own nodes only
export type AnyOp = OpDefinition<any>;
