/**
 * Elementary functions and corner cases of arithmetic in WGSL. In: f32, i32 or u32. Out: what graph's `expression.ts` says, where
 * WGSL itself allows more: its `exp` may be off by a relative 2^-16, its `sin` is of no use past a few turns, its `min` loses NaN.
 * Within 2 ulp; sines and cosines of any argument, by multiplying its mantissa with the bits of 2/π that matter
 * (Payne and Hanek 1983). Others by argument reduction in the style of Cody and Waite (1980), then Taylor polynomials.
 */
import type { LibraryFunction } from "./library.ts";

const ln2High = 0.693359375;
const ln2Low = Math.LN2 - ln2High;

const number = (value: number): string => {
  const text = String(Math.fround(value));
  return `${/[.e]/.test(text) ? text : `${text}.0`}f`;
};

function factorial(n: number): number {
  return n <= 1 ? 1 : n * factorial(n - 1);
}

/** `(…(c0 * x + c1) * x + …) + cn`. */
const polynomial = (x: string, coefficients: readonly number[]): string =>
  coefficients.map(number).reduce((sum, c) => `(${sum} * ${x} + ${c})`);

/** e^r - 1 for |r| <= ln 2 / 2. */
const expm1Series = polynomial(
  "r",
  [7, 6, 5, 4, 3, 2].map((k) => 1 / factorial(k)),
);
const sineSeries = polynomial(
  "z",
  [9, 7, 5, 3].map((k) => (k % 4 === 1 ? 1 : -1) / factorial(k)),
);
const cosineSeries = polynomial(
  "z",
  [10, 8, 6, 4].map((k) => (k % 4 === 0 ? 1 : -1) / factorial(k)),
);
const atanhSeries = polynomial("z", [2 / 9, 2 / 7, 2 / 5, 2 / 3]);

/** 2/π in words of 32 bits, the first after the binary point. */
const twoOverPi = [
  0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561,
];

