/**
 * How an access moves along one axis. In: a multi-index, the buffer's shape, an axis. Out: still, to the neighbour, further, or
 * anywhere. Works on expressions, before anything is emitted, so that choices can be made and printed.
 */
import type { Dim, Expr, Shape } from "@millrace/graph";
import { addDims, multiplyDims } from "@millrace/graph";
import { mergeIndex } from "./merge-index.ts";

/** `lets` gives the expressions that names stand for; names of variables are not in it. */
export interface Scope {
  readonly axis: string;
  readonly lets: ReadonlyMap<string, Expr>;
  /** Names whose value may differ between iterations of the axis. */
  readonly varying: ReadonlySet<string>;
}

export type Movement = "still" | "neighbour" | "far" | "anywhere";

/** True when the expression may differ between iterations of the axis. */
export function variesWith(expr: Expr, scope: Scope): boolean {
  switch (expr.kind) {
    case "literal":
    case "size":
      return false;
    case "axis":
      return expr.name === scope.axis;
    case "local":
      return scope.varying.has(expr.name);
    case "load":
      return expr.index.some((index) => variesWith(index, scope));
    case "apply":
      return expr.args.some((arg) => variesWith(arg, scope));
    case "round":
      return variesWith(expr.value, scope);
  }
}

/** Whether the expression changes by the same in every step of the axis. */
export function isAffine(expr: Expr, scope: Scope): boolean {
  if (!variesWith(expr, scope) || expr.kind === "axis") return true;
  if (expr.kind !== "apply") return false;
  const { op, args } = expr;
  if (op === "mul" && args.every((arg) => variesWith(arg, scope))) return false;
  return (
    (op === "add" || op === "sub" || op === "mul") && args.every((arg) => isAffine(arg, scope))
  );
}

const constantOf = (expr: Expr): Dim | undefined =>
  expr.kind === "literal" ? expr.value : expr.kind === "size" ? expr.dim : undefined;

/** Change of an index per step of the axis, where it is the same everywhere. */
function slopeOf(expr: Expr, scope: Scope): Dim | undefined {
  if (!variesWith(expr, scope)) return 0;
  if (expr.kind === "axis") return 1;
  if (expr.kind === "local") {
    const value = scope.lets.get(expr.name);
    return value && slopeOf(value, scope);
  }
  if (expr.kind !== "apply") return undefined;
  const [a, b] = expr.args as [Expr, Expr];
  switch (expr.op) {
    case "add":
    case "sub": {
      const left = slopeOf(a, scope);
      const right = slopeOf(b, scope);
      if (left === undefined || right === undefined) return undefined;
      return addDims(left, expr.op === "add" ? right : multiplyDims(right, -1));
    }
    case "mul": {
      const [factor, moving] = variesWith(a, scope) ? [b, a] : [a, b];
      const constant = constantOf(factor);
      const slope = slopeOf(moving, scope);
      return constant === undefined || slope === undefined
        ? undefined
        : multiplyDims(slope, constant);
    }
    // Runs of neighbours between multiples of the divisor: what a vector of four sees when they align.
    case "rem": {
      const divisor = constantOf(b);
      const slope = slopeOf(a, scope);
      return slope === 1 && typeof divisor === "number" && divisor % 4 === 0 ? 1 : undefined;
    }
    case "div": {
      const divisor = constantOf(b);
      const slope = slopeOf(a, scope);
      return slope === 1 && typeof divisor === "number" && divisor % 4 === 0 ? 0 : undefined;
    }
    default:
      return undefined;
  }
}

/** How the element at `index` moves when the axis advances by one. */
export function movementOf(index: readonly Expr[], shape: Shape, scope: Scope): Movement {
  const strides: Dim[] = [];
  let stride: Dim = 1;
  for (const dim of shape.toReversed()) {
    strides.unshift(stride);
    stride = multiplyDims(stride, dim);
  }
  let total: Dim = 0;
  for (const part of mergeIndex(index, shape)) {
    const slope = slopeOf(part.index, scope);
    if (slope === undefined) return "anywhere";
    total = addDims(total, multiplyDims(slope, strides[part.dimension] ?? 1));
  }
  return total === 0 ? "still" : total === 1 ? "neighbour" : "far";
}
