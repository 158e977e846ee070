/**
 * Which operand types each scalar operator takes: the same table for every backend. In: an operator and types. Out: whether
 * they fit, and how to say what would.
 */
import type { ScalarOp, ScalarType } from "./expression.ts";

const number: readonly ScalarType[] = ["f32", "i32", "u32"];
const integer: readonly ScalarType[] = ["i32", "u32"];
const bits: readonly ScalarType[] = ["bool", "i32", "u32"];
const any: readonly ScalarType[] = ["f32", "i32", "u32", "bool"];
const float: readonly ScalarType[] = ["f32"];

/** Operand types of every operator but select; all operands have one type. */
const operands: Record<Exclude<ScalarOp, "select">, readonly [1 | 2, readonly ScalarType[]]> = {
  neg: [1, number],
  abs: [1, number],
  sign: [1, number],
  exp: [1, float],
  log: [1, float],
  sin: [1, float],
  cos: [1, float],
  tanh: [1, float],
  sqrt: [1, float],
  floor: [1, float],
  ceil: [1, float],
  round: [1, float],
  not: [1, bits],
  add: [2, number],
  sub: [2, number],
  mul: [2, number],
  div: [2, number],
  rem: [2, integer],
  min: [2, number],
  max: [2, number],
  and: [2, bits],
  or: [2, bits],
  xor: [2, bits],
  shl: [2, integer],
  shr: [2, integer],
  eq: [2, any],
  ne: [2, any],
  lt: [2, any],
  le: [2, any],
  gt: [2, any],
  ge: [2, any],
  to_f32: [1, any],
  to_i32: [1, any],
  to_u32: [1, any],
  to_bool: [1, any],
  bitcast_f32: [1, ["u32"]],
  bitcast_u32: [1, ["f32"]],
};

/** True if the operator is defined on operands of these types. */
export function operatorTakes(op: ScalarOp, types: readonly ScalarType[]): boolean {
  if (op === "select") return types.length === 3 && types[0] === "bool" && types[1] === types[2];
  const [count, allowed] = operands[op];
  return (
    types.length === count && types.every((type) => type === types[0] && allowed.includes(type))
  );
}

/** `2 of f32 or i32`. */
export function expectedOperands(op: ScalarOp): string {
  if (op === "select") return "a bool and two of one type";
  const [count, allowed] = operands[op];
  return `${count} of ${allowed.join(" or ")}`;
}
