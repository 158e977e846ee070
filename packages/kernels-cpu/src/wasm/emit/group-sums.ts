/**
 * Sums of products of codes in groups of 32 neighbours, as integers, without rounding. In: addresses of x's codes and of weights.
 * Out: registers.
 *
 * Weights of 8 bits meet codes of 16, in 16-bit lanes. Those of 4 bits, from 0 to 15, meet codes of 8 in pairs of bytes, whose
 * sums, four of them added, stay below what 16 bits hold: 4 * 4 * 15 * 128.
 */
import { X_GROUP } from "../configure/dots.ts";
import type { DotMemories, DotRows } from "./dot-call.ts";
import type { IntegerFormat } from "./dot-codes.ts";
import { codeBytes } from "./dot-codes.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";

/** Bytes of 32 weights. */
export const weightBytes: Readonly<Record<IntegerFormat, number>> = {
  int8: X_GROUP,
  int4: X_GROUP / 2,
};

/** What one function is made for. */
export interface IntegerDotSpec extends DotMemories {
  readonly format: IntegerFormat;
  readonly rows: DotRows;
  /** Neighbours of a weight row that share a scale, a multiple of 32. */
  readonly group: number;
  readonly depth: number;
  readonly relaxed: boolean;
}

/** Where a group's codes are: rows of x and of weights, and a register with the lower halves of all bytes. */
export interface GroupOperands {
  readonly xs: readonly Local[];
  readonly weights: readonly Local[];
  readonly low: Local;
}

/** A register for each weight row and row of x, `[column][row]`. */
export type Sums = readonly (readonly Local[])[];

/** Whether sums of 32 products are in eight 16-bit lanes, not in four. */
export const inHalves = ({ format, relaxed }: IntegerDotSpec): boolean =>
  format === "int4" && relaxed;

/** Pushes some of 32 weights, those that meet register `i` of x's codes. */
function pushWeights(
  f: FunctionBuilder,
  { format, memory }: IntegerDotSpec,
  { weights: [weight, offset], low }: { weights: readonly [Local, number]; low: Local },
  i: number,
): void {
  f.get(weight);
  if (format === "int8") {
    f.memory("v128.load8x8_s", offset + i * 8, 0, memory);
    return;
  }
  f.memory("v128.load", offset, 0, memory);
  if (i > 0) {
    f.i32(4);
    f.op("i16x8.shr_u");
  }
  f.get(low);
  f.op("v128.and");
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

/** Emits the sums of a group, `[column][row]`, of some columns: what is loaded meets all that it has to. */
export function emitSums(
  f: FunctionBuilder,
  spec: IntegerDotSpec,
  { xs, weights, low }: GroupOperands,
  group: number,
): Sums {
  const { format } = spec;
  const sums = weights.map(() => xs.map(() => f.local("v128")));
  for (let i = 0; i < codeBytes[format] / 16; i++) {
    const left = xs.map((x) => {
      f.get(x);
      f.memory("v128.load", group * codeBytes[format] + i * 16);
      return f.save("v128");
    });
    weights.forEach((weight, column) => {
      pushWeights(f, spec, { weights: [weight, group * weightBytes[format]], low }, i);
      const right = f.save("v128");
      left.forEach((x, row) => {
        const sum = sums[column]![row]!;
        pushProducts(f, spec, x, right);
        if (i > 0) {
          f.get(sum);
          f.op(inHalves(spec) ? "i16x8.add" : "i32x4.add");
        }
        f.set(sum);
      });
    });
  }
  return sums;
}

/** How lanes of two registers, 0–3 and 4–7, are put beside each other before they are added. */
type Orders = readonly (readonly [number, number, number, number])[];

function folded(f: FunctionBuilder, spec: IntegerDotSpec, a: Sums, b: Sums, orders: Orders): Sums {
  return a.map((ofColumn, column) =>
    ofColumn.map((sum, row) => {
      orders.forEach((order, i) => {
        f.get(sum);
        f.get(b[column]![row]!);
        f.shuffle32(...order);
        if (i > 0) f.op(inHalves(spec) ? "i16x8.add" : "i32x4.add");
      });
      return f.save("v128");
    }),
  );
}

/** Sums of two groups in turns, `[a, b, a, b]`. */
export const foldPair = (f: FunctionBuilder, spec: IntegerDotSpec, a: Sums, b: Sums): Sums =>
  folded(f, spec, a, b, [
    [0, 4, 1, 5],
    [2, 6, 3, 7],
  ]);

/** Sums of four groups, a lane for each, from those of two pairs. */
export const foldQuad = (f: FunctionBuilder, spec: IntegerDotSpec, a: Sums, b: Sums): Sums =>
  folded(f, spec, a, b, [
    [0, 1, 4, 5],
    [2, 3, 6, 7],
  ]);
