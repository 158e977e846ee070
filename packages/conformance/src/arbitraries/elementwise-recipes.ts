/**
 * Elementwise ops in random graphs. In: a draw. Out: a value with its accuracy. Arguments of functions are kept where the
 * function is tame, so that an error stays small.
 */
import type { Dim, DType, Tensor } from "@millrace/graph";
import {
  abs,
  add,
  bitAnd,
  bitOr,
  bitXor,
  bitcast,
  ceil,
  convert,
  cos,
  dimsEqual,
  div,
  eq,
  exp,
  floor,
  ge,
  isFloat,
  log,
  lt,
  maxDim,
  maximum,
  minimum,
  mul,
  ne,
  neg,
  not,
  rem,
  round,
  select,
  shapeSize,
  shiftLeft,
  shiftRight,
  sigmoid,
  sign,
  silu,
  sin,
  sqrt,
  sub,
  tanh,
} from "@millrace/graph";
import type { Draw, Recipe, Tracked } from "./tracked.ts";
import {
  functionError,
  hasDType,
  isBounded,
  isExact,
  isFloatValue,
  largestValue,
  roundoff,
  tracked,
} from "./tracked.ts";

const isNumeric = ({ tensor }: Tracked): boolean => tensor.dtype !== "bool";
const isInteger = hasDType("i32", "u32");

/** Passes values through up to their sign. */
const keepsMagnitude =
  (op: (x: Tensor) => Tensor): Recipe =>
  (draw) => {
    const x = draw.value(isNumeric);
    return x && tracked(op(x.tensor), x.magnitude, x.error);
  };

const jumps =
  (op: (x: Tensor) => Tensor): Recipe =>
  (draw) => {
    const x = draw.value(isFloatValue, isExact);
    return x && tracked(op(x.tensor), x.magnitude + 1);
  };

/** A function whose slope is at most `slope` and whose values are at most `bound` for arguments up to `limit`. */
const smooth =
  (op: (x: Tensor) => Tensor, limit: number, slope: number, bound: number): Recipe =>
  (draw) => {
    const x = draw.value(isFloatValue, isBounded(limit));
    if (!x) return undefined;
    return tracked(op(x.tensor), bound, slope * x.error + functionError * bound);
  };

/** Shape of both sides broadcast together, if they do and the result is small. */
export function commonShape(a: Tensor, b: Tensor): readonly Dim[] | undefined {
  const [long, short] = a.shape.length >= b.shape.length ? [a, b] : [b, a];
  const skipped = long.shape.length - short.shape.length;
  const shape: Dim[] = [];
  for (const [axis, dim] of long.shape.entries()) {
    const other = short.shape[axis - skipped] ?? 1;
    if (dim !== 1 && other !== 1 && !dimsEqual(dim, other)) return undefined;
    shape.push(dim === 1 ? other : dim);
  }
  return maxDim(shapeSize(shape)) <= largestValue ? shape : undefined;
}

const floatNumbers = [0, 1, -1, 0.5, -2.5, 3, -0];
const integerNumbers = [0, 1, 3, 7, 31];

interface Pair {
  readonly x: Tracked;
  readonly y: Tensor | number;
  readonly other: { readonly magnitude: number; readonly error: number };
}

/** Two operands of one dtype that broadcast; the second may be a number. */
function pair(
  draw: Draw,
  ...properties: readonly ((value: Tracked) => boolean)[]
): Pair | undefined {
  const x = draw.value(...properties);
  if (!x) return undefined;
  const fits = (y: Tracked): boolean =>
    y.tensor.dtype === x.tensor.dtype && commonShape(x.tensor, y.tensor) !== undefined;
  const y = draw.below(4) > 0 ? draw.value(fits, ...properties) : undefined;
  if (y) return { x, y: y.tensor, other: y };
  const value = draw.of(isFloat(x.tensor.dtype) ? floatNumbers : integerNumbers);
  return { x, y: value, other: { magnitude: Math.abs(value), error: 0 } };
}

type Binary = (x: Tensor, y: Tensor | number) => Tensor;

const additive =
  (op: Binary): Recipe =>
  (draw) => {
    const operands = pair(draw, isNumeric);
    if (!operands) return undefined;
    const { x, y, other } = operands;
    return tracked(op(x.tensor, y), x.magnitude + other.magnitude, x.error + other.error);
  };

const product: Recipe = (draw) => {
  const operands = pair(draw, isNumeric);
  if (!operands) return undefined;
  const { x, y, other } = operands;
  const error =
    x.error + other.error === 0
      ? 0
      : x.error * (other.magnitude + other.error) + other.error * x.magnitude;
  return tracked(mul(x.tensor, y), x.magnitude * other.magnitude, error);
};

