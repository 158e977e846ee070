/**
 * What each scalar operator is in WebAssembly. In: operands on the stack. Out: the result on the stack. Two exhaustive
 * tables, for scalars and for four lanes; a new operator without an entry does not compile. `select` is not here,
 * because it decides what is evaluated at all. A bool is 0 or 1 in a scalar, and all bits of its lane in a register.
 */
import type { ScalarOp, ScalarType } from "@millrace/graph";
import { UnsupportedError } from "@millrace/graph";
import type { FunctionBuilder } from "./function-builder.ts";
import { lanewise, scalarDivision, scalarShift } from "./integer-division.ts";
import type { Library, LibraryFunction } from "./library.ts";
import { cos, exp, log, sin, tanh } from "./math.ts";
import type { PlainOp } from "./opcodes.ts";

/** An operator other than `select`. */
export type PlainScalarOp = Exclude<ScalarOp, "select">;

/** Emits one operator; `type` is that of its first operand. */
export type OperatorEmitter = (f: FunctionBuilder, type: ScalarType, library: Library) => void;

function unsupported(op: string, type: ScalarType): never {
  throw new UnsupportedError({
    what: `the operator ${op} has no meaning on ${type}`,
    where: "WebAssembly backend",
    hint: "Convert its operands first.",
  });
}

type Choice = PlainOp | readonly PlainOp[];

/** An operator that is instructions, by operand type. */
function instructions(op: string, choices: Partial<Record<ScalarType, Choice>>): OperatorEmitter {
  return (f, type) => {
    const choice = choices[type] ?? unsupported(op, type);
    if (typeof choice === "string") f.op(choice);
    else f.op(...choice);
  };
}

/** A function of one register, applied to lane 0 of a splat. */
function scalarThrough(source: LibraryFunction): OperatorEmitter {
  return (f, _type, library) => {
    f.op("f32x4.splat");
    f.call(library.get(source));
    f.lane("f32x4.extract_lane", 0);
  };
}

const vectorThrough =
  (source: LibraryFunction): OperatorEmitter =>
  (f, _type, library) =>
    f.call(library.get(source));

type ComparisonOp = "eq" | "ne" | "lt" | "le" | "gt" | "ge";

function scalarComparison(op: ComparisonOp): OperatorEmitter {
  const ordered = op !== "eq" && op !== "ne";
  return (f, type) => {
    if (type === "f32") f.op(`f32.${op}`);
    else if (!ordered) f.op(`i32.${op}`);
    else f.op(type === "i32" ? `i32.${op}_s` : `i32.${op}_u`);
  };
}

function vectorComparison(op: ComparisonOp): OperatorEmitter {
  const ordered = op !== "eq" && op !== "ne";
  return (f, type) => {
    if (type === "f32") f.op(`f32x4.${op}`);
    else if (!ordered) f.op(`i32x4.${op}`);
    else if (type === "i32") f.op(`i32x4.${op}_s`);
    // Masks are 0 and -1: as unsigned numbers they are ordered as false and true are.
    else f.op(`i32x4.${op}_u`);
  };
}

/** -1, 0 or 1; a float keeps its zero and its NaN. */
function scalarSign(f: FunctionBuilder, type: ScalarType): void {
  if (type === "f32") {
    const x = f.save("f32");
    f.f32(1);
    f.get(x);
    f.op("f32.copysign");
    f.get(x);
    f.get(x);
    f.f32(0);
    f.op("f32.lt");
    f.get(x);
    f.f32(0);
    f.op("f32.gt", "i32.or", "select");
    return;
  }
  const x = f.save("i32");
  f.get(x);
  f.i32(0);
  f.op(type === "u32" ? "i32.ne" : "i32.gt_s");
  if (type === "i32") {
    f.get(x);
    f.i32(31);
    f.op("i32.shr_s", "i32.or");
  }
}

function vectorSign(f: FunctionBuilder, type: ScalarType): void {
  const x = f.save("v128");
  if (type === "f32") {
    f.get(x);
    f.i32x4(0x80000000);
    f.op("v128.and");
    f.f32x4(1);
    f.op("v128.or");
    f.get(x);
    f.get(x);
    f.op("f32x4.abs");
    f.f32x4(0);
    f.op("f32x4.gt", "v128.bitselect");
    return;
  }
  f.get(x);
  f.i32x4(1);
  f.op("i32x4.min_u");
  if (type === "i32") {
    f.get(x);
    f.i32(31);
    f.op("i32x4.shr_s", "v128.or");
  }
}