export const mathFunctions: readonly LibraryFunction[] = [
  {
    name: "exact",
    text: `
// The same number, by way of integers: a compiler may contract or reorder float arithmetic, but not through this.
fn exact(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(sizes[0].x));
}`,
  },
  {
    name: "from_bits",
    text: `
fn from_bits(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}`,
  },
  {
    name: "is_nan",
    text: `
fn is_nan(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}`,
  },
  {
    name: "min_f32",
    calls: ["is_nan"],
    text: `
fn min_f32(a: f32, b: f32) -> f32 {
  return select(select(min(a, b), b, is_nan(b)), a, is_nan(a));
}`,
  },
  {
    name: "max_f32",
    calls: ["is_nan"],
    text: `
fn max_f32(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}`,
  },
  {
    name: "sign_f32",
    text: `
fn sign_f32(x: f32) -> f32 {
  return select(select(x, -1.0f, x < 0.0f), 1.0f, x > 0.0f);
}`,
  },
  {
    name: "exp_f32",
    calls: ["is_nan"],
    text: `
fn exp_f32(value: f32) -> f32 {
  if (is_nan(value)) { return value; }
  let x = clamp(value, -105.0f, 89.5f);
  let n = round(x * ${number(Math.LOG2E)});
  let r = (x - n * ${number(ln2High)}) - n * ${number(ln2Low)};
  let e = ${expm1Series} * r * r + r + 1.0f;
  // 2^n in two factors, because n runs from -152 to 129.
  let exponent = i32(n);
  let half = exponent >> 1u;
  return e * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((exponent - half + 127) << 23u);
}`,
  },
  {
    name: "log_f32",
    calls: ["is_nan"],
    text: `
fn log_f32(x: f32) -> f32 {
  let value = bitcast<u32>(x);
  if (is_nan(x) || value == 0x7f800000u) { return x; }
  var special = 0xff800000u;
  if ((value & 0x7fffffffu) == 0u) { return bitcast<f32>(special); }
  special = 0x7fc00000u;
  if ((value & 0x80000000u) != 0u) { return bitcast<f32>(special); }
  // Subnormals become normal numbers by their highest bit.
  var field = bitcast<i32>(value >> 23u);
  var mantissa = value & 0x7fffffu;
  if (value < 0x800000u) {
    let scale = countLeadingZeros(value) - 8u;
    field = 1 - i32(scale);
    mantissa = (value << scale) & 0x7fffffu;
  }
  // x = 2^k (1 + m) with 1 + m from sqrt(1/2) to sqrt(2).
  let upper = mantissa >= 0x3504f3u;
  let k = f32(field - 127 + select(0, 1, upper));
  let m = bitcast<f32>(mantissa | select(0x3f800000u, 0x3f000000u, upper)) - 1.0f;
  // log(1 + m) = m - m²/2 + s (m²/2 + R(s²)), s = m / (2 + m), R the rest of the series of 2 atanh(s).
  let s = m / (m + 2.0f);
  let z = s * s;
  let half_square = m * m * 0.5f;
  let rest = s * (half_square + ${atanhSeries} * z) + k * ${number(ln2Low)};
  return k * ${number(ln2High)} - ((half_square - rest) - m);
}`,
  },
  {
    name: "tanh_f32",
    text: `
fn tanh_f32(value: f32) -> f32 {
  let magnitude = bitcast<u32>(value) & 0x7fffffffu;
  if (magnitude > 0x7f800000u) { return value; }
  // e / (e + 2) with e = exp(2|x|) - 1, which keeps small arguments exact.
  let x = 2.0f * min(bitcast<f32>(magnitude), 10.0f);
  let n = round(x * ${number(Math.LOG2E)});
  let r = (x - n * ${number(ln2High)}) - n * ${number(ln2Low)};
  let scale = bitcast<f32>((i32(n) + 127) << 23u);
  let e = (${expm1Series} * r * r + r) * scale + (scale - 1.0f);
  return bitcast<f32>(bitcast<u32>(e / (e + 2.0f)) | (bitcast<u32>(value) & 0x80000000u));
}`,
  },
  {
    name: "wide_product",
    text: `
// The low and the high word of a product.
fn wide_product(a: u32, b: u32) -> vec2<u32> {
  let al = a & 0xffffu;
  let ah = a >> 16u;
  let bl = b & 0xffffu;
  let bh = b >> 16u;
  let low = al * bl;
  let middle = ah * bl + (low >> 16u);
  let other = al * bh + (middle & 0xffffu);
  return vec2<u32>((other << 16u) | (low & 0xffffu), ah * bh + (middle >> 16u) + (other >> 16u));
}`,
  },
  {
    name: "reduce_angle",
    calls: ["wide_product"],
    text: `
const two_over_pi = array<u32, 9>(${twoOverPi.map((word) => `0x${word.toString(16)}u`).join(", ")}, 0u);
struct Angle { quadrant: u32, rest: f32 }
// x = quadrant π/2 + rest for x >= 0, the quadrant modulo 4.
fn reduce_angle(x: f32) -> Angle {
  if (x <= 0.78539816f) { return Angle(0u, x); }
  let bits = bitcast<u32>(x);
  let exponent = i32(bits >> 23u) - 127;
  let mantissa = (bits << 8u) | 0x80000000u;
  // Earlier bits of 2/π give multiples of 4 turns of the quadrant.
  let start = u32(max(exponent - 25, 0));
  let word = start >> 5u;
  let s = start & 31u;
  let w0 = two_over_pi[word];
  let w1 = two_over_pi[word + 1u];
  let w2 = two_over_pi[word + 2u];
  let w3 = two_over_pi[word + 3u];
  let t0 = select((w0 << s) | (w1 >> ((32u - s) & 31u)), w0, s == 0u);
  let t1 = select((w1 << s) | (w2 >> ((32u - s) & 31u)), w1, s == 0u);
  let t2 = select((w2 << s) | (w3 >> ((32u - s) & 31u)), w2, s == 0u);
  let p0 = wide_product(mantissa, t0);
  let p1 = wide_product(mantissa, t1);
  let p2 = wide_product(mantissa, t2);
  let low = p1.x + p2.y;
  let middle_carry = select(0u, 1u, low < p1.x);
  let part = p0.x + p1.y;
  let part_carry = select(0u, 1u, part < p0.x);
  let middle = part + middle_carry;
  let high = p0.y + part_carry + select(0u, 1u, middle < part);
  // The product is high.middle low; it has to be shifted down by 6 to 32 bits.
  let k = u32(31 - (exponent - i32(start)));
  var quadrant = 0u;
  var f1 = high;
  var f0 = middle;
  if (k < 32u) {
    quadrant = high >> k;
    f1 = (high << (32u - k)) | (middle >> k);
    f0 = (middle << (32u - k)) | (low >> k);
  }
  var negative = 0u;
  if ((f1 & 0x80000000u) != 0u) {
    quadrant += 1u;
    negative = 0x80000000u;
    f0 = ~f0 + 1u;
    f1 = ~f1 + select(0u, 1u, f0 == 0u);
  }
  if (f1 == 0u && f0 == 0u) { return Angle(quadrant & 3u, 0.0f); }
  var shift = countLeadingZeros(f1);
  if (shift == 32u) {
    f1 = f0;
    f0 = 0u;
    let more = countLeadingZeros(f1);
    f1 = f1 << more;
    shift = 32u + more;
  } else if (shift > 0u) {
    f1 = (f1 << shift) | (f0 >> (32u - shift));
  }
  // f1 2^-32 2^-shift, in two factors because the second may be small.
  let scale = bitcast<f32>((95u - shift) << 23u);
  let rest = f32(f1) * scale * 1.57079633f;
  return Angle(quadrant & 3u, bitcast<f32>(bitcast<u32>(rest) | negative));
}`,
  },
  {
    name: "circular",
    calls: ["reduce_angle"],
    text: `
// Sine of |x| + shift π/2.
fn circular(x: f32, shift: u32) -> f32 {
  let magnitude = bitcast<u32>(x) & 0x7fffffffu;
  var invalid = 0x7fc00000u;
  if (magnitude >= 0x7f800000u) { return bitcast<f32>(invalid); }
  let angle = reduce_angle(bitcast<f32>(magnitude));
  let r = angle.rest;
  let z = r * r;
  let sine = ${sineSeries} * z * r + r;
  let cosine = ${cosineSeries} * z * z + (1.0f - 0.5f * z);
  let quadrant = angle.quadrant + shift;
  let value = select(sine, cosine, (quadrant & 1u) == 1u);
  return bitcast<f32>(bitcast<u32>(value) ^ ((quadrant & 2u) << 30u));
}`,
  },
  {
    name: "sin_f32",
    calls: ["circular"],
    text: `
fn sin_f32(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(circular(x, 0u)) ^ (bitcast<u32>(x) & 0x80000000u));
}`,
  },
  {
    name: "cos_f32",
    calls: ["circular"],
    text: `
fn cos_f32(x: f32) -> f32 {
  return circular(x, 1u);
}`,
  },
  {
    name: "rem_f32",
    calls: ["is_nan"],
    text: `
// The exact remainder of truncating division: what is taken away in each step leaves no rounding.
fn rem_f32(a: f32, b: f32) -> f32 {
  var nan = 0x7fc00000u;
  let d = abs(b);
  var r = abs(a);
  if (is_nan(a) || is_nan(b) || bitcast<u32>(r) == 0x7f800000u || bitcast<u32>(d) == 0u) { return bitcast<f32>(nan); }
  if (bitcast<u32>(d) == 0x7f800000u) { return a; }
  while (r >= d) {
    var t = d;
    while (t <= r * 0.5f) { t = t * 2.0f; }
    r = r - t;
  }
  return bitcast<f32>(bitcast<u32>(r) | (bitcast<u32>(a) & 0x80000000u));
}`,
  },
  {
    name: "div_i32",
    text: `
fn div_i32(a: i32, b: i32) -> i32 {
  return select(a / b, 0, b == 0);
}`,
  },
  {
    name: "rem_i32",
    text: `
fn rem_i32(a: i32, b: i32) -> i32 {
  return select(a % b, 0, b == 0);
}`,
  },
  {
    name: "div_u32",
    text: `
fn div_u32(a: u32, b: u32) -> u32 {
  return select(a / b, 0u, b == 0u);
}`,
  },
  {
    name: "rem_u32",
    text: `
fn rem_u32(a: u32, b: u32) -> u32 {
  return select(a % b, 0u, b == 0u);
}`,
  },
  {
    name: "saturate_i32",
    calls: ["is_nan"],
    text: `
fn saturate_i32(x: f32) -> i32 {
  if (is_nan(x)) { return 0; }
  if (x >= 2147483648.0f) { return 2147483647; }
  if (x <= -2147483648.0f) { return i32(-2147483648); }
  return i32(x);
}`,
  },
  {
    name: "saturate_u32",
    calls: ["is_nan"],
    text: `
fn saturate_u32(x: f32) -> u32 {
  if (is_nan(x) || x <= 0.0f) { return 0u; }
  if (x >= 4294967296.0f) { return 4294967295u; }
  return u32(x);
}`,
  },
];
