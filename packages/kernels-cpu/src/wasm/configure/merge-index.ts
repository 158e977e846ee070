/**
 * Index arithmetic that cancels. In: a multi-index. Out: an equal one with fewer parts: where one dimension is indexed by
 * `x / d` and the next, of size d, by `x % d`, the two are one dimension indexed by `x`.
 */
import type { Dim, Expr, Shape } from "@millrace/graph";
import { dimsEqual, multiplyDims } from "@millrace/graph";

/** An index, and which dimension's stride it counts in. */
export interface IndexPart {
  readonly index: Expr;
  readonly dimension: number;
}

const constantOf = (expr: Expr): Dim | undefined =>
  expr.kind === "literal" ? expr.value : expr.kind === "size" ? expr.dim : undefined;

/** `x` and `d` of `x / d` or `x % d`. */
function divisionOf(op: "div" | "rem", expr: Expr): { x: Expr; d: Dim } | undefined {
  if (expr.kind !== "apply" || expr.op !== op) return undefined;
  const d = constantOf(expr.args[1]!);
  return d === undefined ? undefined : { x: expr.args[0]!, d };
}

function equal(a: Expr, b: Expr): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || a.type !== b.type) return false;
  switch (a.kind) {
    case "literal":
      return b.kind === "literal" && Object.is(a.value, b.value);
    case "size":
      return b.kind === "size" && dimsEqual(a.dim, b.dim);
    case "axis":
    case "local":
      return b.kind === a.kind && a.name === b.name;
    case "apply":
      return (
        b.kind === "apply" && a.op === b.op && a.args.every((arg, i) => equal(arg, b.args[i]!))
      );
    // Loads could change between two readings, and rounded values index nothing.
    default:
      return false;
  }
}

/** One index for two neighbouring dimensions, the second of size `size`. */
function merge(outer: Expr, inner: Expr, size: Dim): Expr | undefined {
  const low = divisionOf("rem", inner);
  if (!low || !dimsEqual(low.d, size)) return undefined;
  const high = divisionOf("div", outer);
  if (high && dimsEqual(high.d, size) && equal(high.x, low.x)) return low.x;
  // (x / d % e, x % d) is x % (d e).
  const middle = divisionOf("rem", outer);
  const quotient = middle && divisionOf("div", middle.x);
  if (!quotient || !dimsEqual(quotient.d, size) || !equal(quotient.x, low.x)) return undefined;
  const both = multiplyDims(middle.d, size);
  const divisor: Expr =
    typeof both === "number"
      ? { kind: "literal", type: "i32", value: both }
      : { kind: "size", type: "i32", dim: both };
  return { kind: "apply", type: "i32", op: "rem", args: [low.x, divisor] };
}

/** The parts of a multi-index after merging; from the innermost dimension outwards, so that chains cancel. */
export function mergeIndex(index: readonly Expr[], shape: Shape): IndexPart[] {
  const parts: IndexPart[] = [];
  let size: Dim = 1;
  for (let i = index.length - 1; i >= 0; i--) {
    const inner = parts[0];
    const merged = inner && merge(index[i]!, inner.index, size);
    if (merged) {
      parts[0] = { index: merged, dimension: inner.dimension };
      size = multiplyDims(size, shape[i]!);
    } else {
      parts.unshift({ index: index[i]!, dimension: i });
      size = shape[i]!;
    }
  }
  return parts;
}
