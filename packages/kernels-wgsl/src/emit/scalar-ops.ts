/**
 * Every scalar operator as a WGSL expression, in one table. In: texts of the operands. Out: text of the result. Rounding to
 * f32 and what a compiler may do to chains of operations are the business of `expressions.ts`; constants have been folded
 * there too, so that no division by a literal zero arrives here.
 */
import type { ScalarOp, ScalarType } from "@millrace/graph";
import type { Library } from "./library.ts";

type Write = (args: readonly string[], library: Library) => string;
type Row = { readonly [type in ScalarType]?: Write };

const infix =
  (symbol: string): Write =>
  ([x, y]) =>
    `(${x} ${symbol} ${y})`;

const call =
  (name: string): Write =>
  (args) =>
    `${name}(${args.join(", ")})`;

const library =
  (name: string): Write =>
  (args, functions) =>
    `${functions.use(name)}(${args.join(", ")})`;

const same: Write = ([x]) => x!;
const cast = (type: string): Write => call(type);
const bitcast = (type: string): Write => call(`bitcast<${type}>`);
/** Bools compare and combine as 0 and 1. */
const asNumbers =
  (write: Write): Write =>
  (args, functions) =>
    write(
      args.map((arg) => `u32(${arg})`),
      functions,
    );

const numeric = (symbol: string): Row => ({
  f32: infix(symbol),
  i32: infix(symbol),
  u32: infix(symbol),
});
const compare = (symbol: string): Row => ({
  ...numeric(symbol),
  bool: symbol === "==" || symbol === "!=" ? infix(symbol) : asNumbers(infix(symbol)),
});
const shift = (symbol: string): Row => ({
  i32: ([x, y]) => `(${x} ${symbol} (bitcast<u32>(${y}) & 31u))`,
  u32: ([x, y]) => `(${x} ${symbol} (${y} & 31u))`,
});
const bitwise = (symbol: string): Row => ({
  i32: infix(symbol),
  u32: infix(symbol),
  bool: infix(symbol === "^" ? "!=" : symbol),
});

const rows: Readonly<Record<ScalarOp, Row>> = {
  neg: { f32: ([x]) => `(-${x})`, i32: ([x]) => `(-${x})`, u32: ([x]) => `(0u - ${x})` },
  abs: { f32: call("abs"), i32: call("abs"), u32: same },
  sign: {
    f32: library("sign_f32"),
    i32: call("sign"),
    u32: ([x]) => `min(${x}, 1u)`,
  },
  exp: { f32: library("exp_f32") },
  log: { f32: library("log_f32") },
  sin: { f32: library("sin_f32") },
  cos: { f32: library("cos_f32") },
  tanh: { f32: library("tanh_f32") },
  sqrt: { f32: call("sqrt") },
  floor: { f32: call("floor") },
  ceil: { f32: call("ceil") },
  round: { f32: call("round") },
  not: { bool: ([x]) => `(!${x})`, i32: ([x]) => `(~${x})`, u32: ([x]) => `(~${x})` },
  add: numeric("+"),
  sub: numeric("-"),
  mul: numeric("*"),
  div: { f32: infix("/"), i32: library("div_i32"), u32: library("div_u32") },
  rem: { f32: library("rem_f32"), i32: library("rem_i32"), u32: library("rem_u32") },
  min: { f32: library("min_f32"), i32: call("min"), u32: call("min"), bool: infix("&") },
  max: { f32: library("max_f32"), i32: call("max"), u32: call("max"), bool: infix("|") },
  and: bitwise("&"),
  or: bitwise("|"),
  xor: bitwise("^"),
  shl: shift("<<"),
  shr: shift(">>"),
  eq: compare("=="),
  // Compilers take != as false where an operand is NaN.
  ne: { ...compare("!="), f32: ([x, y]) => `(!(${x} == ${y}))` },
  lt: compare("<"),
  le: compare("<="),
  gt: compare(">"),
  ge: compare(">="),
  to_f32: { f32: same, i32: cast("f32"), u32: cast("f32"), bool: cast("f32") },
  to_i32: { f32: library("saturate_i32"), i32: same, u32: bitcast("i32"), bool: cast("i32") },
  to_u32: { f32: library("saturate_u32"), i32: bitcast("u32"), u32: same, bool: cast("u32") },
  to_bool: {
    f32: ([x]) => `(!(${x} == 0.0f))`,
    i32: ([x]) => `(${x} != 0)`,
    u32: ([x]) => `(${x} != 0u)`,
    bool: same,
  },
  bitcast_f32: { f32: same, i32: bitcast("f32"), u32: bitcast("f32") },
  bitcast_u32: { f32: bitcast("u32"), i32: bitcast("u32"), u32: same },
  select: Object.fromEntries(
    (["f32", "i32", "u32", "bool"] as const).map((type): [ScalarType, Write] => [
      type,
      ([condition, x, y]) => `select(${y}, ${x}, ${condition})`,
    ]),
  ),
};

/** The writer of `op` for operands of `type` (branches, for `select`), or undefined where it has no meaning. */
export function scalarOp(op: ScalarOp, type: ScalarType): Write | undefined {
  return rows[op][type];
}

/** Integer operators on literals, as the kernel language defines them: WGSL refuses constants that overflow. */
export function foldInteger(op: ScalarOp, x: number, y: number): number | undefined {
  switch (op) {
    case "add":
      return (x + y) | 0;
    case "sub":
      return (x - y) | 0;
    case "mul":
      return Math.imul(x, y);
    case "div":
      return (x / y) | 0;
    case "rem":
      return (x % y) | 0;
    case "min":
      return Math.min(x, y);
    case "max":
      return Math.max(x, y);
    default:
      return undefined;
  }
}
