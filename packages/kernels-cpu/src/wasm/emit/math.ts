/**
 * Elementary functions on four f32 lanes. In: a register. Out: a register, within 2 ulp (tanh 2.5; sine and cosine
 * 2 or 1e-7, for arguments up to 2^30). All are straight-line code from +, ×, ÷ without fused operations, so results are
 * the same on every machine and in every lane. Scalars go through the same functions, in lane 0.
 * Method: argument reduction in the style of Cody and Waite (1980), then polynomials: Taylor's, or for exp the one of least error;
 * their remainders on the reduced ranges are below a tenth of an ulp.
 */
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { Library, LibraryFunction } from "./library.ts";
import { unaryVector } from "./library.ts";

const LN2_HIGH = 0.693359375;
const LN2_LOW = Math.LN2 - LN2_HIGH;

/** `acc * x + c` for each coefficient, highest power first; leaves the value on the stack. */
function polynomial(
  f: FunctionBuilder,
  lib: Library,
  x: Local,
  coefficients: readonly number[],
): void {
  coefficients.forEach((c, i) => {
    if (i > 0) {
      f.get(x);
      f.op("f32x4.mul");
    }
    lib.f32x4(f, c);
    if (i > 0) f.op("f32x4.add");
  });
}

function polynomial64(f: FunctionBuilder, x: Local, coefficients: readonly number[]): void {
  coefficients.forEach((c, i) => {
    if (i > 0) {
      f.get(x);
      f.op("f64x2.mul");
    }
    f.f64x2(c);
    if (i > 0) f.op("f64x2.add");
  });
}

function factorial(n: number): number {
  return n <= 1 ? 1 : n * factorial(n - 1);
}

/** Sets `n` (integers as floats) and `r` with x = n ln 2 + r, |r| <= ln 2 / 2. */
function reduceByLn2(f: FunctionBuilder, lib: Library, x: Local): { n: Local; r: Local } {
  f.get(x);
  lib.f32x4(f, Math.LOG2E);
  f.op("f32x4.mul", "f32x4.nearest");
  const n = f.save("v128");
  return { n, r: reduceBy(f, lib, x, n) };
}

/** x - n ln 2, with ln 2 in two parts: n times the first is exact. */
function reduceBy(f: FunctionBuilder, lib: Library, x: Local, n: Local): Local {
  f.get(x);
  f.get(n);
  lib.f32x4(f, LN2_HIGH);
  f.op("f32x4.mul", "f32x4.sub");
  f.get(n);
  lib.f32x4(f, LN2_LOW);
  f.op("f32x4.mul", "f32x4.sub");
  return f.save("v128");
}

/** Of (e^r - 1 - r) / r² for |r| <= ln 2 / 2, lowest power first: the largest error of e^r is a twentieth of an ulp. */
const EXP_COEFFICIENTS = [
  0.4999999403953552, 0.1666652113199234, 0.04166826605796814, 0.008368673734366894,
  0.0013820633757859468,
] as const;

/**
 * Leaves e^r - 1 for |r| <= ln 2 / 2: r + r² (1/2 + r/6 + …), in pairs of terms (Estrin): a loop of these waits for the longest chain of
 * operations that need each other.
 */
function expm1Polynomial(f: FunctionBuilder, lib: Library, r: Local): void {
  const [c0, c1, c2, c3, c4] = EXP_COEFFICIENTS;
  const square = f.local("v128");
  f.get(r);
  f.get(r);
  f.op("f32x4.mul");
  f.set(square);
  // (c4 r² + (c2 + c3 r)) r² + (c0 + c1 r)
  f.get(square);
  lib.f32x4(f, c4);
  f.op("f32x4.mul");
  for (const [constant, slope] of [
    [c2, c3],
    [c0, c1],
  ] as const) {
    f.get(r);
    lib.f32x4(f, slope);
    f.op("f32x4.mul");
    lib.f32x4(f, constant);
    f.op("f32x4.add", "f32x4.add");
    f.get(square);
    f.op("f32x4.mul");
  }
  f.get(r);
  f.op("f32x4.add");
}

/** Turns an integer register on the stack into the float 2^n, for -126 <= n <= 127. */
function powerOfTwo(f: FunctionBuilder): void {
  f.i32x4(127);
  f.op("i32x4.add");
  f.i32(23);
  f.op("i32x4.shl");
}

// 1.5 × 2^23: a float this large has a unit of 1, so adding it rounds to an integer n, which is left in the low bits; with 126 more
// these are the exponent of 2^(n-1).
const ROUNDING = 12582912 + 126;

