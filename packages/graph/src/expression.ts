/**
 * Scalar expressions: what one element of a tensor is, in terms of loop axes and elements of other tensors.
 * Ops give their bodies in this language; kernels compute in it; every backend has one table of its operators.
 * Values are computed in four register types; narrow floats are widened on load and `round` says where they are
 * rounded again. Knows nothing of tensors, graphs or devices.
 */
import type { DType, FloatDType } from "./dtype.ts";
import { isFloat } from "./dtype.ts";
import type { Dim } from "./shape.ts";

/** Register types. All integers but `u32` load as `i32` (an `i64` by its low word), narrow floats as `f32`. */
export type ScalarType = "f32" | "i32" | "u32" | "bool";

export type UnaryOp =
  | "neg"
  | "abs"
  | "sign"
  | "exp"
  | "log"
  | "sin"
  | "cos"
  | "tanh"
  | "sqrt"
  | "floor"
  | "ceil"
  | "round"
  | "not";
/** `div` and `rem` of integers truncate, by zero they give 0; `shr` is logical on u32, arithmetic on i32. */
export type BinaryOp =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "rem"
  | "min"
  | "max"
  | "and"
  | "or"
  | "xor"
  | "shl"
  | "shr";
export type CompareOp = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
/** `to_i32`/`to_u32` of floats truncate and saturate, NaN gives 0; `bitcast_*` keep the bits. */
export type ConvertOp = "to_f32" | "to_i32" | "to_u32" | "to_bool" | "bitcast_f32" | "bitcast_u32";
export type ScalarOp = UnaryOp | BinaryOp | CompareOp | ConvertOp | "select";

export type Expr =
  | { readonly kind: "literal"; readonly type: ScalarType; readonly value: number }
  /** A loop variable, 0 <= axis < extent. */
  | { readonly kind: "axis"; readonly type: "i32"; readonly name: string; readonly extent: Dim }
  /** A size fixed at run time. */
  | { readonly kind: "size"; readonly type: "i32"; readonly dim: Dim }
  /** A `let` or a variable of the kernel, or an argument of an op's body. */
  | { readonly kind: "local"; readonly type: ScalarType; readonly name: string }
  /** One element of a buffer, by its multi-index; each index must lie within the buffer's shape. */
  | {
      readonly kind: "load";
      readonly type: ScalarType;
      readonly buffer: string;
      readonly index: readonly Expr[];
    }
  /** `select(c, a, b)` evaluates only the branch it takes, so its branches may hold guarded loads. */
  | {
      readonly kind: "apply";
      readonly type: ScalarType;
      readonly op: ScalarOp;
      readonly args: readonly Expr[];
    }
  /** The nearest value of a narrow float format, ties to even, as an f32. */
  | {
      readonly kind: "round";
      readonly type: "f32";
      readonly dtype: FloatDType;
      readonly value: Expr;
    };

/** The register type that holds a dtype. */
export function scalarType(dtype: DType): ScalarType {
  if (isFloat(dtype)) return "f32";
  if (dtype === "bool" || dtype === "u32") return dtype;
  return "i32";
}

export function literal(value: number, type: ScalarType = "f32"): Expr {
  return { kind: "literal", type, value };
}

export function integer(value: number): Expr {
  return { kind: "literal", type: "i32", value };
}

export function axis(name: string, extent: Dim): Expr {
  return { kind: "axis", type: "i32", name, extent };
}

/** A size as an index value; a number becomes a literal. */
export function sizeOf(dim: Dim): Expr {
  return typeof dim === "number" ? integer(dim) : { kind: "size", type: "i32", dim };
}

export function local(name: string, type: ScalarType): Expr {
  return { kind: "local", type, name };
}

export function load(buffer: string, index: readonly Expr[], dtype: DType): Expr {
  return { kind: "load", type: scalarType(dtype), buffer, index };
}

export function round(value: Expr, dtype: FloatDType): Expr {
  if (dtype === "f32" || (value.kind === "round" && value.dtype === dtype)) return value;
  return { kind: "round", type: "f32", dtype, value };
}

const compareOps: ReadonlySet<ScalarOp> = new Set<CompareOp>(["eq", "ne", "lt", "le", "gt", "ge"]);

/** Result type of an operator on operands of `type` (for `select`, the type of its branches). */
export function resultType(op: ScalarOp, type: ScalarType): ScalarType {
  if (compareOps.has(op)) return "bool";
  switch (op) {
    case "to_f32":
    case "bitcast_f32":
      return "f32";
    case "to_i32":
      return "i32";
    case "to_u32":
    case "bitcast_u32":
      return "u32";
    case "to_bool":
      return "bool";
    default:
      return type;
  }
}

/** Applies an operator without simplifying. */
export function apply(op: ScalarOp, ...args: readonly Expr[]): Expr {
  const type = resultType(op, (op === "select" ? args[1] : args[0])!.type);
  return { kind: "apply", type, op, args };
}

export function select(condition: Expr, whenTrue: Expr, whenFalse: Expr): Expr {
  return apply("select", condition, whenTrue, whenFalse);
}

/** Value conversion between dtypes as the op `convert` defines it: rounds floats, truncates to integers. */
export function convertTo(value: Expr, dtype: DType): Expr {
  const target = scalarType(dtype);
  if (value.type === target) return isFloat(dtype) ? round(value, dtype) : wrap(value, dtype);
  switch (target) {
    case "f32":
      return round(apply("to_f32", value), dtype as FloatDType);
    case "i32":
      return wrap(apply("to_i32", value), dtype);
    case "u32":
      return apply("to_u32", value);
    case "bool":
      return apply("to_bool", value);
  }
}

/** What is left of an i32 when it is stored in an integer dtype: the low bits. */
export function wrap(value: Expr, dtype: DType): Expr {
  /** What is shifted by so many bits. */
  const shifted = (expr: Expr | undefined, op: ScalarOp, bits: number): Expr | undefined => {
    if (expr?.kind !== "apply" || expr.op !== op) return undefined;
    const [operand, distance] = expr.args;
    return distance?.kind === "literal" && distance.value === bits ? operand : undefined;
  };
  const cut = (bits: number): Expr => {
    if (shifted(shifted(value, "shr", bits), "shl", bits)) return value;
    return apply("shr", apply("shl", value, integer(bits)), integer(bits));
  };
  switch (dtype) {
    case "u8":
      return apply("and", value, integer(255));
    case "i8":
      return cut(24);
    case "i16":
      return cut(16);
    default:
      return value;
  }
}

/** Calls `visit` on the expression and everything inside it, outermost first. */
export function visitExpr(expr: Expr, visit: (expr: Expr) => void): void {
  visit(expr);
  if (expr.kind === "apply") for (const arg of expr.args) visitExpr(arg, visit);
  else if (expr.kind === "load") for (const index of expr.index) visitExpr(index, visit);
  else if (expr.kind === "round") visitExpr(expr.value, visit);
}

/** Rebuilds an expression, replacing each part for which `replace` gives another one. */
export function mapExpr(expr: Expr, replace: (expr: Expr) => Expr | undefined): Expr {
  const replaced = replace(expr);
  if (replaced) return replaced;
  switch (expr.kind) {
    case "apply":
      return { ...expr, args: expr.args.map((arg) => mapExpr(arg, replace)) };
    case "load":
      return { ...expr, index: expr.index.map((index) => mapExpr(index, replace)) };
    case "round":
      return { ...expr, value: mapExpr(expr.value, replace) };
    default:
      return expr;
  }
}
