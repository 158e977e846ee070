/**
 * A kernel: loops over scalar expressions that read and write buffers. In: what `lower` makes of a group of nodes.
 * Out: what a backend emits, and what the kernel interpreter walks. A kernel names no target, no tile and no
 * address: buffers are row-major arrays with a shape, an element is named by its multi-index.
 */
import type { DType } from "./dtype.ts";
import type { Expr, ScalarType } from "./expression.ts";
import type { Dim, Shape } from "./shape.ts";

export interface KernelBuffer {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** `update` buffers are read and written; their old contents matter. */
  readonly access: "read" | "write" | "update";
}

/**
 * What a loop runs over: `start <= axis < end`, by default 0 to `extent`. `extent` bounds the axis for every run, so
 * an index may be simplified with it; `start` and `end` may be loaded (the rows of one expert).
 */
export interface Range {
  readonly axis: string;
  readonly extent: Dim;
  readonly start?: Expr;
  readonly end?: Expr;
}

export type Statement =
  /** `parallel`: iterations are independent and may run in any order, on any thread or lane. */
  | {
      readonly kind: "loop";
      readonly range: Range;
      readonly order: "parallel" | "serial";
      readonly body: readonly Statement[];
    }
  /** Names a value; visible in the following statements of the same block. */
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  /** A variable with its first value, changed by `assign`; seen by the rest of the block. */
  | { readonly kind: "variable"; readonly name: string; readonly value: Expr }
  | { readonly kind: "assign"; readonly name: string; readonly value: Expr }
  | PrivateArray
  | Reduce
  | Contract
  | {
      readonly kind: "store";
      readonly buffer: string;
      readonly index: readonly Expr[];
      readonly value: Expr;
    }
  | { readonly kind: "if"; readonly condition: Expr; readonly body: readonly Statement[] };

/**
 * A small array that belongs to one iteration of the parallel loops around it; seen by the rest of the block. Loads and stores name it
 * like a buffer. What it holds before the first store is undefined. Parallel loops and products further in share it, and no two
 * of their iterations touch one element if either writes it.
 */
export interface PrivateArray {
  readonly kind: "array";
  readonly name: string;
  readonly dtype: "f32";
  readonly shape: readonly number[];
}

/**
 * Folds a tuple of values over `ranges` into the locals `results`. `combine[i]` gives component i of the combination
 * of two tuples, whose components are the locals `left(i)` and `right(i)`; it is associative and has `identity`, so a
 * backend may split the range, in an order that is fixed for a program.
 */
export interface Reduce {
  readonly kind: "reduce";
  readonly ranges: readonly Range[];
  readonly results: readonly { readonly name: string; readonly type: ScalarType }[];
  readonly identity: readonly Expr[];
  /** `let`s evaluated for each element, before `values`. */
  readonly body: readonly Statement[];
  readonly values: readonly Expr[];
  readonly combine: readonly Expr[];
}

/** Name of component `i` of the left operand in `Reduce.combine`. */
export const left = (i: number): string => `l${i}`;
/** Name of component `i` of the right operand in `Reduce.combine`. */
export const right = (i: number): string => `r${i}`;

/**
 * A matrix product: for each row and column the sum over `depth` of `lhs(row, depth) * rhs(column, depth)`, accumulated
 * in f32 and named `result` in `body`, which runs once per row and column and stores it. The operands are
 * expressions, so widening and dequantising happen while they are read.
 */
export interface Contract {
  readonly kind: "contract";
  readonly rows: Range;
  readonly columns: Range;
  readonly depth: Range;
  readonly lhs: Expr;
  readonly rhs: Expr;
  readonly result: string;
  readonly body: readonly Statement[];
}

export interface Kernel {
  readonly name: string;
  readonly buffers: readonly KernelBuffer[];
  readonly body: readonly Statement[];
}

/** The statements directly inside a statement. */
export function blockOf(statement: Statement): readonly Statement[] {
  switch (statement.kind) {
    case "loop":
    case "reduce":
    case "contract":
    case "if":
      return statement.body;
    default:
      return [];
  }
}

/** The expressions directly inside a statement, not those of its block. */
export function expressionsOf(statement: Statement): readonly Expr[] {
  const bounds = (range: Range): Expr[] =>
    [range.start, range.end].filter((expr) => expr !== undefined);
  switch (statement.kind) {
    case "loop":
      return bounds(statement.range);
    case "let":
    case "variable":
    case "assign":
      return [statement.value];
    case "store":
      return [...statement.index, statement.value];
    case "if":
      return [statement.condition];
    case "reduce":
      return [
        ...statement.ranges.flatMap(bounds),
        ...statement.identity,
        ...statement.values,
        ...statement.combine,
      ];
    case "contract":
      return [
        ...[statement.rows, statement.columns, statement.depth].flatMap(bounds),
        statement.lhs,
        statement.rhs,
      ];
    case "array":
      return [];
  }
}

/** Bytes of the arrays of a kernel, all of them together. */
export function arrayBytesOf({ body }: Kernel): number {
  let bytes = 0;
  visitStatements(body, (statement) => {
    if (statement.kind === "array")
      bytes += statement.shape.reduce((product, size) => product * size, 4);
  });
  return bytes;
}

/** The ranges a statement opens. */
export function rangesOf(statement: Statement): readonly Range[] {
  switch (statement.kind) {
    case "loop":
      return [statement.range];
    case "reduce":
      return statement.ranges;
    case "contract":
      return [statement.rows, statement.columns, statement.depth];
    default:
      return [];
  }
}

/** Calls `visit` on every statement of a block, outer before inner. */
export function visitStatements(
  block: readonly Statement[],
  visit: (statement: Statement) => void,
): void {
  for (const statement of block) {
    visit(statement);
    visitStatements(blockOf(statement), visit);
  }
}
