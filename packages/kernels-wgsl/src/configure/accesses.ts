/**
 * What statements read and write, and how an index moves with an axis. In: blocks of the kernel language. Out: facts for the choice of
 * a form. Buffers that are the same memory count as one.
 */
import type { Dim, Expr, Kernel, Range, Statement } from "@millrace/graph";
import { blockOf, expressionsOf, maxDim, visitExpr, visitStatements } from "@millrace/graph";
import type { Sharing } from "../emit/bindings.ts";

/** One load or store: the memory's number and the index. */
export interface Access {
  readonly memory: number;
  readonly index: readonly Expr[];
  readonly store: boolean;
}

export class Memories {
  readonly #kernel: Kernel;
  readonly #sharing: Sharing;

  constructor(kernel: Kernel, sharing: Sharing) {
    this.#kernel = kernel;
    this.#sharing = sharing;
  }

  /** Number of the memory that a buffer is bound to. */
  of(buffer: string): number {
    const index = this.#kernel.buffers.findIndex(({ name }) => name === buffer);
    return this.#sharing[index] ?? -1;
  }

  /** All loads and stores in a block. */
  accesses(block: readonly Statement[]): readonly Access[] {
    const found: Access[] = [];
    visitStatements(block, (statement) => {
      for (const expr of expressionsOf(statement)) found.push(...this.loads(expr));
      if (statement.kind === "store")
        found.push({ memory: this.of(statement.buffer), index: statement.index, store: true });
    });
    return found;
  }

  loads(expr: Expr): readonly Access[] {
    const found: Access[] = [];
    visitExpr(expr, (part) => {
      if (part.kind === "load")
        found.push({ memory: this.of(part.buffer), index: part.index, store: false });
    });
    return found;
  }

  /** Memories that a block stores to. */
  stored(block: readonly Statement[]): ReadonlySet<number> {
    return new Set(this.accesses(block).flatMap(({ memory, store }) => (store ? [memory] : [])));
  }
}

/** Whether an axis or local occurs in an expression. */
export function mentions(expr: Expr, name: string): boolean {
  let found = false;
  visitExpr(expr, (part) => {
    found ||= (part.kind === "axis" || part.kind === "local") && part.name === name;
  });
  return found;
}

export const isAxis = (expr: Expr | undefined, name: string): boolean =>
  expr?.kind === "axis" && expr.name === name;

export const hasBounds = ({ start, end }: Range): boolean =>
  start !== undefined || end !== undefined;

/** Largest number of elements of some ranges. */
export const largestCount = (ranges: readonly { readonly extent: Dim }[]): number =>
  ranges.reduce((product, { extent }) => product * Math.max(maxDim(extent), 0), 1);

/** Whether the next value of an axis is the next element: the axis is added to the last index, perhaps as a remainder. */
export function isNeighbourly(index: readonly Expr[], axis: string): boolean {
  const last = index.at(-1);
  if (last === undefined) return false;
  const moves = (expr: Expr): boolean => {
    if (isAxis(expr, axis)) return true;
    if (expr.kind !== "apply") return false;
    if (expr.op === "add") return expr.args.some(moves);
    if (expr.op === "sub" || expr.op === "rem") return moves(expr.args[0]!);
    return false;
  };
  return moves(last);
}

/** Whether a block holds a statement of a kind, at any depth. */
export function contains(
  block: readonly Statement[],
  test: (statement: Statement) => boolean,
): boolean {
  return block.some((statement) => test(statement) || contains(blockOf(statement), test));
}