/** `min`, `max` of integers by comparison, since scalars have no instruction for it. */
function scalarExtreme(compare: "lt" | "gt"): OperatorEmitter {
  return (f, type) => {
    if (type === "f32") {
      f.op(compare === "lt" ? "f32.min" : "f32.max");
      return;
    }
    const b = f.save("i32");
    const a = f.save("i32");
    f.get(a);
    f.get(b);
    f.get(a);
    f.get(b);
    f.op(type === "i32" ? `i32.${compare}_s` : `i32.${compare}_u`, "select");
  };
}

/** Operators on scalars. */
export const scalarOperators: Readonly<Record<PlainScalarOp, OperatorEmitter>> = {
  neg: (f, type) => {
    if (type === "f32") f.op("f32.neg");
    else {
      f.i32(-1);
      f.op("i32.mul");
    }
  },
  abs: (f, type) => {
    if (type === "f32") f.op("f32.abs");
    else if (type === "i32") {
      const x = f.save("i32");
      f.i32(0);
      f.get(x);
      f.op("i32.sub");
      f.get(x);
      f.get(x);
      f.i32(0);
      f.op("i32.lt_s", "select");
    }
  },
  sign: scalarSign,
  exp: scalarThrough(exp),
  log: scalarThrough(log),
  sin: scalarThrough(sin),
  cos: scalarThrough(cos),
  tanh: scalarThrough(tanh),
  sqrt: instructions("sqrt", { f32: "f32.sqrt" }),
  floor: instructions("floor", { f32: "f32.floor" }),
  ceil: instructions("ceil", { f32: "f32.ceil" }),
  round: instructions("round", { f32: "f32.nearest" }),
  not: (f, type) => {
    if (type === "bool") f.op("i32.eqz");
    else {
      f.i32(-1);
      f.op("i32.xor");
    }
  },
  add: instructions("add", { f32: "f32.add", i32: "i32.add", u32: "i32.add", bool: "i32.or" }),
  sub: instructions("sub", { f32: "f32.sub", i32: "i32.sub", u32: "i32.sub" }),
  mul: instructions("mul", { f32: "f32.mul", i32: "i32.mul", u32: "i32.mul", bool: "i32.and" }),
  div: (f, type, library) => {
    if (type === "f32") f.op("f32.div");
    else f.call(library.get(scalarDivision("div", type)));
  },
  rem: (f, type, library) => f.call(library.get(scalarDivision("rem", type))),
  min: scalarExtreme("lt"),
  max: scalarExtreme("gt"),
  and: instructions("and", { i32: "i32.and", u32: "i32.and", bool: "i32.and" }),
  or: instructions("or", { i32: "i32.or", u32: "i32.or", bool: "i32.or" }),
  xor: instructions("xor", { i32: "i32.xor", u32: "i32.xor", bool: "i32.xor" }),
  shl: instructions("shl", { i32: "i32.shl", u32: "i32.shl" }),
  shr: instructions("shr", { i32: "i32.shr_s", u32: "i32.shr_u" }),
  eq: scalarComparison("eq"),
  ne: scalarComparison("ne"),
  lt: scalarComparison("lt"),
  le: scalarComparison("le"),
  gt: scalarComparison("gt"),
  ge: scalarComparison("ge"),
  to_f32: instructions("to_f32", {
    f32: [],
    i32: "f32.convert_i32_s",
    u32: "f32.convert_i32_u",
    bool: "f32.convert_i32_u",
  }),
  to_i32: instructions("to_i32", { f32: "i32.trunc_sat_f32_s", i32: [], u32: [], bool: [] }),
  to_u32: instructions("to_u32", { f32: "i32.trunc_sat_f32_u", i32: [], u32: [], bool: [] }),
  to_bool: (f, type) => {
    if (type === "f32") {
      f.f32(0);
      f.op("f32.ne");
    } else if (type !== "bool") {
      f.i32(0);
      f.op("i32.ne");
    }
  },
  bitcast_f32: instructions("bitcast_f32", {
    f32: [],
    i32: "f32.reinterpret_i32",
    u32: "f32.reinterpret_i32",
  }),
  bitcast_u32: instructions("bitcast_u32", { f32: "i32.reinterpret_f32", i32: [], u32: [] }),
};

