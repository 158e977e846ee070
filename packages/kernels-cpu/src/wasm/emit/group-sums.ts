/**
 * Sums of products of codes in groups of 32 neighbours, as integers, without rounding. In: addresses of x's codes and of weights.
 * Out: registers.
 *
 * Weights of 8 bits meet codes of 16, in 16-bit lanes. Those of 4 bits, from 0 to 15, meet codes of 8 in pairs of bytes, whose
 * sums, four of them added, stay below what 16 bits hold: 4 * 4 * 15 * 128.
 */
import type { DotRows } from "../configure/dots.ts";
import { X_GROUP } from "../configure/dots.ts";
import type { IntegerFormat, RecordLayout } from "./dot-codes.ts";
import { QUAD, recordOf } from "./dot-codes.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";

/** Bytes of 32 weights. */
export const weightBytes: Readonly<Record<IntegerFormat, number>> = {
  int8: X_GROUP,
  int4: X_GROUP / 2,
};

/** What one function is made for. */
export interface IntegerDotSpec {
  readonly format: IntegerFormat;
  readonly rows: DotRows;
  /** Numbers of the memories that codes and scales of weights lie in. Rows of x and sums are in memory 0. */
  readonly memory: number;
  readonly scalesMemory: number;
  /** Neighbours of a weight row that share a scale, a multiple of 32. */
  readonly group: number;
  readonly depth: number;
  readonly relaxed: boolean;
  /** For an engine that joins pairs of registers. */
  readonly wide: boolean;
}

/** Registers that loops need, made before them. */
export interface Constants {
  /** The lower halves of all bytes. */
  readonly low: Local;
  /** 1 in all 16-bit lanes. */
  readonly ones: Local;
}

/** Where a group's codes are: rows of x and of weights. */
export interface GroupOperands {
  readonly xs: readonly Local[];
  readonly weights: readonly Local[];
  readonly constants: Constants;
}

/** A register for each weight row and row of x, `[column][row]`. */
export type Sums = readonly (readonly Local[])[];

/** Whether sums of 32 products are in eight 16-bit lanes, not in four. */
export const inHalves = ({ format, relaxed }: IntegerDotSpec): boolean =>
  format === "int4" && relaxed;

export function startConstants(f: FunctionBuilder): Constants {
  f.i32x4(0x0f0f0f0f);
  const low = f.save("v128");
  f.i32x4(0x00010001);
  return { low, ones: f.save("v128") };
}

/** The registers of x's codes that meet a group, together where their weights come from one load. */
const unitsOf: Readonly<Record<IntegerFormat, readonly (readonly number[])[]>> = {
  int8: [[0], [1], [2], [3]],
  int4: [[0, 1]],
};

/** Loads the weights that meet the registers of `unit`; they are pushed later. */
function widen(
  f: FunctionBuilder,
  { format, memory }: IntegerDotSpec,
  { low }: Constants,
  [weight, offset]: readonly [Local, number],
  unit: readonly number[],
): readonly (() => void)[] {
  f.get(weight);
  if (format === "int8") f.memory("v128.load8x8_s", offset + unit[0]! * 8, 0, memory);
  else f.memory("v128.load", offset, 0, memory);
  const loaded = f.save("v128");
  if (format === "int8") return [() => f.get(loaded)];
  return unit.map((half) => () => {
    f.get(loaded);
    if (half > 0) {
      f.i32(4);
      f.op("i16x8.shr_u");
    }
    f.get(low);
    f.op("v128.and");
  });
}

/** Pushes the sums of products of x's codes with widened weights, next to each other. */
function pushProducts(
  f: FunctionBuilder,
  { format, relaxed }: IntegerDotSpec,
  x: Local,
  weights: Local,
): void {
  if (format === "int4" && !relaxed) {
    for (const part of ["low", "high"] as const) {
      f.get(x);
      f.op(`i16x8.extend_${part}_i8x16_s`);
      f.get(weights);
      f.op(`i16x8.extend_${part}_i8x16_u`, "i32x4.dot_i16x8_s");
    }
    f.op("i32x4.add");
    return;
  }
  f.get(x);
  f.get(weights);
  // The second operand has seven bits, so that every engine gives the same.
  f.op(format === "int4" ? "i16x8.relaxed_dot_i8x16_i7x16_s" : "i32x4.dot_i16x8_s");
}