/** e^x. Results below 1.68e-38, a little above the smallest normal number, are 0; NaN stays NaN. */
export const exp: LibraryFunction = {
  name: "exp",
  signature: unaryVector,
  body(f, lib) {
    // Beyond these n is -126 and 128: 2^(n-1) is then 0, and twice the result infinite. Of NaN and a number, both leave NaN.
    f.get(f.param(0));
    lib.f32x4(f, -87.3);
    f.op("f32x4.pmax");
    lib.f32x4(f, 88.9);
    f.op("f32x4.pmin");
    const x = f.save("v128");
    f.get(x);
    lib.f32x4(f, Math.LOG2E);
    f.op("f32x4.mul");
    lib.f32x4(f, ROUNDING);
    f.op("f32x4.add");
    const rounded = f.save("v128");
    f.get(rounded);
    lib.f32x4(f, ROUNDING);
    f.op("f32x4.sub");
    const r = reduceBy(f, lib, x, f.save("v128"));
    expm1Polynomial(f, lib, r);
    lib.f32x4(f, 1);
    f.op("f32x4.add");
    f.get(rounded);
    f.i32(23);
    f.op("i32x4.shl", "f32x4.mul");
    const half = f.save("v128");
    f.get(half);
    f.get(half);
    f.op("f32x4.add");
  },
};

/** Natural logarithm: -infinity at 0, NaN below. */
export const log: LibraryFunction = {
  name: "log",
  signature: unaryVector,
  body(f, lib) {
    const x = f.param(0);
    // Subnormals are scaled up by 2^23, and 23 is taken from the exponent.
    f.get(x);
    lib.f32x4(f, 2 ** -126);
    f.op("f32x4.lt");
    const small = f.save("v128");
    f.get(x);
    lib.f32x4(f, 2 ** 23);
    f.op("f32x4.mul");
    f.get(x);
    f.get(small);
    f.op("v128.bitselect");
    const scaled = f.save("v128");
    // x = 2^k m with m in [sqrt(1/2), sqrt(2)): shift the bits so that the boundary falls on sqrt(1/2).
    const offset = 0x3f3504f3;
    f.get(scaled);
    f.i32x4(offset);
    f.op("i32x4.sub");
    const bits = f.save("v128");
    f.get(bits);
    f.i32(23);
    f.op("i32x4.shr_s");
    f.get(small);
    f.i32x4(-23);
    f.op("v128.and", "i32x4.add", "f32x4.convert_i32x4_s");
    const k = f.save("v128");
    f.get(bits);
    f.i32x4(0x007fffff);
    f.op("v128.and");
    f.i32x4(offset);
    f.op("i32x4.add");
    lib.f32x4(f, 1);
    f.op("f32x4.sub");
    const m = f.save("v128");
    // log(1 + m) = m - m²/2 + s (m²/2 + R(s²)), s = m / (2 + m), R the rest of the series of 2 atanh(s).
    f.get(m);
    f.get(m);
    lib.f32x4(f, 2);
    f.op("f32x4.add", "f32x4.div");
    const s = f.save("v128");
    f.get(s);
    f.get(s);
    f.op("f32x4.mul");
    const z = f.save("v128");
    f.get(m);
    f.get(m);
    f.op("f32x4.mul");
    lib.f32x4(f, 0.5);
    f.op("f32x4.mul");
    const halfSquare = f.save("v128");
    f.get(k);
    lib.f32x4(f, LN2_HIGH);
    f.op("f32x4.mul");
    f.get(halfSquare);
    f.get(s);
    f.get(halfSquare);
    polynomial(f, lib, z, [2 / 9, 2 / 7, 2 / 5, 2 / 3]);
    f.get(z);
    f.op("f32x4.mul", "f32x4.add", "f32x4.mul");
    f.get(k);
    lib.f32x4(f, LN2_LOW);
    f.op("f32x4.mul", "f32x4.add", "f32x4.sub");
    f.get(m);
    f.op("f32x4.sub", "f32x4.sub");
    // 0, infinity, negative numbers and NaN.
    lib.f32x4(f, -Infinity);
    f.get(x);
    lib.f32x4(f, 0);
    f.op("f32x4.ne", "v128.bitselect");
    const finite = f.save("v128");
    f.get(finite);
    f.get(x);
    f.get(x);
    lib.f32x4(f, Infinity);
    f.op("f32x4.lt", "v128.bitselect");
    lib.f32x4(f, NaN);
    f.get(x);
    lib.f32x4(f, 0);
    f.op("f32x4.lt", "v128.not", "v128.bitselect");
  },
};

