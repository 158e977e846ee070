/**
 * Elementwise ops: one element out of the elements at the same index. In: tensors of one shape (functions broadcast their
 * arguments first, numbers too). Out: one tensor. A custom elementwise op looks exactly like these.
 */
import type { DType } from "../../dtype.ts";
import { isFloat, isInteger } from "../../dtype.ts";
import { DTypeError } from "../../errors.ts";
import type { BinaryOp, CompareOp, Expr, UnaryOp } from "../../expression.ts";
import { apply, convertTo, literal, scalarType, select as selectExpr } from "../../expression.ts";
import type { OpDefinition, VjpContext } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { builderOf } from "../builder.ts";
import { applyOne, defineOp, expectInputs, expectSameShape } from "../define-op.ts";
import { broadcastTogether } from "./broadcast.ts";

/** A tensor, or a number that takes the dtype of the others. */
export type Operand = Tensor | number;

type Vjp = (context: VjpContext<Record<string, never>>) => readonly (Tensor | undefined)[];

/** An op without attributes. */
export type PlainOp = OpDefinition<Record<string, never>>;
type Unary = (x: Tensor) => Tensor;
type Binary = (x: Operand, y: Operand) => Tensor;

const noAttrs = {};

function sameTypes(inputs: readonly TensorType[], allowed: (dtype: DType) => boolean): TensorType {
  const first = inputs[0]!;
  for (const type of inputs) {
    expectSameShape(first, type);
    if (type.dtype !== first.dtype || !allowed(type.dtype))
      throw new DTypeError({
        what: `does not take ${inputs.map(formatType).join(" and ")}`,
        hint: "Convert the operands to one dtype that the op takes, with convert(x, dtype).",
      });
  }
  return first;
}

const numeric = (dtype: DType): boolean => isFloat(dtype) || isInteger(dtype);
const logical = (dtype: DType): boolean => dtype === "bool" || isInteger(dtype);

function unaryOp(
  name: UnaryOp,
  vjp: Vjp | "none",
  allowed: (dtype: DType) => boolean = isFloat,
): PlainOp {
  return defineOp({
    name,
    infer: (inputs) => {
      expectInputs(inputs, 1);
      return [sameTypes(inputs, allowed)];
    },
    vjp,
    body: { class: "elementwise", scalar: ([x]) => apply(name, x!) },
  });
}

function binaryOp(
  name: BinaryOp,
  vjp: Vjp | "none",
  allowed: (dtype: DType) => boolean = numeric,
): PlainOp {
  return defineOp({
    name,
    infer: (inputs) => {
      expectInputs(inputs, 2);
      return [sameTypes(inputs, allowed)];
    },
    vjp,
    body: { class: "elementwise", scalar: ([x, y]) => apply(name, x!, y!) },
  });
}

function compareOp(name: CompareOp): PlainOp {
  return defineOp({
    name,
    infer: (inputs) => {
      expectInputs(inputs, 2);
      return [{ dtype: "bool", shape: sameTypes(inputs, () => true).shape }];
    },
    vjp: "none",
    body: { class: "elementwise", scalar: ([x, y]) => apply(name, x!, y!) },
  });
}

const unary =
  (op: PlainOp): Unary =>
  (x) =>
    applyOne(op, [x], noAttrs);

/** Broadcasts both sides to one shape; a number becomes a constant of the other's dtype. */
const binary =
  (op: PlainOp): Binary =>
  (x, y) =>
    applyOne(op, broadcastTogether(asTensors([x, y])), noAttrs);

function asTensors(operands: readonly Operand[]): readonly Tensor[] {
  const builder = builderOf(...operands);
  const tensor = operands.find((operand) => typeof operand !== "number") as Tensor;
  return operands.map((operand) =>
    typeof operand === "number" ? builder.scalar(operand, tensor.dtype) : operand,
  );
}

// Arithmetic. `ct` is the cotangent of the result.

