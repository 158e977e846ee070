/**
 * Scalar expressions as text: `x[t, k] * 0.5`, `select(i < 3, a, b)`, `round_bf16(v)`. In: an expression. Out: one line.
 * Types are left out because they follow from literals (`1` is i32, `1.0` f32, `1u` u32) and from what the names around
 * it were declared as.
 */
import type { Expr, ScalarOp } from "./expression.ts";
import { formatDim } from "./shape.ts";
import { formatName, formatNumber } from "./text.ts";

interface Infix {
  readonly symbol: string;
  /** Binds tighter where greater; operators of one level group to the left. */
  readonly level: number;
}

/** Operators written between their operands; all others are written as calls. */
export const infixOps: ReadonlyMap<ScalarOp, Infix> = new Map<ScalarOp, Infix>([
  ["mul", { symbol: "*", level: 7 }],
  ["div", { symbol: "/", level: 7 }],
  ["rem", { symbol: "%", level: 7 }],
  ["add", { symbol: "+", level: 6 }],
  ["sub", { symbol: "-", level: 6 }],
  ["shl", { symbol: "<<", level: 5 }],
  ["shr", { symbol: ">>", level: 5 }],
  ["and", { symbol: "&", level: 4 }],
  ["xor", { symbol: "^", level: 3 }],
  ["or", { symbol: "|", level: 2 }],
  ["eq", { symbol: "==", level: 1 }],
  ["ne", { symbol: "!=", level: 1 }],
  ["lt", { symbol: "<", level: 1 }],
  ["le", { symbol: "<=", level: 1 }],
  ["gt", { symbol: ">", level: 1 }],
  ["ge", { symbol: ">=", level: 1 }],
]);

/** Text of an expression. */
export function printExpr(expr: Expr): string {
  return print(expr, 0);
}

/** Text that may stand as an operand of an operator of `level`. */
function print(expr: Expr, level: number): string {
  switch (expr.kind) {
    case "literal":
      return printLiteral(expr);
    case "axis":
    case "local":
      return formatName(expr.name);
    case "size":
      return `size(${formatDim(expr.dim)})`;
    case "load":
      return `${formatName(expr.buffer)}[${expr.index.map(printExpr).join(", ")}]`;
    case "round":
      return `round_${expr.dtype}(${printExpr(expr.value)})`;
    case "apply": {
      const infix = infixOps.get(expr.op);
      if (!infix || expr.args.length !== 2)
        return `${expr.op}(${expr.args.map(printExpr).join(", ")})`;
      const [x, y] = expr.args as [Expr, Expr];
      const text = `${print(x, infix.level)} ${infix.symbol} ${print(y, infix.level + 1)}`;
      return infix.level < level ? `(${text})` : text;
    }
  }
}

function printLiteral({ type, value }: Expr & { kind: "literal" }): string {
  switch (type) {
    case "bool":
      return value === 0 ? "false" : "true";
    case "u32":
      return `${formatNumber(value)}u`;
    case "i32":
      return formatNumber(value);
    case "f32": {
      const text = formatNumber(value);
      return /^-?\d+$/.test(text) ? `${text}.0` : text;
    }
  }
}
