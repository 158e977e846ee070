/**
 * What a kernel computes and moves. In: a kernel and the sizes of a run. Out: floating point operations and bytes, from its loops
 * alone; what a backend makes of them is not looked at. Bounds that follow from sizes and outer loops are counted as they are. Of those
 * that are loaded, parts add up to the range, and others leave half of it.
 */
import { byteWidth } from "../dtype.ts";
import type { Expr, ScalarOp } from "../expression.ts";
import { visitExpr } from "../expression.ts";
import type { Kernel, Range, Statement } from "../kernel.ts";
import { expressionsOf, rangesOf, visitStatements } from "../kernel.ts";
import type { Dim } from "../shape.ts";
import { evaluateDim, multiplyDims, shapeSize } from "../shape.ts";

/** Work of one call. */
export interface KernelWork {
  /** Floating point operations; a product and its addition are two, a function such as exp is one. */
  readonly flops: number;
  /** Those among them that matrix products do. */
  readonly productFlops: number;
  /** Bytes that have to move at least: each element of a buffer once, and no more than the loops touch. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

const counted: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  ...(["neg", "abs", "exp", "log", "sin", "cos", "tanh", "sqrt", "floor", "ceil"] as const),
  ...(["round", "add", "sub", "mul", "div", "rem", "min", "max"] as const),
]);

function hasLoad(expr: Expr): boolean {
  let found = false;
  visitExpr(expr, (part) => {
    found ||= part.kind === "load";
  });
  return found;
}

/**
 * Iterations of a range, roughly. Where each turn of the loop around it has its own part of the range, the parts add up to it
 * once.
 */
export function tripsOf({ start, end, extent }: Omit<Range, "axis">, around: Dim): Dim {
  if (start && hasLoad(start) && typeof around === "number" && around > 0)
    return multiplyDims(extent, 1 / around);
  return start || end ? multiplyDims(extent, 0.5) : extent;
}

type Sizes = ReadonlyMap<string, number>;

/** An integer or a condition, if it follows from sizes and the values of axes and names; conditions are 0 and 1. */
function valueOf(expr: Expr, sizes: Sizes, known: Sizes): number | undefined {
  switch (expr.kind) {
    case "literal":
      return expr.value;
    case "size":
      return evaluateDim(expr.dim, sizes);
    case "axis":
    case "local":
      return known.get(expr.name);
    case "apply": {
      const args = expr.args.map((arg) => valueOf(arg, sizes, known));
      if (expr.op === "select") return args[0] === undefined ? undefined : args[args[0] ? 1 : 2];
      const [a, b] = args;
      return a === undefined || b === undefined ? undefined : integerOps[expr.op]?.(a, b);
    }
    default:
      return undefined;
  }
}

const integerOps: Partial<Record<ScalarOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => (b === 0 ? 0 : Math.trunc(a / b)),
  rem: (a, b) => (b === 0 ? 0 : a % b),
  min: Math.min,
  max: Math.max,
  eq: (a, b) => Number(a === b),
  lt: (a, b) => Number(a < b),
  ge: (a, b) => Number(a >= b),
};

/** Whether a bound of a range in the block depends on `axis`, be it by names. */
function steers(axis: string, block: readonly Statement[]): boolean {
  const names = new Set([axis]);
  let found = false;
  const mentions = (expr: Expr): boolean => {
    let seen = false;
    visitExpr(expr, (part) => {
      seen ||= (part.kind === "axis" || part.kind === "local") && names.has(part.name);
    });
    return seen;
  };
  visitStatements(block, (statement) => {
    if (statement.kind === "let" && mentions(statement.value)) names.add(statement.name);
    for (const { start, end } of rangesOf(statement))
      for (const bound of [start, end]) found ||= bound !== undefined && mentions(bound);
  });
  return found;
}

