/**
 * Values of a kernel while it is emitted: a hash-consed graph under the expressions. In: operators and operands. Out:
 * one `Value` per distinct computation, with what the emitter must know to place it: how many of the open loops it
 * depends on, whether it differs between lanes, whether it reads memory or something that changes. Emits nothing.
 */
import type { FloatDType, ScalarOp, ScalarType } from "@millrace/graph";
import { resultType } from "@millrace/graph";
import type { Local } from "./function-builder.ts";
import { foldInteger } from "./fold.ts";

interface Properties {
  readonly id: number;
  readonly type: ScalarType;
  /** Held in a register of four lanes. */
  readonly vector: boolean;
  /** How many of the open loops it depends on, counted from outside. */
  readonly depth: number;
  /** Must be computed where it is asked for: it depends on a variable, or on memory that this kernel writes. */
  readonly volatile: boolean;
  /** Reads memory, so that it may be computed only where the program does. */
  readonly loads: boolean;
  /** Holds a call or a division, so that skipping it is worth a branch. */
  readonly costly: boolean;
  /** Never negative, for sure. */
  readonly natural: boolean;
  /** Belongs to one of several places side by side, and not to the first. */
  readonly ahead: boolean;
  /** How many other values use it, over the whole kernel. */
  uses: number;
}

/** Where a load or store finds its elements. All addresses are in bytes and scalar, but for `offsets`. */
export type Access = {
  /** Number of the memory in the module. */
  readonly memory: number;
  readonly address: Value;
  readonly offset: number;
  /** The address is not below zero, not even where the first lane takes no part. */
  readonly natural: boolean;
} & (
  | { readonly mode: "scalar" | "contiguous" }
  | { readonly mode: "strided"; readonly stride: Value }
  | { readonly mode: "gather"; readonly offsets: Value }
);

export type Value = Properties &
  (
    | { readonly kind: "constant"; readonly value: number }
    /** How far a place is ahead of the first of several that stand side by side. */
    | { readonly kind: "distance"; readonly value: number }
    | { readonly kind: "local"; readonly local: Local }
    /** The four values of a vectorised axis, from its scalar counter. */
    | { readonly kind: "lanes"; readonly base: Value }
    | { readonly kind: "splat"; readonly of: Value }
    | { readonly kind: "apply"; readonly op: ScalarOp; readonly args: readonly Value[] }
    | { readonly kind: "round"; readonly dtype: FloatDType; readonly of: Value }
    | { readonly kind: "load"; readonly buffer: number; readonly access: Access }
  );

/** The values that an access is computed from. */
export function accessValues(access: Access): readonly Value[] {
  switch (access.mode) {
    case "scalar":
    case "contiguous":
      return [access.address];
    case "strided":
      return [access.address, access.stride];
    case "gather":
      return [access.address, access.offsets];
  }
}

/** The values a value is computed from. */
export function operands(value: Value): readonly Value[] {
  switch (value.kind) {
    case "constant":
    case "distance":
    case "local":
      return [];
    case "lanes":
      return [value.base];
    case "splat":
    case "round":
      return [value.of];
    case "apply":
      return value.args;
    case "load":
      return accessValues(value.access);
  }
}

const commutative: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "add",
  "mul",
  "min",
  "max",
  "and",
  "or",
  "xor",
  "eq",
  "ne",
]);

const functions: ReadonlySet<ScalarOp> = new Set<ScalarOp>([
  "exp",
  "log",
  "sin",
  "cos",
  "tanh",
  "div",
  "rem",
]);

/** Makes values and keeps one of each. */
export class ValueTable {
  readonly #known: Map<string, Value> = new Map();
  #count = 0;

  #intern(key: string, make: (id: number) => Value): Value {
    const known = this.#known.get(key);
    if (known) return known;
    const value = make(this.#count++);
    for (const operand of operands(value)) operand.uses++;
    this.#known.set(key, value);
    return value;
  }

