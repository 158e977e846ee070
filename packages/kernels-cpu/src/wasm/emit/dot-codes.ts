/**
 * Rows of x in codes, as integer dot products read them. In: a row of whole numbers in f32. Out: a record for each four groups of 32
 * neighbours: their codes, for int4 a number of each, and their scales, so that what belongs to four groups is in one register; then
 * a record for each group that is left. That weights in 4 bits, from 0 to 15, stand for numbers less by 8 is the groups' number:
 * -8 times the sum of the codes.
 */
import { X_GROUP } from "../configure/dots.ts";
import { pushAcross } from "./dot-call.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { LibraryFunction } from "./library.ts";

export type IntegerFormat = "int8" | "int4";

/** Groups of a record. */
export const QUAD = 4;
/** Elements of the depth that a record stands for. */
export const QUAD_DEPTH: number = QUAD * X_GROUP;

/** Bytes of a group's codes: 16 bits each for weights of 8, 8 for those of 4. */
export const codeBytes: Readonly<Record<IntegerFormat, number>> = {
  int8: 2 * X_GROUP,
  int4: X_GROUP,
};

/** Where things are in a record of some groups: codes first. */
export interface RecordLayout {
  /** Register `register` of a group's codes. */
  readonly codes: (group: number, register: number) => number;
  /** Which number of the four is a group's. */
  readonly lane: (group: number) => number;
  /** The groups' numbers, i32; int4 only. */
  readonly corrections: number;
  /** The groups' scales, f32. */
  readonly scales: number;
  readonly bytes: number;
}

/**
 * A record of `groups`. Where it is `wide`, an engine may join pairs of registers: for int4 these are of neighbouring groups, so their codes
 * are beside each other, and numbers of the first ones of all pairs come before those of the others.
 */
export function recordOf(format: IntegerFormat, groups: number, wide: boolean): RecordLayout {
  const corrections = groups * codeBytes[format];
  const scales = corrections + (format === "int4" ? groups * 4 : 0);
  const inPairs = wide && format === "int4" && groups === QUAD;
  return {
    codes: (group, register) =>
      inPairs
        ? ((group >> 1) * 4 + register * 2 + (group % 2)) * 16
        : group * codeBytes[format] + register * 16,
    lane: (group) => (inPairs ? (group % 2) * 2 + (group >> 1) : group),
    corrections,
    scales,
    bytes: scales + groups * 4,
  };
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
/** Registers of eight 16-bit codes in a group. */
const REGISTERS = X_GROUP / 8;

/** Turns groups in f32, `(from, to, end)`, into records of `groups` of them without scales. The target may be the source. */
export function prepareCodes(
  format: IntegerFormat,
  groups: number,
  wide: boolean,
): LibraryFunction {
  const record = recordOf(format, groups, wide);
  return {
    name: `prepare ${groups} groups of codes for ${format}${wide ? " in pairs" : ""}`,
    signature: { params: ["i32", "i32", "i32"], results: [] },
    body(f) {
      const [from, to, end] = f.params as [Local, Local, Local];
      f.repeat((again) => {
        const corrections: Local[] = [];
        for (const group of range(groups)) {
          const natural = range(REGISTERS).map((register) => {
            for (const half of [0, 1]) {
              f.get(from);
              f.memory("v128.load", (group * X_GROUP + register * 8 + half * 4) * 4);
              f.op("i32x4.trunc_sat_f32x4_s");
            }
            f.op("i16x8.narrow_i32x4_s");
            return f.save("v128");
          });
          const places = natural.map((_, register) => record.codes(group, register));
          if (format === "int4") corrections.push(storeBytes(f, to, places, natural));
          else
            natural.forEach((codes, register) => {
              f.get(to);
              f.get(codes);
              f.memory("v128.store", places[register]);
            });
        }
        corrections.forEach((correction, group) => {
          f.get(to);
          f.get(correction);
          f.memoryLane("v128.store32_lane", 0, record.corrections + record.lane(group) * 4);
        });
        f.increment(to, record.bytes);
        f.increment(from, groups * X_GROUP * 4);
        f.get(from);
        f.get(end);
        f.op("i32.lt_u");
        f.brIf(again);
      });
    },
  };
}

/** A group in bytes: every other code from the first on, then those between. Returns its number, in the first lane. */
function storeBytes(
  f: FunctionBuilder,
  to: Local,
  places: readonly number[],
  natural: readonly Local[],
): Local {
  natural.forEach((codes, i) => {
    f.get(codes);
    f.i32x4(0xfff8fff8);
    f.op("i32x4.dot_i16x8_s");
    if (i > 0) f.op("i32x4.add");
  });
  pushAcross(f, f.save("v128"), "i32x4.add");
  const correction = f.save("v128");
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
    f.memory("v128.store", places[odd]);
  }
  return correction;
}
