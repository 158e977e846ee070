// What every scalar operator means, value by value, against the comments of graph's expression.ts.
import type { Expr, ScalarOp, ScalarType } from "@millrace/graph";
import {
  InternalError,
  applyExpr,
  axisExpr,
  integerExpr,
  literalExpr,
  loadExpr,
  localExpr,
  roundExpr,
  selectExpr,
  size,
  sizeExpr,
} from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { wideElements } from "./elements.ts";
import type { ExprContext, FloatRules } from "./evaluate-expr.ts";
import { compileExpr, f32Rules, f64Rules, wideRules } from "./evaluate-expr.ts";

const context = (rules: FloatRules = f32Rules): ExprContext => ({
  frame: Float64Array.of(3, 7),
  slots: new Map([
    ["i", 0],
    ["j", 1],
  ]),
  buffers: new Map([["x", wideElements([2, 4], Float64Array.of(0, 1, 2, 3, 4, 5, 6, 7))]]),
  sizes: new Map([["T", 5]]),
  rules,
  where: "test",
});

const evaluate = (expr: Expr, rules?: FloatRules): number => compileExpr(expr, context(rules))();

const on = (type: ScalarType, op: ScalarOp, ...values: readonly number[]): number =>
  evaluate(applyExpr(op, ...values.map((value) => literalExpr(value, type))));

const min32 = -2147483648;
const max32 = 4294967295;

describe("integers", () => {
  test.each<[ScalarType, ScalarOp, number[], number]>([
    ["i32", "add", [2147483647, 1], min32],
    ["u32", "add", [max32, 2], 1],
    ["i32", "sub", [min32, 1], 2147483647],
    ["u32", "sub", [0, 1], max32],
    ["i32", "mul", [0x10001, 0x10001], 0x20001],
    ["u32", "mul", [0xfffffffb, 3], 0xfffffff1],
    ["i32", "div", [-7, 2], -3],
    ["i32", "div", [7, 0], 0],
    ["i32", "div", [min32, -1], min32],
    ["u32", "div", [max32, 2], 2147483647],
    ["u32", "div", [5, 0], 0],
    ["i32", "rem", [-7, 2], -1],
    ["i32", "rem", [7, 0], 0],
    ["u32", "rem", [max32, 16], 15],
    ["i32", "neg", [min32], min32],
    ["u32", "neg", [1], max32],
    ["i32", "abs", [min32], min32],
    ["i32", "sign", [-9], -1],
    ["i32", "not", [0], -1],
    ["u32", "not", [0], max32],
    ["bool", "not", [1], 0],
    ["i32", "shr", [-8, 1], -4],
    ["u32", "shr", [0xfffffff8, 1], 0x7ffffffc],
    ["u32", "shl", [1, 31], 2147483648],
    ["i32", "shl", [1, 31], min32],
    ["i32", "shl", [1, 33], 2],
    ["u32", "and", [max32, 0x80000000], 0x80000000],
    ["u32", "or", [0x80000000, 1], 0x80000001],
    ["u32", "xor", [max32, 1], 0xfffffffe],
    ["bool", "xor", [1, 1], 0],
    ["i32", "min", [-1, 1], -1],
    ["u32", "max", [max32, 1], max32],
    ["u32", "lt", [1, max32], 1],
    ["i32", "to_u32", [-1], max32],
    ["u32", "to_i32", [max32], -1],
    ["i32", "to_f32", [16777217], 16777216],
    ["u32", "to_bool", [8], 1],
    ["i32", "bitcast_u32", [-1], max32],
    ["u32", "bitcast_f32", [0x3f800000], 1],
  ])("%s %s %j is %d", (type, op, args, expected) => {
    expect(on(type, op, ...args)).toBe(expected);
  });
});

