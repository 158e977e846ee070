/**
 * What a kernel computes and moves. In: a kernel and the sizes of a run. Out: floating point operations and bytes, from its loops
 * alone; what a backend makes of them is not looked at. Of ranges whose ends are known only when a kernel runs, parts add up to the
 * range, and other bounds leave half of it.
 */
import { byteWidth } from "../dtype.ts";
import type { Expr, ScalarOp } from "../expression.ts";
import { visitExpr } from "../expression.ts";
import type { Kernel, Range, Statement } from "../kernel.ts";
import { expressionsOf } from "../kernel.ts";
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

/** What has been counted so far. */
class Count {
  flops = 0;
  productFlops = 0;
  readonly loads: Map<string, number> = new Map();
  readonly stores: Map<string, number> = new Map();
  readonly #sizes: Sizes;

  constructor(sizes: Sizes) {
    this.#sizes = sizes;
  }

  #trips(range: Range, around: number): number {
    const extent = evaluateDim(range.extent, this.#sizes);
    return evaluateDim(tripsOf({ ...range, extent }, around), this.#sizes);
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
      case "loop": {
        const trips = this.#trips(statement.range, around);
        this.block(statement.body, times * trips, trips);
        return;
      }
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