/** Hyperbolic tangent, as e / (e + 2) with e = exp(2|x|) - 1, which keeps small arguments exact. */
export const tanh: LibraryFunction = {
  name: "tanh",
  signature: unaryVector,
  body(f, lib) {
    const x = f.param(0);
    f.get(x);
    f.op("f32x4.abs");
    lib.f32x4(f, 10);
    f.op("f32x4.pmin");
    lib.f32x4(f, 2);
    f.op("f32x4.mul");
    const twice = f.save("v128");
    const { n, r } = reduceByLn2(f, lib, twice);
    f.get(n);
    f.op("i32x4.trunc_sat_f32x4_s");
    powerOfTwo(f);
    const scale = f.save("v128");
    expm1Polynomial(f, lib, r);
    f.get(scale);
    f.op("f32x4.mul");
    f.get(scale);
    lib.f32x4(f, 1);
    f.op("f32x4.sub", "f32x4.add");
    const e = f.save("v128");
    f.get(e);
    f.get(e);
    lib.f32x4(f, 2);
    f.op("f32x4.add", "f32x4.div");
    f.get(x);
    lib.f32x4(f, -0);
    f.op("v128.and", "v128.or");
  },
};

// π/2 in three parts of 22, 22 and 53 bits: n times one of the first two is exact in a double for n < 2^31.
const PI_HALF_1 = Math.floor((Math.PI / 2) * 2 ** 21) / 2 ** 21;
const PI_HALF_2 = Math.floor((Math.PI / 2 - PI_HALF_1) * 2 ** 43) / 2 ** 43;
// What the double π/2 itself lacks of π/2.
const PI_HALF_ERROR = 6.123233995736766e-17;
const PI_HALF_3 = Math.PI / 2 - PI_HALF_1 - PI_HALF_2 + PI_HALF_ERROR;

/** Sine and cosine of two lanes in doubles: quadrant as integers, then both values as floats, in lanes 0 and 1. */
function sineAndCosine(
  f: FunctionBuilder,
  x: Local,
): { quadrant: Local; sine: Local; cosine: Local } {
  f.get(x);
  f.f64x2(2 / Math.PI);
  f.op("f64x2.mul", "f64x2.nearest");
  const n = f.save("v128");
  f.get(x);
  for (const part of [PI_HALF_1, PI_HALF_2, PI_HALF_3]) {
    f.get(n);
    f.f64x2(part);
    f.op("f64x2.mul", "f64x2.sub");
  }
  const r = f.save("v128");
  f.get(r);
  f.get(r);
  f.op("f64x2.mul");
  const z = f.save("v128");
  const signed = (k: number, sign: number): number => sign / factorial(k);
  f.get(r);
  polynomial64(f, z, [signed(11, -1), signed(9, 1), signed(7, -1), signed(5, 1), signed(3, -1), 1]);
  f.op("f64x2.mul", "f32x4.demote_f64x2_zero");
  const sine = f.save("v128");
  polynomial64(f, z, [
    signed(12, 1),
    signed(10, -1),
    signed(8, 1),
    signed(6, -1),
    signed(4, 1),
    signed(2, -1),
    1,
  ]);
  f.op("f32x4.demote_f64x2_zero");
  const cosine = f.save("v128");
  f.get(n);
  f.op("i32x4.trunc_sat_f64x2_s_zero");
  return { quadrant: f.save("v128"), sine, cosine };
}

/** sin(x + shift π/2). */
function circular(shift: 0 | 1): LibraryFunction {
  return {
    name: shift === 0 ? "sin" : "cos",
    signature: unaryVector,
    body(f, lib) {
      f.get(f.param(0));
      f.op("f64x2.promote_low_f32x4");
      const low = sineAndCosine(f, f.save("v128"));
      f.get(f.param(0));
      f.get(f.param(0));
      f.shuffle32(2, 3, 2, 3);
      f.op("f64x2.promote_low_f32x4");
      const high = sineAndCosine(f, f.save("v128"));
      const both = (a: Local, b: Local): Local => {
        f.get(a);
        f.get(b);
        f.shuffle32(0, 1, 4, 5);
        return f.save("v128");
      };
      const sine = both(low.sine, high.sine);
      const cosine = both(low.cosine, high.cosine);
      const quadrant = both(low.quadrant, high.quadrant);
      if (shift === 1) {
        f.get(quadrant);
        f.i32x4(1);
        f.op("i32x4.add");
        f.set(quadrant);
      }
      // An odd quadrant takes the other function; quadrants 2 and 3 change the sign.
      f.get(cosine);
      f.get(sine);
      f.get(quadrant);
      f.i32x4(1);
      f.op("v128.and");
      f.i32x4(1);
      f.op("i32x4.eq", "v128.bitselect");
      f.get(quadrant);
      f.i32(30);
      f.op("i32x4.shl");
      f.i32x4(0x80000000);
      f.op("v128.and", "v128.xor");
      // Past 2^30 the reduction loses its meaning; keep the range at least. NaN passes.
      lib.f32x4(f, -1);
      f.op("f32x4.pmax");
      lib.f32x4(f, 1);
      f.op("f32x4.pmin");
    },
  };
}

/** Sine. */
export const sin: LibraryFunction = circular(0);
/** Cosine. */
export const cos: LibraryFunction = circular(1);
