/**
 * What statements read and write, and how an index moves with an axis. In: blocks of the kernel language. Out: facts for the choice of
 * a form. Buffers that are the same memory count as one.
 */
import type { Contract, Dim, Expr, Kernel, KernelBuffer, Range, Statement } from "@millrace/graph";
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

  /** A buffer by its name; none for an array of the kernel. */
  buffer(name: string): KernelBuffer | undefined {
    return this.#kernel.buffers.find((buffer) => buffer.name === name);
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

/** Elements that are read at once where they lie side by side. */
export const quad = 4;

/** Whether a size is a multiple of `n` for all values of its symbols. */
export function isMultiple(dim: Dim, n: number): boolean {
  if (typeof dim === "number") return dim % n === 0;
  return dim.terms.every(({ coefficient }) => coefficient % n === 0);
}

/** Whether an expression is the same for `count` values of an axis that begin with a multiple of so many. */
export function isSteady(expr: Expr, axis: string, count: number = quad): boolean {
  switch (expr.kind) {
    case "axis":
      return expr.name !== axis;
    case "load":
      return expr.index.every((part) => isSteady(part, axis, count));
    case "round":
      return isSteady(expr.value, axis, count);
    case "apply": {
      const [x, y] = expr.args;
      const splits =
        expr.op === "div" || expr.op === "lt" || expr.op === "ge"
          ? y?.kind === "literal" && y.type === "i32" && y.value >= 0 && y.value % count === 0
          : false;
      if (splits && (count === quad ? isConsecutive(x!, axis) : isAxis(x, axis))) return true;
      return expr.args.every((arg) => isSteady(arg, axis, count));
    }
    default:
      return true;
  }
}

/** Whether an integer is a multiple of four wherever it is used. */
function isQuadMultiple(expr: Expr): boolean {
  if (expr.kind === "literal") return expr.value % quad === 0;
  if (expr.kind === "size") return isMultiple(expr.dim, quad);
  if (expr.kind !== "apply") return false;
  const { op, args } = expr;
  if (op === "mul") return args.some(isQuadMultiple);
  return (op === "add" || op === "sub") && args.every(isQuadMultiple);
}

/** Whether an index runs through four values from a multiple of four on, as the axis does. */
export function isConsecutive(expr: Expr, axis: string): boolean {
  if (isAxis(expr, axis)) return true;
  if (expr.kind !== "apply") return false;
  const [x, y] = expr.args as [Expr, Expr];
  const multiple = (part: Expr): boolean => isSteady(part, axis) && isQuadMultiple(part);
  switch (expr.op) {
    case "add":
      return (isConsecutive(x, axis) && multiple(y)) || (isConsecutive(y, axis) && multiple(x));
    case "sub":
      return isConsecutive(x, axis) && multiple(y);
    case "rem":
      return isConsecutive(x, axis) && y.kind === "literal" && y.value > 0 && multiple(y);
    default:
      return false;
  }
}

/** Whether four values of an axis load four neighbours, the first at a multiple of four. */
export function loadsQuad(expr: Expr, axis: string, shape: readonly Dim[] | undefined): boolean {
  if (expr.kind !== "load" || expr.index.length === 0) return false;
  return (
    shape !== undefined &&
    isMultiple(shape.at(-1)!, quad) &&
    isConsecutive(expr.index.at(-1)!, axis) &&
    expr.index.slice(0, -1).every((part) => isSteady(part, axis))
  );
}

/**
 * Along which of its two axes an operand of a product lies in memory, and how many elements may be read at once: four where a load
 * finds them side by side and the axis is a whole number of fours.
 */
export function quadAxis(
  contract: Contract,
  side: "lhs" | "rhs",
  memories: Memories,
): { readonly along: "range" | "depth"; readonly unit: number } {
  const range = side === "lhs" ? contract.rows : contract.columns;
  const loads = memories.loads(contract[side]);
  const along =
    loads.some(({ index }) => isNeighbourly(index, range.axis)) &&
    !loads.some(({ index }) => isNeighbourly(index, contract.depth.axis))
      ? "range"
      : "depth";
  const { axis, extent, start, end } = along === "range" ? range : contract.depth;
  let together = false;
  visitExpr(contract[side], (part) => {
    together ||= part.kind === "load" && loadsQuad(part, axis, memories.buffer(part.buffer)?.shape);
  });
  const whole = start === undefined && end === undefined && isMultiple(extent, quad);
  return { along, unit: together && whole ? quad : 1 };
}
