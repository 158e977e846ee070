/**
 * Random numbers that are a function of a key and a position: Threefry-2x32 with 20 rounds (Salmon and others, "Parallel
 * random numbers: as easy as 1, 2, 3", 2011). In: a key, u32 [2]. Out: the same bits on every backend with any number of
 * threads. The caller keeps keys apart; there is no hidden state.
 */
import type { FloatDType } from "../../dtype.ts";
import { ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { apply, literal } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import type { Shape } from "../../shape.ts";
import { formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { add, convert, cos, log, mul, shiftRight, sqrt } from "./elementwise.ts";
import { reshape, slice } from "./movement.ts";

const rotations: readonly (readonly number[])[] = [
  [13, 15, 26, 6],
  [17, 29, 16, 24],
];
const parity = 0x1bd11bda;

/** The hash of counter (c0, c1) under the key, as two unsigned 32-bit numbers. */
export function threefry2x32(
  key0: number,
  key1: number,
  c0: number,
  c1: number,
): readonly [number, number] {
  const keys = [key0 >>> 0, key1 >>> 0, (parity ^ key0 ^ key1) >>> 0];
  let x0 = (c0 + keys[0]!) >>> 0;
  let x1 = (c1 + keys[1]!) >>> 0;
  for (let group = 1; group <= 5; group++) {
    for (const r of rotations[(group - 1) % 2]!) {
      x0 = (x0 + x1) >>> 0;
      x1 = ((x1 << r) | (x1 >>> (32 - r))) >>> 0;
      x1 = (x1 ^ x0) >>> 0;
    }
    x0 = (x0 + keys[group % 3]!) >>> 0;
    x1 = (x1 + keys[(group + 1) % 3]! + group) >>> 0;
  }
  return [x0, x1];
}

/**
 * The same as u32 expressions, for lowering. Every step uses its predecessor more than once, so `bind` must name the value it
 * is given (a `let`) and return that name: written out as one expression it would be of astronomic size.
 */
export function threefryExpr(
  key0: Expr,
  key1: Expr,
  c0: Expr,
  c1: Expr,
  bind: (value: Expr) => Expr,
): readonly [Expr, Expr] {
  const u32 = (value: number): Expr => literal(value, "u32");
  const keys = [key0, key1, bind(apply("xor", u32(parity), apply("xor", key0, key1)))];
  let x0 = bind(apply("add", c0, key0));
  let x1 = bind(apply("add", c1, key1));
  for (let group = 1; group <= 5; group++) {
    for (const r of rotations[(group - 1) % 2]!) {
      x0 = bind(apply("add", x0, x1));
      const rotated = apply("or", apply("shl", x1, u32(r)), apply("shr", x1, u32(32 - r)));
      x1 = bind(apply("xor", rotated, x0));
    }
    x0 = bind(apply("add", x0, keys[group % 3]!));
    x1 = bind(apply("add", x1, apply("add", keys[(group + 1) % 3]!, u32(group))));
  }
  return [x0, x1];
}

/** Element i, counted row-major, is x0 xor x1 for (x0, x1) the hash of counter (0, i). */
export const randomBitsOp: OpDefinition<{ shape: Shape }> = defineOp({
  name: "random_bits",
  infer: (inputs, { shape }) => {
    expectInputs(inputs, 1);
    const key = inputs[0]!;
    expectDType(key, ["u32"], "the key");
    if (key.shape.length !== 1 || key.shape[0] !== 2)
      throw new ShapeError({ what: `the key is ${formatType(key)}`, hint: "A key is u32[2]." });
    return [{ dtype: "u32", shape }];
  },
  vjp: "none",
  body: { class: "primitive", primitive: "random_bits" },
});

/** Random u32 numbers of `shape`, fixed by `key` (u32 [2]). */
export function randomBits(key: Tensor, shape: Shape): Tensor {
  return applyOne(randomBitsOp, [key], { shape });
}

/** The upper 24 bits as a number from 0 to below 1, exact in f32. */
const toUnit = (bits: Tensor): Tensor => mul(convert(shiftRight(bits, 8), "f32"), 2 ** -24);

/** Evenly spread numbers from `low` to below `high`, in f32; their rounding may reach `high`. */
export function randomUniform(key: Tensor, shape: Shape, low = 0, high = 1): Tensor {
  return add(mul(toUnit(randomBits(key, shape)), high - low), low);
}

/** Normally distributed numbers by Box and Muller's transform, computed in f32. */
export function randomNormal(
  key: Tensor,
  shape: Shape,
  mean = 0,
  std = 1,
  dtype: FloatDType = "f32",
): Tensor {
  const bits = randomBits(key, [2, ...shape]);
  const part = (i: number): Tensor => reshape(slice(bits, 0, i, 1), shape);
  // From above 0 to 1, so that the logarithm is finite.
  const radius = sqrt(mul(log(add(toUnit(part(0)), 2 ** -24)), -2));
  const angle = mul(toUnit(part(1)), 2 * Math.PI);
  return convert(add(mul(mul(radius, cos(angle)), std), mean), dtype);
}