export const addOp: PlainOp = binaryOp("add", ({ cotangents: [ct] }) => [ct, ct]);
export const subOp: PlainOp = binaryOp("sub", ({ cotangents: [ct] }) => [ct, ct && neg(ct)]);
export const mulOp: PlainOp = binaryOp("mul", ({ inputs: [x, y], cotangents: [ct] }) => [
  ct && mul(ct, y!),
  ct && mul(ct, x!),
]);
export const divOp: PlainOp = binaryOp(
  "div",
  ({ inputs: [, y], outputs: [z], cotangents: [ct] }) => [
    ct && div(ct, y!),
    ct && neg(div(mul(ct, z!), y!)),
  ],
);
export const remOp: PlainOp = binaryOp("rem", "none", isInteger);
/** At a tie the whole cotangent goes to the first operand. */
export const maxOp: PlainOp = binaryOp("max", ({ inputs: [x, y], cotangents: [ct] }) => [
  ct && select(ge(x!, y!), ct, 0),
  ct && select(ge(x!, y!), 0, ct),
]);
export const minOp: PlainOp = binaryOp("min", ({ inputs: [x, y], cotangents: [ct] }) => [
  ct && select(le(x!, y!), ct, 0),
  ct && select(le(x!, y!), 0, ct),
]);
export const andOp: PlainOp = binaryOp("and", "none", logical);
export const orOp: PlainOp = binaryOp("or", "none", logical);
export const xorOp: PlainOp = binaryOp("xor", "none", logical);
export const shlOp: PlainOp = binaryOp("shl", "none", isInteger);
export const shrOp: PlainOp = binaryOp("shr", "none", isInteger);

export const negOp: PlainOp = unaryOp("neg", ({ cotangents: [ct] }) => [ct && neg(ct)], numeric);
export const absOp: PlainOp = unaryOp(
  "abs",
  ({ inputs: [x], cotangents: [ct] }) => [ct && mul(ct, sign(x!))],
  numeric,
);
export const expOp: PlainOp = unaryOp("exp", ({ outputs: [y], cotangents: [ct] }) => [
  ct && mul(ct, y!),
]);
export const logOp: PlainOp = unaryOp("log", ({ inputs: [x], cotangents: [ct] }) => [
  ct && div(ct, x!),
]);
export const sinOp: PlainOp = unaryOp("sin", ({ inputs: [x], cotangents: [ct] }) => [
  ct && mul(ct, cos(x!)),
]);
export const cosOp: PlainOp = unaryOp("cos", ({ inputs: [x], cotangents: [ct] }) => [
  ct && neg(mul(ct, sin(x!))),
]);
export const tanhOp: PlainOp = unaryOp("tanh", ({ outputs: [y], cotangents: [ct] }) => [
  ct && mul(ct, sub(1, mul(y!, y!))),
]);
export const sqrtOp: PlainOp = unaryOp("sqrt", ({ outputs: [y], cotangents: [ct] }) => [
  ct && div(mul(ct, 0.5), y!),
]);
/** Piecewise constant: the cotangent is zero, that is, none. */
export const signOp: PlainOp = unaryOp("sign", "none", numeric);
export const floorOp: PlainOp = unaryOp("floor", "none");
export const ceilOp: PlainOp = unaryOp("ceil", "none");
/** To the nearest integer, ties to even. */
export const roundOp: PlainOp = unaryOp("round", "none");
export const notOp: PlainOp = unaryOp("not", "none", logical);

export const eqOp: PlainOp = compareOp("eq");
export const neOp: PlainOp = compareOp("ne");
export const ltOp: PlainOp = compareOp("lt");
export const leOp: PlainOp = compareOp("le");
export const gtOp: PlainOp = compareOp("gt");
export const geOp: PlainOp = compareOp("ge");

export const add: Binary = binary(addOp);
export const sub: Binary = binary(subOp);
export const mul: Binary = binary(mulOp);
/** Integers truncate towards zero; by zero gives 0. */
export const div: Binary = binary(divOp);
/** Remainder of the truncating integer division. */
export const rem: Binary = binary(remOp);
export const maximum: Binary = binary(maxOp);
export const minimum: Binary = binary(minOp);
export const bitAnd: Binary = binary(andOp);
export const bitOr: Binary = binary(orOp);
export const bitXor: Binary = binary(xorOp);
export const shiftLeft: Binary = binary(shlOp);
export const shiftRight: Binary = binary(shrOp);
export const neg: Unary = unary(negOp);
export const abs: Unary = unary(absOp);
export const exp: Unary = unary(expOp);
export const log: Unary = unary(logOp);
export const sin: Unary = unary(sinOp);
export const cos: Unary = unary(cosOp);
export const tanh: Unary = unary(tanhOp);
export const sqrt: Unary = unary(sqrtOp);
export const sign: Unary = unary(signOp);
export const floor: Unary = unary(floorOp);
export const ceil: Unary = unary(ceilOp);
export const round: Unary = unary(roundOp);
export const not: Unary = unary(notOp);
export const eq: Binary = binary(eqOp);
export const ne: Binary = binary(neOp);
export const lt: Binary = binary(ltOp);
export const le: Binary = binary(leOp);
export const gt: Binary = binary(gtOp);
export const ge: Binary = binary(geOp);

