/**
 * The code of one value. In: a value whose operands can be asked for. Out: the instructions that leave it on the stack.
 * `select` is lazy where a branch reads memory: a scalar condition becomes a branch, a condition per lane a mask.
 */
import type { DType } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { registerType } from "./emission.ts";
import type { Emission } from "./emission.ts";
import { roundLanes } from "./float-formats.ts";
import { emitLoad } from "./memory.ts";
import { scalarOperators, varyingShift, vectorOperators } from "./scalar-ops.ts";
import { polynomialOf, sumOf } from "./polynomial.ts";
import type { Value } from "./values.ts";

type Applied = Value & { readonly kind: "apply" };

function computeSelect(e: Emission, value: Applied): void {
  const { f } = e;
  const [condition, a, b] = value.args as [Value, Value, Value];
  const lazy = a.loads || b.loads;
  if (!condition.vector) {
    const costly = lazy || a.costly || b.costly;
    if (costly) {
      e.emit(condition);
      f.ifElse(
        () => e.branch(() => e.emit(a)),
        () => e.branch(() => e.emit(b)),
        registerType(value),
      );
    } else if (value.vector) {
      e.emit(a);
      e.emit(b);
      f.i32(0);
      e.emit(condition);
      f.op("i32.sub", "i32x4.splat", "v128.bitselect");
    } else {
      e.emit(a);
      e.emit(b);
      e.emit(condition);
      f.op("select");
    }
    return;
  }
  if (!lazy) {
    e.emit(a);
    e.emit(b);
    e.emit(condition);
    f.op("v128.bitselect");
    return;
  }
  const chosen = e.hold(condition);
  const within = (invert: boolean, branch: Value): void => {
    if (!branch.loads) {
      e.emit(branch);
      return;
    }
    const { mask } = e;
    f.get(chosen);
    if (invert) f.op("v128.not");
    if (mask) {
      f.get(mask);
      f.op("v128.and");
    }
    e.branch(() => e.emit(branch), f.save("v128"));
  };
  within(false, a);
  within(true, b);
  f.get(chosen);
  f.op("v128.bitselect");
}

/** Division by a constant needs none of the care that other divisors do. */
function computeDivision(e: Emission, value: Applied): boolean {
  const { op, type } = value;
  if (op !== "div" && op !== "rem") return false;
  const [dividend, divisor] = value.args as [Value, Value];
  const known = divisor.kind === "constant" ? divisor.value : 0;
  if (value.vector || type === "f32" || known <= 0) return false;
  e.emit(dividend);
  e.emit(divisor);
  e.f.op(dividend.natural || type === "u32" ? `i32.${op}_u` : `i32.${op}_s`);
  return true;
}

function computeApply(e: Emission, value: Applied): void {
  const { f, library } = e;
  const { op, args } = value;
  if (op === "select") {
    computeSelect(e, value);
    return;
  }
  if (computeDivision(e, value)) return;
  if ((op === "shl" || op === "shr") && args[1]!.vector) {
    for (const arg of args) e.emit(e.table.splat(arg));
    varyingShift(op)(f, args[0]!.type, library);
    return;
  }
  for (const arg of args) e.emit(arg);
  const table = value.vector ? vectorOperators : scalarOperators;
  table[op](f, args[0]!.type, library);
}

function computeSplat(e: Emission, of: Value, dtypes: readonly DType[]): void {
  const { f } = e;
  // One instruction instead of two, and one that makes a pair with that of another element.
  if (of.kind === "load" && of.uses === 1 && dtypes[of.buffer] === "f32" && !e.mask) {
    const { address, offset, memory } = of.access;
    e.emit(address);
    f.memory("v128.load32_splat", offset, undefined, memory);
    return;
  }
  if (of.kind === "constant" || of.kind === "distance") {
    if (of.type === "f32") f.f32x4(of.value);
    else f.i32x4(of.type === "bool" && of.value !== 0 ? -1 : of.value);
    return;
  }
  if (of.type === "f32") {
    e.emit(of);
    f.op("f32x4.splat");
    return;
  }
  if (of.type === "bool") f.i32(0);
  e.emit(of);
  if (of.type === "bool") f.op("i32.sub");
  f.op("i32x4.splat");
}

/** What places side by side have in common is the same register in all of them. */
function computeLanes(e: Emission, base: Value): void {
  const { f } = e;
  const terms = polynomialOf(base);
  const isDistance = (term: (typeof terms)[number]): boolean =>
    term.ahead && term.atoms.length === 0;
  const first = terms.find(isDistance)?.coefficient ?? 0;
  const common = terms.filter((term) => !isDistance(term));
  e.emit(first === 0 ? base : sumOf(e.table, common));
  f.op("i32x4.splat");
  f.i32x4(first, first + 1, first + 2, first + 3);
  f.op("i32x4.add");
}

/** The `compute` of an `Emission` over buffers of these dtypes. */
export function computeOver(dtypes: readonly DType[]): (e: Emission, value: Value) => void {
  return (e, value) => {
    const { f } = e;
    switch (value.kind) {
      case "distance":
      case "constant":
        if (value.type === "f32") f.f32(value.value);
        else f.i32(value.value);
        break;
      case "local":
        f.get(value.local);
        break;
      case "lanes":
        computeLanes(e, value.base);
        break;
      case "splat":
        computeSplat(e, value.of, dtypes);
        break;
      case "apply":
        computeApply(e, value);
        break;
      case "round":
        e.emit(value.of);
        if (value.dtype === "f32") break;
        if (!value.vector) f.op("f32x4.splat");
        f.call(e.library.get(roundLanes[value.dtype]));
        if (!value.vector) f.lane("f32x4.extract_lane", 0);
        break;
      case "load": {
        const dtype = dtypes[value.buffer];
        if (!dtype)
          throw new InternalError({ what: `a load from the unknown buffer ${value.buffer}` });
        emitLoad(e, dtype, value.access);
        break;
      }
      default:
        value satisfies never;
    }
  };
}
