/**
 * The meaning of every scalar operator, in one table. In: closures of the operands. Out: a closure of the result, made for
 * one register type, so that nothing is decided while it runs. `f32` rounds after every operation, `f64` never.
 * i32 values are signed, u32 values non-negative doubles; both wrap. bool is 0 or 1. Knows no buffers and no axes.
 * Source: the comments of graph's `expression.ts`; shift counts are taken modulo 32.
 */
import type { ScalarOp, ScalarType } from "@millrace/graph";

/** Computes one value from the frame it was compiled over. */
export type Evaluate = () => number;

/** A register type, with the two ways to compute floats told apart. */
export type RegisterKind = ScalarType | "f64";

type Factory = (x: Evaluate, y: Evaluate, z: Evaluate) => Evaluate;
type Row = { readonly [kind in RegisterKind]?: Factory };

const { fround } = Math;

// Scratch for reading the bits of one number; written before every read, so it carries no state.
const bitsAsFloat = /* @__PURE__ */ new Float32Array(1);
const bitsAsInteger = /* @__PURE__ */ new Uint32Array(bitsAsFloat.buffer);

/** A function of one float, rounded once for f32. */
function ofFloat(compute: (x: number) => number): Row {
  return { f32: (x) => () => fround(compute(x())), f64: (x) => () => compute(x()) };
}

/** The same closure for every register type. */
function ofAll(factory: Factory): Row {
  return { f32: factory, f64: factory, i32: factory, u32: factory, bool: factory };
}

/** Nearest integer, ties to even; keeps the sign of zero, infinities and NaN. */
export function roundHalfToEven(x: number): number {
  if (!Number.isFinite(x)) return x;
  const below = Math.floor(x);
  const rest = x - below;
  const nearest = rest < 0.5 ? below : rest > 0.5 ? below + 1 : below % 2 === 0 ? below : below + 1;
  return nearest === 0 && x < 0 ? -0 : nearest;
}

/** Truncates and saturates a float to `low`..`high`; NaN gives 0. */
function saturate(x: number, low: number, high: number): number {
  if (x !== x) return 0;
  // Adding 0 turns a negative zero into zero.
  return Math.min(Math.max(Math.trunc(x), low), high) + 0;
}

function floatBits(x: number): number {
  bitsAsFloat[0] = x;
  return bitsAsInteger[0] as number;
}

function bitsToFloat(bits: number): number {
  bitsAsInteger[0] = bits;
  return bitsAsFloat[0] as number;
}

const same: Factory = (x) => x;
const toSigned: Factory = (x) => () => x() | 0;
const toUnsigned: Factory = (x) => () => x() >>> 0;
const toBool: Factory = (x) => () => (x() === 0 ? 0 : 1);
const saturateSigned: Factory = (x) => () => saturate(x(), -2147483648, 2147483647);
const saturateUnsigned: Factory = (x) => () => saturate(x(), 0, 4294967295);
const readBits: Factory = (x) => () => floatBits(x());
const minimum: Factory = (x, y) => () => Math.min(x(), y());
const maximum: Factory = (x, y) => () => Math.max(x(), y());