/** Picks by a bool; the picked-from tensors have one dtype. */
export const selectOp: PlainOp = defineOp({
  name: "select",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const [condition, x, y] = inputs as [TensorType, TensorType, TensorType];
    expectSameShape(condition, x);
    if (condition.dtype !== "bool")
      throw new DTypeError({
        what: `the condition is ${formatType(condition)}, expected bool`,
        hint: "Compare it with something first.",
      });
    return [sameTypes([x, y], () => true)];
  },
  vjp: ({ inputs: [condition], cotangents: [ct] }) => [
    undefined,
    ct && select(condition!, ct, 0),
    ct && select(condition!, 0, ct),
  ],
  body: { class: "elementwise", scalar: ([c, x, y]) => selectExpr(c!, x!, y!) },
});

export function select(condition: Tensor, x: Operand, y: Operand): Tensor {
  const [a, b] = typeof x === "number" && typeof y === "number" ? [x, y] : asTensors([x, y]);
  const sides = [a, b].map((side) =>
    typeof side === "number" ? condition.builder.scalar(side) : side,
  );
  return applyOne(selectOp, broadcastTogether([condition, ...sides]), noAttrs);
}

/** Value conversion: floats round to nearest even, floats to integers truncate, anything to bool is `!= 0`. */
export const convertOp: OpDefinition<{ dtype: DType }> = defineOp({
  name: "convert",
  infer: (inputs, { dtype }) => {
    expectInputs(inputs, 1);
    return [{ dtype, shape: inputs[0]!.shape }];
  },
  vjp: ({ inputs: [x], cotangents: [ct] }) => [
    ct && isFloat(x!.dtype) && isFloat(ct.dtype) ? convert(ct, x!.dtype) : undefined,
  ],
  body: { class: "elementwise", scalar: ([x], { attrs }) => convertTo(x!, attrs.dtype) },
});

export function convert(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : applyOne(convertOp, [x], { dtype });
}

/** The bits of an f32 as a u32, or back. */
export const bitcastOp: OpDefinition<{ dtype: "f32" | "u32" }> = defineOp({
  name: "bitcast",
  infer: (inputs, { dtype }) => {
    expectInputs(inputs, 1);
    const from = dtype === "f32" ? "u32" : "f32";
    if (inputs[0]!.dtype !== from)
      throw new DTypeError({
        what: `to ${dtype} takes ${from}, got ${formatType(inputs[0]!)}`,
        hint: "Bitcast goes between f32 and u32 only.",
      });
    return [{ dtype, shape: inputs[0]!.shape }];
  },
  vjp: "none",
  body: {
    class: "elementwise",
    scalar: ([x], { attrs }) => apply(attrs.dtype === "f32" ? "bitcast_f32" : "bitcast_u32", x!),
  },
});

export function bitcast(x: Tensor, dtype: "f32" | "u32"): Tensor {
  return applyOne(bitcastOp, [x], { dtype });
}

/** `x * sigmoid(x)` needs one; a scalar so that it fuses. */
export const sigmoidOp: PlainOp = defineOp({
  name: "sigmoid",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    return [sameTypes(inputs, isFloat)];
  },
  vjp: ({ outputs: [y], cotangents: [ct] }) => [ct && mul(ct, mul(y!, sub(1, y!)))],
  body: { class: "elementwise", scalar: ([x]) => sigmoidExpr(x!) },
});

const sigmoidExpr = (x: Expr): Expr =>
  apply("div", literal(1), apply("add", literal(1), apply("exp", apply("neg", x))));

export const sigmoid: Unary = unary(sigmoidOp);

/** Zero of a dtype, as an expression. */
export function zeroOf(dtype: DType): Expr {
  return literal(0, scalarType(dtype));
}
