/**
 * Dot products of one row of codes with four rows of weights in 8 or 4 bits. In: addresses. Out: four sums in memory. Codes are
 * multiplied and added as integers over 32 neighbours, without rounding; then their sum is multiplied by both scales and
 * added up in f32, in four lanes. What is rounded, and in which order, depends on nothing but the depth.
 *
 * Weights of 8 bits meet codes of 16, in 16-bit lanes. Those of 4 bits, from 0 to 15, meet codes of 8 in pairs of bytes, whose
 * sums stay far below what 16 bits hold: 2 * 2 * 15 * 128. That they stand for numbers less by 8 is a sum of x's codes,
 * made when x is packed.
 */
import { X_GROUP } from "../configure/dots.ts";
import type { DotMemories } from "./dot-floats.ts";
import { namedMemories } from "./dot-floats.ts";
import type { FunctionBuilder, FunctionRef, Local } from "./function-builder.ts";
import type { Library, LibraryFunction } from "./library.ts";
import { multiplyAdd } from "./micro-kernel.ts";

export type IntegerFormat = "int8" | "int4";

/** Weight rows in one call. */
export const INTEGER_COLUMNS = 4;
/** Registers of eight 16-bit codes in a group. */
const REGISTERS = X_GROUP / 8;

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

/** Bytes of a packed group: codes, and for int4 four sums that add up to -8 times that of the codes. */
const groupBytes: Readonly<Record<IntegerFormat, number>> = { int8: 64, int4: 48 };

/** Where a packed row's scales begin, behind its groups. */
export const scalesOffset = (format: IntegerFormat, depth: number): number =>
  (depth / X_GROUP) * groupBytes[format];

/** Turns a packed row of whole numbers in f32, `(address, end)`, into groups of codes, in place. */
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
        if (format === "int8")
          natural.forEach((codes, register) => {
            f.get(to);
            f.get(codes);
            f.memory("v128.store", register * 16);
          });
        else storeBytes(f, to, natural);
        f.increment(to, groupBytes[format]);
        f.increment(at, X_GROUP * 4);
        f.get(at);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(again);
      });
    },
  };
}

/** A group in bytes: every other code from the first on, those between, and the sums. */
function storeBytes(f: FunctionBuilder, to: Local, natural: readonly Local[]): void {
  natural.forEach((codes, i) => {
    f.get(codes);
    f.i32x4(0xfff8fff8);
    f.op("i32x4.dot_i16x8_s");
    if (i > 0) f.op("i32x4.add");
  });
  const sums = f.save("v128");
  const bytes = [0, 2].map((first) => {
    f.get(natural[first]!);
    f.get(natural[first + 1]!);
    f.op("i8x16.narrow_i16x8_s");
    return f.save("v128");
  });
  for (const odd of [0, 1]) {
    f.get(to);
    for (const register of bytes) f.get(register);
    f.shuffleBytes(range(16).map((i) => 2 * i + odd));
    f.memory("v128.store", odd * 16);
  }
  f.get(to);
  f.get(sums);
  f.memory("v128.store", 32);
}

/** Pushes the sum, in four lanes, of 32 codes of x times 32 of a weight row. */
function pushSum(
  f: FunctionBuilder,
  { format, relaxed, memory }: IntegerDotSpec,
  registers: Registers,
): void {
  const { weight, codes, raw, low } = registers;
  if (format === "int8") {
    codes.forEach((register, i) => {
      f.get(weight);
      f.memory("v128.load8x8_s", i * 8, 0, memory);
      f.get(register);
      f.op("i32x4.dot_i16x8_s");
      if (i > 0) f.op("i32x4.add");
    });
    return;
  }
  const [even, odd, sums] = codes as [Local, Local, Local];
  f.get(weight);
  f.memory("v128.load", 0, 0, memory);
  f.set(raw);
  /** Every other weight. */
  const half = (upper: boolean): void => {
    f.get(raw);
    if (upper) {
      f.i32(4);
      f.op("i16x8.shr_u");
    }
    f.get(low);
    f.op("v128.and");
  };
  if (relaxed) {
    f.get(even);
    half(false);
    // The second operand has seven bits, so that every engine gives the same.
    f.op("i16x8.relaxed_dot_i8x16_i7x16_s");
    f.get(odd);
    half(true);
    f.op("i16x8.relaxed_dot_i8x16_i7x16_s", "i16x8.add", "i32x4.extadd_pairwise_i16x8_s");
  } else
    for (const [i, x] of [even, odd].entries())
      for (const part of ["low", "high"] as const) {
        f.get(x);
        f.op(`i16x8.extend_${part}_i8x16_s`);
        half(i === 1);
        f.op(`i16x8.extend_${part}_i8x16_u`, "i32x4.dot_i16x8_s");
        if (i > 0 || part === "high") f.op("i32x4.add");
      }
  f.get(sums);
  f.op("i32x4.add");
}

interface Registers {
  readonly weight: Local;
  /** A packed group. */
  readonly codes: readonly Local[];
  readonly raw: Local;
  /** The lower halves of all bytes. */
  readonly low: Local;
}

/** What one function is made for. */
export interface IntegerDotSpec extends DotMemories {
  readonly format: IntegerFormat;
  /** Neighbours of a weight row that share a scale, a multiple of 32. */
  readonly group: number;
  readonly relaxed: boolean;
}

function body(f: FunctionBuilder, spec: IntegerDotSpec): void {
  const { format, group, relaxed } = spec;
  const [x, depth, out, outStep, ...rest] = f.params as [Local, Local, Local, Local, ...Local[]];
  const weights = rest.slice(0, INTEGER_COLUMNS);
  const scales = rest.slice(INTEGER_COLUMNS);
  const bytes = format === "int8" ? X_GROUP : X_GROUP / 2;
  f.get(x);
  f.get(depth);
  f.i32(X_GROUP);
  f.op("i32.div_u");
  f.i32(groupBytes[format]);
  f.op("i32.mul", "i32.add");
  const xEnd = f.save("i32");
  f.get(xEnd);
  const xScales = f.save("i32");
  const totals = weights.map(() => {
    f.f32x4(0);
    return f.save("v128");
  });
  const codes = range(groupBytes[format] / 16).map(() => f.local("v128"));
  const xScale = f.local("v128");
  const raw = f.local("v128");
  f.i32x4(0x0f0f0f0f);
  const low = f.save("v128");
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
        pushSum(f, spec, { weight, codes, raw, low });
        f.op("f32x4.convert_i32x4_s");
        f.set(sum);
        f.get(scales[column]!);
        f.memory("v128.load32_splat", 0, undefined, spec.scalesMemory);
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
      f.increment(x, groupBytes[format]);
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
    name: `dot ${format} in groups of ${group}${relaxed ? " fused" : ""}${namedMemories(spec)}`,
    signature: {
      params: Array.from({ length: 4 + 2 * INTEGER_COLUMNS }, () => "i32" as const),
      results: [],
    },
    body: (f) => body(f, spec),
  });
}