/** A mask as the numbers 0 and 1. */
function maskToInteger(f: FunctionBuilder): void {
  f.i32x4(1);
  f.op("v128.and");
}

function shift(op: "shl" | "shr"): OperatorEmitter {
  return (f, type) =>
    f.op(op === "shl" ? "i32x4.shl" : type === "i32" ? "i32x4.shr_s" : "i32x4.shr_u");
}

/** Operators on four lanes; shifts take a scalar distance, `varyingShift` one for each lane. */
export const vectorOperators: Readonly<Record<PlainScalarOp, OperatorEmitter>> = {
  neg: instructions("neg", { f32: "f32x4.neg", i32: "i32x4.neg", u32: "i32x4.neg" }),
  abs: instructions("abs", { f32: "f32x4.abs", i32: "i32x4.abs", u32: [] }),
  sign: vectorSign,
  exp: (f, _type, library) => library.inline(f, exp),
  log: vectorThrough(log),
  sin: vectorThrough(sin),
  cos: vectorThrough(cos),
  tanh: vectorThrough(tanh),
  sqrt: instructions("sqrt", { f32: "f32x4.sqrt" }),
  floor: instructions("floor", { f32: "f32x4.floor" }),
  ceil: instructions("ceil", { f32: "f32x4.ceil" }),
  round: instructions("round", { f32: "f32x4.nearest" }),
  not: instructions("not", { i32: "v128.not", u32: "v128.not", bool: "v128.not" }),
  add: instructions("add", {
    f32: "f32x4.add",
    i32: "i32x4.add",
    u32: "i32x4.add",
    bool: "v128.or",
  }),
  sub: instructions("sub", { f32: "f32x4.sub", i32: "i32x4.sub", u32: "i32x4.sub" }),
  mul: instructions("mul", {
    f32: "f32x4.mul",
    i32: "i32x4.mul",
    u32: "i32x4.mul",
    bool: "v128.and",
  }),
  div: (f, type, library) => {
    if (type === "f32") f.op("f32x4.div");
    else f.call(library.get(lanewise(scalarDivision("div", type))));
  },
  rem: (f, type, library) => f.call(library.get(lanewise(scalarDivision("rem", type)))),
  min: instructions("min", {
    f32: "f32x4.min",
    i32: "i32x4.min_s",
    u32: "i32x4.min_u",
    bool: "v128.and",
  }),
  max: instructions("max", {
    f32: "f32x4.max",
    i32: "i32x4.max_s",
    u32: "i32x4.max_u",
    bool: "v128.or",
  }),
  and: instructions("and", { i32: "v128.and", u32: "v128.and", bool: "v128.and" }),
  or: instructions("or", { i32: "v128.or", u32: "v128.or", bool: "v128.or" }),
  xor: instructions("xor", { i32: "v128.xor", u32: "v128.xor", bool: "v128.xor" }),
  shl: shift("shl"),
  shr: shift("shr"),
  eq: vectorComparison("eq"),
  ne: vectorComparison("ne"),
  lt: vectorComparison("lt"),
  le: vectorComparison("le"),
  gt: vectorComparison("gt"),
  ge: vectorComparison("ge"),
  to_f32: (f, type) => {
    if (type === "i32") f.op("f32x4.convert_i32x4_s");
    else if (type === "u32") f.op("f32x4.convert_i32x4_u");
    else if (type === "bool") {
      f.f32x4(1);
      f.op("v128.and");
    }
  },
  to_i32: (f, type) => {
    if (type === "f32") f.op("i32x4.trunc_sat_f32x4_s");
    else if (type === "bool") maskToInteger(f);
  },
  to_u32: (f, type) => {
    if (type === "f32") f.op("i32x4.trunc_sat_f32x4_u");
    else if (type === "bool") maskToInteger(f);
  },
  to_bool: (f, type) => {
    if (type === "f32") {
      f.f32x4(0);
      f.op("f32x4.ne");
    } else if (type !== "bool") {
      f.i32x4(0);
      f.op("i32x4.ne");
    }
  },
  bitcast_f32: instructions("bitcast_f32", { f32: [], i32: [], u32: [] }),
  bitcast_u32: instructions("bitcast_u32", { f32: [], i32: [], u32: [] }),
};

/** `shl` or `shr` by a distance per lane. */
export const varyingShift =
  (op: "shl" | "shr"): OperatorEmitter =>
  (f, type, library) =>
    f.call(library.get(lanewise(scalarShift(op, type))));