/** What has been counted so far. */
class Count {
  flops = 0;
  productFlops = 0;
  readonly loads: Map<string, number> = new Map();
  readonly stores: Map<string, number> = new Map();
  readonly #sizes: Sizes;
  /** Axes and names whose value is known here. */
  readonly #known: Map<string, number> = new Map();

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
  }

  #trips(range: Range, around: number): number {
    const extent = evaluateDim(range.extent, this.#sizes);
    const bounds = this.#bounds(range, extent);
    if (bounds) return bounds.end - bounds.start;
    return evaluateDim(tripsOf({ ...range, extent }, around), this.#sizes);
  }

  /** First and last value of an axis, if they are known; `end` is not below `start`. */
  #bounds(range: Range, extent: number): { start: number; end: number } | undefined {
    const known = (bound: Expr | undefined, otherwise: number): number | undefined =>
      bound ? valueOf(bound, this.#sizes, this.#known) : otherwise;
    const start = known(range.start, 0);
    const end = known(range.end, extent);
    return start === undefined || end === undefined
      ? undefined
      : { start, end: Math.max(start, end) };
  }

  #loop({ range, body }: Statement & { kind: "loop" }, times: number, around: number): void {
    const trips = this.#trips(range, around);
    const bounds = this.#bounds(range, evaluateDim(range.extent, this.#sizes));
    if (!bounds || !steers(range.axis, body)) {
      this.block(body, times * trips, trips);
      return;
    }
    for (let at = bounds.start; at < bounds.end; at++) {
      this.#known.set(range.axis, at);
      this.block(body, times, trips);
    }
    this.#known.delete(range.axis);
  }

  expression(expr: Expr, times: number): void {
    visitExpr(expr, (part) => {
      if (part.kind === "load")
        this.loads.set(part.buffer, (this.loads.get(part.buffer) ?? 0) + times);
      else if (part.kind === "apply" && part.type === "f32" && counted.has(part.op))
        this.flops += times;
    });
  }

  /** `around` is how often the nearest loop turns. */
  block(block: readonly Statement[], times: number, around: number): void {
    for (const statement of block) this.statement(statement, times, around);
  }

  statement(statement: Statement, times: number, around: number): void {
    switch (statement.kind) {
      case "loop":
        this.#loop(statement, times, around);
        return;
      case "reduce": {
        const trips = statement.ranges.reduce((n, range) => n * this.#trips(range, around), 1);
        this.block(statement.body, times * trips, trips);
        for (const expr of [...statement.values, ...statement.combine])
          this.expression(expr, times * trips);
        return;
      }
      case "contract": {
        const [rows, columns, depth] = [statement.rows, statement.columns, statement.depth].map(
          (range) => this.#trips(range, around),
        ) as [number, number, number];
        const products = 2 * times * rows * columns * depth;
        this.flops += products;
        this.productFlops += products;
        this.expression(statement.lhs, times * rows * depth);
        this.expression(statement.rhs, times * columns * depth);
        this.block(statement.body, times * rows * columns, 1);
        return;
      }
      case "let": {
        const value = valueOf(statement.value, this.#sizes, this.#known);
        if (value === undefined) this.#known.delete(statement.name);
        else this.#known.set(statement.name, value);
        break;
      }
      case "store":
        this.stores.set(statement.buffer, (this.stores.get(statement.buffer) ?? 0) + times);
        break;
      default:
    }
    for (const expr of expressionsOf(statement)) this.expression(expr, times);
    if (statement.kind === "if") this.block(statement.body, times, around);
  }
}

/** The work of one call of a kernel with these sizes. */
export function kernelWork(kernel: Kernel, sizes: ReadonlyMap<string, number>): KernelWork {
  const count = new Count(sizes);
  count.block(kernel.body, 1, 1);
  const bytes = (touched: ReadonlyMap<string, number>): number =>
    kernel.buffers
      .map(({ name, dtype, shape }) => {
        const elements = evaluateDim(shapeSize(shape), sizes);
        return Math.min(elements, touched.get(name) ?? 0) * byteWidth(dtype);
      })
      .reduce((a, b) => a + b, 0);
  return {
    flops: count.flops,
    productFlops: count.productFlops,
    bytesRead: bytes(count.loads),
    bytesWritten: bytes(count.stores),
  };
}