/** Division by something away from zero, unless both sides are exact. */
const quotient: Recipe = (draw) => {
  const operands = pair(draw, isNumeric);
  if (!operands) return undefined;
  const { x, y, other } = operands;
  if (x.error + other.error === 0) return tracked(div(x.tensor, y), Infinity);
  if (typeof y === "number") return undefined;
  const divisor = add(abs(y), 1);
  const size = 1 + other.magnitude;
  const error = x.error + (other.error + 2 * roundoff * size) * x.magnitude;
  return tracked(div(x.tensor, divisor), x.magnitude, error);
};

const extreme =
  (op: Binary): Recipe =>
  (draw) => {
    const operands = pair(draw, isNumeric);
    if (!operands) return undefined;
    const { x, y, other } = operands;
    const error = Math.max(x.error, other.error);
    return tracked(op(x.tensor, y), Math.max(x.magnitude, other.magnitude), error);
  };

const comparison =
  (op: Binary): Recipe =>
  (draw) => {
    const operands = pair(draw, isExact);
    return operands && tracked(op(operands.x.tensor, operands.y), 1);
  };

const bitwise =
  (op: Binary): Recipe =>
  (draw) => {
    const operands = pair(draw, isInteger);
    return operands && tracked(op(operands.x.tensor, operands.y), Infinity);
  };

const choice: Recipe = (draw) => {
  const condition = draw.value(hasDType("bool"));
  const fits = ({ tensor }: Tracked): boolean =>
    condition !== undefined && commonShape(condition.tensor, tensor) !== undefined;
  const x = draw.value(isNumeric, fits);
  if (!condition || !x) return undefined;
  const shape = { shape: commonShape(condition.tensor, x.tensor)! } as Tensor;
  const y = draw.value(
    hasDType(x.tensor.dtype),
    (value) => commonShape(shape, value.tensor) !== undefined,
  );
  if (!y) return undefined;
  return tracked(
    select(condition.tensor, x.tensor, y.tensor),
    Math.max(x.magnitude, y.magnitude),
    Math.max(x.error, y.error),
  );
};

const conversion: Recipe = (draw) => {
  const x = draw.value();
  const dtype: DType = draw.of(draw.dtypes);
  if (!x || dtype === x.tensor.dtype || dtype === "i64") return undefined;
  if (!isFloat(dtype) && !isExact(x)) return undefined;
  const magnitude = dtype === "bool" ? 1 : isFloat(dtype) ? x.magnitude * 1.25 : Infinity;
  return tracked(convert(x.tensor, dtype), magnitude, x.error);
};

const bits: Recipe = (draw) => {
  const x = draw.value(hasDType("f32", "u32"), isExact);
  // The bits of a NaN are not fixed, so only floats that cannot be one show theirs.
  if (!x || (x.tensor.dtype === "f32" && x.magnitude === Infinity)) return undefined;
  return tracked(bitcast(x.tensor, x.tensor.dtype === "f32" ? "u32" : "f32"), Infinity);
};

const logical: Recipe = (draw) => {
  const x = draw.value(hasDType("bool", "i32", "u32"));
  return x && tracked(not(x.tensor), x.tensor.dtype === "bool" ? 1 : Infinity);
};

const away = (x: Tensor): Tensor => add(abs(x), 0.5);

export const elementwiseRecipes: Readonly<Record<string, Recipe>> = {
  neg: keepsMagnitude(neg),
  abs: keepsMagnitude(abs),
  sign: (draw) => {
    const x = draw.value(isNumeric, isExact);
    return x && tracked(sign(x.tensor), 1);
  },
  floor: jumps(floor),
  ceil: jumps(ceil),
  round: jumps(round),
  exp: smooth(exp, 4, 64, 55),
  log: smooth((x) => log(away(x)), 1000, 2, 7),
  sin: smooth(sin, 16, 1, 1),
  cos: smooth(cos, 16, 1, 1),
  tanh: smooth(tanh, 1000, 1, 1),
  sigmoid: smooth(sigmoid, 30, 1, 1),
  silu: smooth(silu, 30, 2, 30),
  sqrt: smooth((x) => sqrt(away(x)), 1000, 1, 32),
  add: additive(add),
  sub: additive(sub),
  mul: product,
  div: quotient,
  rem: bitwise(rem),
  maximum: extreme(maximum),
  minimum: extreme(minimum),
  lt: comparison(lt),
  ge: comparison(ge),
  eq: comparison(eq),
  ne: comparison(ne),
  bitAnd: bitwise(bitAnd),
  bitOr: bitwise(bitOr),
  bitXor: bitwise(bitXor),
  shiftLeft: bitwise((x, y) => shiftLeft(x, bitAnd(asTensor(x, y), 31))),
  shiftRight: bitwise((x, y) => shiftRight(x, bitAnd(asTensor(x, y), 31))),
  not: logical,
  select: choice,
  convert: conversion,
  bitcast: bits,
};

const asTensor = (like: Tensor, y: Tensor | number): Tensor =>
  typeof y === "number" ? like.builder.scalar(y, like.dtype) : y;
