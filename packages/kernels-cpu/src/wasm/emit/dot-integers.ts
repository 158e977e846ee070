/**
 * Dot products of one row of 16-bit codes with four rows of weights in 8 or 4 bits. In: addresses. Out: four sums in memory. Codes
 * are multiplied and added as integers over 32 neighbours, without rounding; then their sum is multiplied by both scales
 * and added up in f32, in four lanes. What is rounded, and in which order, depends on nothing but the depth.
 */
import { X_GROUP } from "../configure/dots.ts";
import type { FunctionBuilder, FunctionRef, Local } from "./function-builder.ts";
import type { Library, LibraryFunction } from "./library.ts";
import { multiplyAdd } from "./micro-kernel.ts";

export type IntegerFormat = "int8" | "int4";

/** Weight rows in one call. */
export const INTEGER_COLUMNS = 4;
/** Registers of eight 16-bit codes in a group. */
const REGISTERS = X_GROUP / 8;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Bytes of a packed row: its codes, then its scales. */
export const scalesOffset = (depth: number): number => 2 * depth;

/**
 * Turns a packed row of whole numbers in f32, `(address, end)`, into 16-bit codes, in place. For int4, whose codes lie in 16-bit
 * lanes of four, the n-th register of a group holds every fourth code from the n-th on.
 */
export function prepareCodes(format: IntegerFormat): LibraryFunction {
  return {
    name: `prepare codes for ${format}`,
    signature: { params: ["i32", "i32"], results: [] },
    body(f) {
      const [at, end] = f.params as [Local, Local];
      f.get(at);
      const to = f.save("i32");
      f.repeat((again) => {
        const natural = range(REGISTERS).map((register) => {
          for (const half of [0, 1]) {
            f.get(at);
            f.memory("v128.load", register * 32 + half * 16);
            f.op("i32x4.trunc_sat_f32x4_s");
          }
          f.op("i16x8.narrow_i32x4_s");
          return f.save("v128");
        });
        for (const register of range(REGISTERS)) {
          f.get(to);
          if (format === "int8") f.get(natural[register]!);
          else {
            // Lanes 0–3 from the first two registers, 4–7 from the others, then both together.
            const lanes = range(4).flatMap((lane) => {
              const byte = 2 * (4 * lane + register);
              return [byte, byte + 1];
            });
            for (const half of [0, 2]) {
              f.get(natural[half]!);
              f.get(natural[half + 1]!);
              f.shuffleBytes(lanes);
            }
            f.shuffle32(0, 1, 4, 5);
          }
          f.memory("v128.store", register * 16);
        }
        f.increment(to, X_GROUP * 2);
        f.increment(at, X_GROUP * 4);
        f.get(at);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(again);
      });
    },
  };
}

/** Pushes the eight 16-bit codes of a weight row that belong to a register of x. */
function widen(
  f: FunctionBuilder,
  format: IntegerFormat,
  weight: Local,
  raw: Local,
): (register: number) => void {
  if (format === "int8")
    return (register) => {
      f.get(weight);
      f.memory("v128.load8x8_s", register * 8, 0);
    };
  f.get(weight);
  f.memory("v128.load", 0, 0);
  f.set(raw);
  return (register) => {
    f.get(raw);
    if (register < REGISTERS - 1) {
      f.i32(12 - 4 * register);
      f.op("i16x8.shl");
    }
    f.i32(12);
    f.op("i16x8.shr_s");
  };
}

/** What one function is made for. */
export interface IntegerDotSpec {
  readonly format: IntegerFormat;
  /** Neighbours of a weight row that share a scale, a multiple of 32. */
  readonly group: number;
  readonly relaxed: boolean;
}

function body(f: FunctionBuilder, { format, group, relaxed }: IntegerDotSpec): void {
  const [x, depth, out, outStep, ...rest] = f.params as [Local, Local, Local, Local, ...Local[]];
  const weights = rest.slice(0, INTEGER_COLUMNS);
  const scales = rest.slice(INTEGER_COLUMNS);
  const bytes = format === "int8" ? X_GROUP : X_GROUP / 2;
  f.get(x);
  f.get(depth);
  f.i32(2);
  f.op("i32.mul", "i32.add");
  const xEnd = f.save("i32");
  f.get(xEnd);
  const xScales = f.save("i32");
  const totals = weights.map(() => {
    f.f32x4(0);
    return f.save("v128");
  });
  const codes = range(REGISTERS).map(() => f.local("v128"));
  const xScale = f.local("v128");
  const raw = f.local("v128");
  const factor = f.local("v128");
  const sum = f.local("v128");
  f.repeat((again) => {
    for (let part = 0; part < group / X_GROUP; part++) {
      codes.forEach((register, i) => {
        f.get(x);
        f.memory("v128.load", i * 16);
        f.set(register);
      });
      f.get(xScales);
      f.memory("v128.load32_splat");
      f.set(xScale);
      weights.forEach((weight, column) => {
        const push = widen(f, format, weight, raw);
        codes.forEach((register, i) => {
          push(i);
          f.get(register);
          f.op("i32x4.dot_i16x8_s");
          if (i > 0) f.op("i32x4.add");
        });
        f.op("f32x4.convert_i32x4_s");
        f.set(sum);
        f.get(scales[column]!);
        f.memory("v128.load32_splat");
        f.get(xScale);
        f.op("f32x4.mul");
        f.set(factor);
        multiplyAdd(
          f,
          relaxed,
          totals[column]!,
          () => f.get(sum),
          () => f.get(factor),
        );
        f.increment(weight, bytes);
      });
      f.increment(x, X_GROUP * 2);
      f.increment(xScales, 4);
    }
    for (const scale of scales) f.increment(scale, 4);
    f.get(x);
    f.get(xEnd);
    f.op("i32.ne");
    f.brIf(again);
  });
  for (const total of totals) {
    f.get(out);
    f.get(total);
    f.get(total);
    f.get(total);
    f.shuffle32(2, 3, 0, 1);
    f.op("f32x4.add");
    const halves = f.save("v128");
    f.get(halves);
    f.get(halves);
    f.get(halves);
    f.shuffle32(1, 0, 3, 2);
    f.op("f32x4.add");
    f.memoryLane("v128.store32_lane", 0);
    f.increment(out, outStep);
  }
}

/**
 * `(x, depth, out, step, four weight rows, four rows of scales)`: addresses, and the depth in elements, a multiple of the group.
 * Four floats are written, `step` bytes apart.
 */
export function integerDotFunction(library: Library, spec: IntegerDotSpec): FunctionRef {
  const { format, group, relaxed } = spec;
  return library.get({
    name: `dot ${format} in groups of ${group}${relaxed ? " fused" : ""}`,
    signature: {
      params: Array.from({ length: 4 + 2 * INTEGER_COLUMNS }, () => "i32" as const),
      results: [],
    },
    body: (f) => body(f, spec),
  });
}