  #derived(type: ScalarType, vector: boolean, from: readonly Value[]): Omit<Properties, "id"> {
    return {
      type,
      vector,
      depth: from.reduce((depth, value) => Math.max(depth, value.depth), 0),
      volatile: from.some((value) => value.volatile),
      loads: from.some((value) => value.loads),
      costly: from.some((value) => value.costly),
      natural: false,
      ahead: from.some((value) => value.ahead),
      uses: 0,
    };
  }

  constant(value: number, type: ScalarType): Value {
    const number = type === "f32" ? Math.fround(value) : type === "u32" ? value >>> 0 : value | 0;
    const text = Object.is(number, -0) ? "-0" : String(number);
    return this.#intern(`constant ${type} ${text}`, (id) => ({
      id,
      kind: "constant",
      value: number,
      type,
      vector: false,
      depth: 0,
      volatile: false,
      loads: false,
      costly: false,
      natural: number >= 0,
      ahead: false,
      uses: 0,
    }));
  }

  integer(value: number): Value {
    return this.constant(value, "i32");
  }

  /** A distance from the first of several places, a number that stays apart from others. */
  distance(value: number): Value {
    if (value === 0) return this.integer(0);
    return this.#intern(`distance ${value}`, (id) => ({
      ...this.#derived("i32", false, []),
      id,
      kind: "distance",
      value,
      natural: value > 0,
      ahead: true,
    }));
  }

  /** What a WebAssembly local holds, from the given number of open loops on. */
  local(
    local: Local,
    type: ScalarType,
    depth: number,
    options: { readonly volatile?: boolean; readonly natural?: boolean } = {},
  ): Value {
    const { volatile = false, natural = false } = options;
    const vector = local.type === "v128";
    // A volatile local is read anew each time it is asked for, but two readings in one place are the same value.
    return this.#intern(`local ${local.index} ${type} ${depth} ${volatile} ${natural}`, (id) => ({
      id,
      kind: "local",
      local,
      type,
      vector,
      depth,
      volatile,
      loads: false,
      costly: false,
      natural,
      ahead: false,
      uses: 0,
    }));
  }

  /** `base + (0, 1, 2, 3)`. */
  lanes(base: Value): Value {
    return this.#intern(`lanes ${base.id}`, (id) => ({
      ...this.#derived("i32", true, [base]),
      id,
      kind: "lanes",
      base,
      natural: base.natural,
    }));
  }

  /** The same value in four lanes. */
  splat(value: Value): Value {
    if (value.vector) return value;
    return this.#intern(`splat ${value.id}`, (id) => ({
      ...this.#derived(value.type, true, [value]),
      id,
      kind: "splat",
      of: value,
    }));
  }

  apply(op: ScalarOp, given: readonly Value[]): Value {
    let args = given;
    const vector = args.some((value) => value.vector);
    const type = resultType(op, (op === "select" ? args[1] : args[0])!.type);
    if (!vector) {
      const folded = foldInteger(op, args);
      if (typeof folded === "number") return this.constant(folded, type);
      if (folded) return folded;
    } else {
      // A condition or a shift distance that is the same in all lanes stays scalar: both are cheaper that way.
      const keep = op === "select" ? 0 : op === "shl" || op === "shr" ? 1 : -1;
      args = args.map((value, i) => (i === keep ? value : this.splat(value)));
    }
    if (commutative.has(op) && args[0]!.id > args[1]!.id) args = [args[1]!, args[0]!];
    return this.#intern(`${op} ${args.map((value) => value.id).join(" ")}`, (id) => ({
      ...this.#derived(type, vector, args),
      id,
      kind: "apply",
      op,
      args,
      costly: functions.has(op) || args.some((value) => value.costly),
      natural: (op === "add" || op === "mul") && args.every((value) => value.natural),
    }));
  }

  round(of: Value, dtype: FloatDType): Value {
    return this.#intern(`round ${dtype} ${of.id}`, (id) => ({
      ...this.#derived("f32", of.vector, [of]),
      id,
      kind: "round",
      dtype,
      of,
      costly: true,
    }));
  }

  load(buffer: number, type: ScalarType, access: Access, volatile: boolean): Value {
    const from = accessValues(access);
    const { mode, offset, natural } = access;
    const key = `load ${buffer} ${mode} ${offset} ${natural} ${from.map((value) => value.id).join(" ")}`;
    return this.#intern(key, (id) => ({
      ...this.#derived(type, mode !== "scalar", from),
      id,
      kind: "load",
      buffer,
      access,
      loads: true,
      volatile: volatile || from.some((value) => value.volatile),
    }));
  }
}