describe("floats", () => {
  test.each<[ScalarOp, number[], number]>([
    ["add", [16777216, 1], 16777216],
    ["mul", [3, Math.fround(0.1)], Math.fround(3 * Math.fround(0.1))],
    ["div", [1, 0], Infinity],
    ["div", [0, 0], NaN],
    ["min", [NaN, 1], NaN],
    ["max", [1, NaN], NaN],
    ["max", [-0, 0], 0],
    ["min", [-0, 0], -0],
    ["eq", [NaN, NaN], 0],
    ["ne", [NaN, NaN], 1],
    ["lt", [NaN, 1], 0],
    ["ge", [1, NaN], 0],
    ["round", [0.5], 0],
    ["round", [1.5], 2],
    ["round", [2.5], 2],
    ["round", [-0.5], -0],
    ["round", [-1.5], -2],
    ["round", [-2.7], -3],
    ["round", [Infinity], Infinity],
    ["floor", [-0.5], -1],
    ["ceil", [-0.5], -0],
    ["sqrt", [2], Math.fround(Math.SQRT2)],
    ["exp", [1], Math.fround(Math.E)],
    ["to_i32", [-2.9], -2],
    ["to_i32", [1e20], 2147483647],
    ["to_i32", [-Infinity], min32],
    ["to_i32", [NaN], 0],
    ["to_i32", [-0.5], 0],
    ["to_u32", [-3], 0],
    ["to_u32", [1e20], max32],
    ["to_bool", [NaN], 1],
    ["to_bool", [-0], 0],
    ["bitcast_u32", [-0], 0x80000000],
    ["neg", [0], -0],
    ["sign", [-0], -0],
  ])("%s %j is %d", (op, args, expected) => {
    expect(on("f32", op, ...args)).toBe(expected);
  });

  test("doubles stay doubles when nothing is rounded", () => {
    const third = applyExpr("div", literalExpr(1), literalExpr(3));
    expect(evaluate(third)).toBe(Math.fround(1 / 3));
    expect(evaluate(third, f64Rules)).toBe(1 / 3);
    expect(evaluate(literalExpr(0.1), f64Rules)).toBe(0.1);
    expect(evaluate(applyExpr("bitcast_u32", literalExpr(0.1)), f64Rules)).toBe(0x3dcccccd);
  });

  test("round is to the narrow format, and only where rounding is wanted", () => {
    const rounded = roundExpr(literalExpr(1.01), "bf16");
    expect(evaluate(rounded)).toBe(1.0078125);
    expect(evaluate(rounded, wideRules)).toBe(1.0078125);
    expect(evaluate(rounded, f64Rules)).toBe(1.01);
    expect(evaluate(roundExpr(literalExpr(1000), "e4m3fn"))).toBe(448);
  });
});

test("axes, locals and sizes have the values of the frame and the run", () => {
  const sum = applyExpr("add", axisExpr("i", 4), localExpr("j", "i32"));
  expect(evaluate(applyExpr("add", sum, sizeExpr(size("T", 1, 9))))).toBe(15);
  expect(() => evaluate(localExpr("k", "i32"))).toThrow(/"k" is used where it has no value/);
});

test("a load checks every axis, and select evaluates one branch only", () => {
  const at = (i: number, j: number): Expr => loadExpr("x", [integerExpr(i), integerExpr(j)], "f32");
  expect(evaluate(at(1, 2))).toBe(6);
  // Position 5 exists, but as row 1.
  expect(() => evaluate(at(0, 5))).toThrow(InternalError);
  expect(() => evaluate(at(0, 5))).toThrow(/"x" at \[0, 5\] is outside its shape \[2, 4\]/);
  expect(() => evaluate(at(-1, 0))).toThrow(/outside/);
  const guarded = (condition: number): Expr =>
    selectExpr(literalExpr(condition, "bool"), at(9, 9), at(1, 3));
  expect(evaluate(guarded(0))).toBe(7);
  expect(() => evaluate(guarded(1))).toThrow(/outside/);
});

test("an operator on a type it is not defined for is an error", () => {
  expect(() => on("f32", "and", 1, 1)).toThrow(/and is not defined on f32/);
  expect(() => on("i32", "exp", 1)).toThrow(/exp is not defined on i32/);
});