/** Emits the sums of a group of a record in parts, each `[column][row]`, of some columns: what is loaded meets all that it has to. */
function emitParts(
  f: FunctionBuilder,
  spec: IntegerDotSpec,
  { xs, weights, constants }: GroupOperands,
  record: RecordLayout,
  group: number,
): readonly Sums[] {
  const { format, wide } = spec;
  // A pair for an engine to join: every other register.
  const parts = Array.from({ length: wide && format === "int8" ? 2 : 1 }, () =>
    weights.map(() => xs.map(() => f.local("v128"))),
  );
  for (const unit of unitsOf[format]) {
    const left = xs.map((x) =>
      unit.map((register) => {
        f.get(x);
        f.memory("v128.load", record.codes(group, register));
        return f.save("v128");
      }),
    );
    weights.forEach((weight, column) => {
      const place = [weight, group * weightBytes[format]] as const;
      widen(f, spec, constants, place, unit).forEach((push, i) => {
        push();
        const right = f.save("v128");
        left.forEach((codes, row) => {
          const register = unit[i]!;
          const sum = parts[register % parts.length]![column]![row]!;
          pushProducts(f, spec, codes[i]!, right);
          if (register >= parts.length) {
            f.get(sum);
            f.op(inHalves(spec) ? "i16x8.add" : "i32x4.add");
          }
          f.set(sum);
        });
      });
    });
  }
  return parts;
}

/** What is made of each of two registers' sums. */
function joined(f: FunctionBuilder, a: Sums, b: Sums, push: (a: Local, b: Local) => void): Sums {
  return a.map((ofColumn, column) =>
    ofColumn.map((sum, row) => {
      push(sum, b[column]![row]!);
      return f.save("v128");
    }),
  );
}

/** The sum of a number's parts; an engine that joins pairs begins here. */
const whole = (f: FunctionBuilder, parts: readonly Sums[]): Sums =>
  parts.reduce((a, b) =>
    joined(f, a, b, (x, y) => {
      f.get(x);
      f.get(y);
      f.op("i32x4.add");
    }),
  );

/** Brings sums in eight 16-bit lanes into four. */
function inFour(f: FunctionBuilder, spec: IntegerDotSpec, { ones }: Constants, sums: Sums): Sums {
  if (!inHalves(spec)) return sums;
  return joined(f, sums, sums, (sum) => {
    f.get(sum);
    f.get(ones);
    f.op("i32x4.dot_i16x8_s");
  });
}

/** The sums of a record of one group, in four 32-bit lanes. */
export function emitSums(f: FunctionBuilder, spec: IntegerDotSpec, operands: GroupOperands): Sums {
  const parts = emitParts(f, spec, operands, recordOf(spec.format, 1, spec.wide), 0);
  return inFour(f, spec, operands.constants, whole(f, parts));
}

/** How lanes of two registers, 0–3 and 4–7, are put beside each other before they are added. */
type Orders = readonly (readonly [number, number, number, number])[];

/** Sums of two groups in turns, `[a, b, a, b]`. */
const IN_TURNS: Orders = [
  [0, 4, 1, 5],
  [2, 6, 3, 7],
];
/** One after the other: of two groups `[a, a, b, b]`, and of two pairs in turns, a lane for each group. */
const AFTER: Orders = [
  [0, 1, 4, 5],
  [2, 3, 6, 7],
];

const folded = (f: FunctionBuilder, spec: IntegerDotSpec, a: Sums, b: Sums, orders: Orders): Sums =>
  joined(f, a, b, (x, y) =>
    orders.forEach((order, i) => {
      f.get(x);
      f.get(y);
      f.shuffle32(...order);
      if (i > 0) f.op(inHalves(spec) ? "i16x8.add" : "i32x4.add");
    }),
  );

/** The sums of a record of four groups, in the lanes of one register, as the record says. */
export function emitQuadSums(
  f: FunctionBuilder,
  spec: IntegerDotSpec,
  operands: GroupOperands,
): Sums {
  const { format, wide } = spec;
  const { constants } = operands;
  const record = recordOf(format, QUAD, wide);
  const of = (group: number): readonly Sums[] => emitParts(f, spec, operands, record, group);
  if (wide && format === "int4") {
    // Neighbouring groups are the pair that an engine may join, from the loads on to where they meet in 16 bits, which hold them.
    const [a, b, c, d] = [0, 1, 2, 3].map((group) => whole(f, of(group))) as [
      Sums,
      Sums,
      Sums,
      Sums,
    ];
    const [even, odd] = [
      [a, c],
      [b, d],
    ].map(([first, second]) =>
      inFour(f, spec, constants, folded(f, spec, first!, second!, AFTER)),
    ) as [Sums, Sums];
    return joined(f, even, odd, (x, y) => {
      f.get(x);
      f.get(y);
      f.op("i16x8.narrow_i32x4_s");
      f.get(constants.ones);
      f.op("i32x4.dot_i16x8_s");
    });
  }
  const pair = (group: number): readonly Sums[] => {
    const [first, second] = [of(group), of(group + 1)];
    return first.map((part, i) => folded(f, spec, part, second[i]!, IN_TURNS));
  };
  const [first, second] = [pair(0), pair(2)];
  const parts = first.map((part, i) => folded(f, spec, part, second[i]!, AFTER));
  return inFour(f, spec, constants, whole(f, parts));
}