/** One row per operator, one column per type of its operands (of its branches, for `select`). */
const rows: Readonly<Record<ScalarOp, Row>> = {
  neg: {
    f32: (x) => () => -x(),
    f64: (x) => () => -x(),
    i32: (x) => () => -x() | 0,
    u32: (x) => () => -x() >>> 0,
  },
  abs: {
    f32: (x) => () => Math.abs(x()),
    f64: (x) => () => Math.abs(x()),
    i32: (x) => () => Math.abs(x()) | 0,
    u32: same,
  },
  sign: {
    f32: (x) => () => Math.sign(x()),
    f64: (x) => () => Math.sign(x()),
    i32: (x) => () => Math.sign(x()),
    u32: (x) => () => Math.sign(x()),
  },
  exp: ofFloat(Math.exp),
  log: ofFloat(Math.log),
  sin: ofFloat(Math.sin),
  cos: ofFloat(Math.cos),
  tanh: ofFloat(Math.tanh),
  sqrt: ofFloat(Math.sqrt),
  floor: ofFloat(Math.floor),
  ceil: ofFloat(Math.ceil),
  round: ofFloat(roundHalfToEven),
  not: {
    bool: (x) => () => 1 - x(),
    i32: (x) => () => ~x(),
    u32: (x) => () => ~x() >>> 0,
  },
  add: {
    f32: (x, y) => () => fround(x() + y()),
    f64: (x, y) => () => x() + y(),
    i32: (x, y) => () => (x() + y()) | 0,
    u32: (x, y) => () => (x() + y()) >>> 0,
  },
  sub: {
    f32: (x, y) => () => fround(x() - y()),
    f64: (x, y) => () => x() - y(),
    i32: (x, y) => () => (x() - y()) | 0,
    u32: (x, y) => () => (x() - y()) >>> 0,
  },
  mul: {
    f32: (x, y) => () => fround(x() * y()),
    f64: (x, y) => () => x() * y(),
    i32: (x, y) => () => Math.imul(x(), y()),
    u32: (x, y) => () => Math.imul(x(), y()) >>> 0,
  },
  div: {
    f32: (x, y) => () => fround(x() / y()),
    f64: (x, y) => () => x() / y(),
    // A quotient by zero is infinite or NaN, which `| 0` turns into 0.
    i32: (x, y) => () => (x() / y()) | 0,
    u32: (x, y) => () => (x() / y()) >>> 0,
  },
  rem: {
    f32: (x, y) => () => fround(x() % y()),
    f64: (x, y) => () => x() % y(),
    i32: (x, y) => () => (x() % y()) | 0,
    u32: (x, y) => () => (x() % y()) >>> 0,
  },
  min: ofAll(minimum),
  max: ofAll(maximum),
  and: {
    bool: (x, y) => () => x() & y(),
    i32: (x, y) => () => x() & y(),
    u32: (x, y) => () => (x() & y()) >>> 0,
  },
  or: {
    bool: (x, y) => () => x() | y(),
    i32: (x, y) => () => x() | y(),
    u32: (x, y) => () => (x() | y()) >>> 0,
  },
  xor: {
    bool: (x, y) => () => x() ^ y(),
    i32: (x, y) => () => x() ^ y(),
    u32: (x, y) => () => (x() ^ y()) >>> 0,
  },
  shl: { i32: (x, y) => () => x() << y(), u32: (x, y) => () => (x() << y()) >>> 0 },
  shr: { i32: (x, y) => () => x() >> y(), u32: (x, y) => () => x() >>> y() },
  eq: ofAll((x, y) => () => (x() === y() ? 1 : 0)),
  ne: ofAll((x, y) => () => (x() === y() ? 0 : 1)),
  lt: ofAll((x, y) => () => (x() < y() ? 1 : 0)),
  le: ofAll((x, y) => () => (x() <= y() ? 1 : 0)),
  gt: ofAll((x, y) => () => (x() > y() ? 1 : 0)),
  ge: ofAll((x, y) => () => (x() >= y() ? 1 : 0)),
  to_f32: {
    f32: same,
    f64: same,
    i32: (x) => () => fround(x()),
    u32: (x) => () => fround(x()),
    bool: same,
  },
  to_i32: { f32: saturateSigned, f64: saturateSigned, i32: same, u32: toSigned, bool: same },
  to_u32: { f32: saturateUnsigned, f64: saturateUnsigned, i32: toUnsigned, u32: same, bool: same },
  to_bool: { f32: toBool, f64: toBool, i32: toBool, u32: toBool, bool: same },
  bitcast_f32: {
    f32: same,
    f64: same,
    i32: (x) => () => bitsToFloat(x()),
    u32: (x) => () => bitsToFloat(x()),
  },
  bitcast_u32: { f32: readBits, f64: readBits, i32: toUnsigned, u32: same },
  select: ofAll((condition, x, y) => () => (condition() === 0 ? y() : x())),
};

/** The closure maker of `op` on operands of `kind`, or undefined where the operator has no meaning there. */
export function scalarOp(op: ScalarOp, kind: RegisterKind): Factory | undefined {
  return rows[op][kind];
}
