/**
 * Folding of integer arithmetic on addresses and indices. In: an operator and its operands. Out: a number, one of the
 * operands, or nothing when the operation stays. Floats are left alone: their laws are the graph compiler's business.
 */
import type { ScalarOp } from "@millrace/graph";
import type { Value } from "./values.ts";

const arithmetic: Partial<Record<ScalarOp, (a: number, b: number) => number>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: Math.imul,
  min: Math.min,
  max: Math.max,
  div: (a, b) => (b === 0 ? 0 : Math.trunc(a / b)),
  rem: (a, b) => (b === 0 ? 0 : a % b),
  and: (a, b) => a & b,
};

/** The result of an i32 operation when it is known, or the operand it equals. */
export function foldInteger(op: ScalarOp, args: readonly Value[]): number | Value | undefined {
  const [a, b] = args;
  if (a?.type !== "i32" || b?.type !== "i32" || args.length !== 2) return undefined;
  const left = a.kind === "constant" ? a.value : undefined;
  const right = b.kind === "constant" ? b.value : undefined;
  if (left !== undefined && right !== undefined) return arithmetic[op]?.(left, right);
  switch (op) {
    case "add":
      return left === 0 ? b : right === 0 ? a : undefined;
    case "sub":
      return right === 0 ? a : undefined;
    case "mul":
      return left === 0 || right === 0 ? 0 : left === 1 ? b : right === 1 ? a : undefined;
    case "div":
      return right === 1 ? a : undefined;
    default:
      return undefined;
  }
}
