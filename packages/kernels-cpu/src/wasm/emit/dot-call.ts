/**
 * What functions of dot products have in common: how they are called, where rows of x lie, how sums are stored. In: addresses.
 * Out: locals, and sums in memory. Knows nothing of formats.
 */
import type { DotRows } from "../configure/dots.ts";
import { DOT_COLUMNS } from "../configure/dots.ts";
import type { Signature } from "./assembler.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";

/** A part of a function's name; none where everything is in one memory. */
export const namedMemories = (...memories: readonly number[]): string =>
  memories.some((memory) => memory > 0) ? ` of memory ${memories.join(" and ")}` : "";

/** All columns are those from the first one on: four at a time, one of each quarter. Steps are in bytes. */
const PARAMETERS = [
  "x",
  /** From one row of x to the next. */
  "xStep",
  /** In elements. */
  "depth",
  /** The sum of the first column; those of the next ones are its neighbours. */
  "out",
  /** From one row's sums to the next. */
  "rowStep",
  /** Memory for sums in parts, `PARTS_BYTES` each. */
  "parts",
  "columns",
  /** Columns of a quarter. The last quarters may be shorter, and have the last column again and again instead. */
  "apart",
  /** Which columns of each quarter: from this one on, up to that one. */
  "first",
  "end",
  /** The first weight row. */
  "weights",
  "weightStep",
] as const;
const OF_SCALES = [
  /** Those of the first weight row. */
  "scales",
  /** From them to the next ones. */
  "scaleStep",
  /** Weight rows before the first one that share its scales; only where several do. */
  "skipped",
] as const;

type DotParameter = (typeof PARAMETERS)[number] | (typeof OF_SCALES)[number];
export type DotParameters = Readonly<Record<DotParameter, Local>>;

/** Of scales there are two parameters, or three where weight rows share them. */
export function dotSignature(ofScales: 0 | 2 | 3): Signature {
  const count = PARAMETERS.length + ofScales;
  return { params: Array.from({ length: count }, () => "i32" as const), results: [] };
}

/** The parameters by their names; those of scales only where there are any. */
export function dotParameters({ params }: FunctionBuilder): DotParameters {
  const names: readonly DotParameter[] = [...PARAMETERS, ...OF_SCALES];
  return Object.fromEntries(params.map((local, i) => [names[i]!, local])) as DotParameters;
}

/** Pushes the arguments of a call for one column of each quarter. */
export function pushForColumn(f: FunctionBuilder, column: Local): void {
  f.params.forEach((local, i) => {
    const name = PARAMETERS[i];
    f.get(name === "first" || name === "end" ? column : local);
    if (name !== "end") return;
    f.i32(1);
    f.op("i32.add");
  });
}

/** Runs `body` for the columns, one of each quarter at a time: its number in the first, and the numbers of all four. */
export function eachColumn(
  f: FunctionBuilder,
  { columns, apart, first, end }: DotParameters,
  body: (column: Local, all: readonly Local[]) => void,
): void {
  f.get(columns);
  f.i32(1);
  f.op("i32.sub");
  const last = f.save("i32");
  f.get(first);
  const column = f.save("i32");
  f.repeat((again) => {
    const all = Array.from({ length: DOT_COLUMNS }, (_, quarter) => {
      f.get(column);
      f.get(apart);
      f.i32(quarter);
      f.op("i32.mul", "i32.add");
      const wanted = f.save("i32");
      for (const local of [wanted, last, wanted, last]) f.get(local);
      f.op("i32.lt_s", "select");
      return f.save("i32");
    });
    body(column, all);
    f.increment(column, 1);
    f.get(column);
    f.get(end);
    f.op("i32.lt_s");
    f.brIf(again);
  });
}

/** Addresses, which may move, of what belongs to columns. */
export function addressesOf(
  f: FunctionBuilder,
  columns: readonly Local[],
  start: Local,
  step: Local,
): readonly Local[] {
  return columns.map((column) => {
    f.get(start);
    f.get(column);
    f.get(step);
    f.op("i32.mul", "i32.add");
    return f.save("i32");
  });
}

/** Addresses of the rows of x. */
export function rowsOf(
  f: FunctionBuilder,
  { x, xStep }: DotParameters,
  rows: DotRows,
): readonly Local[] {
  return Array.from({ length: rows }, (_, row) => {
    f.get(x);
    f.get(xStep);
    f.i32(row);
    f.op("i32.mul", "i32.add");
    return f.save("i32");
  });
}

/** Pushes a register whose lanes are all the sum of the lanes of another. */
export function pushAcross(
  f: FunctionBuilder,
  register: Local,
  add: "f32x4.add" | "i32x4.add",
): void {
  const pushSwapped = (sums: Local, lanes: readonly [number, number, number, number]): void => {
    f.get(sums);
    f.get(sums);
    f.get(sums);
    f.shuffle32(...lanes);
    f.op(add);
  };
  pushSwapped(register, [2, 3, 0, 1]);
  pushSwapped(f.save("v128"), [1, 0, 3, 2]);
}

/** Stores the sum of the lanes of each register that is pushed, `[column][row]`, times a constant. */
export function storeTotals(
  f: FunctionBuilder,
  { out, rowStep }: DotParameters,
  columns: readonly Local[],
  totals: readonly (readonly (() => void)[])[],
  scale: number,
): void {
  totals.forEach((ofColumn, at) =>
    ofColumn.forEach((push, row) => {
      push();
      const total = f.save("v128");
      f.get(columns[at]!);
      f.i32(4);
      f.op("i32.mul");
      f.get(out);
      f.op("i32.add");
      f.get(rowStep);
      f.i32(row);
      f.op("i32.mul", "i32.add");
      pushAcross(f, total, "f32x4.add");
      if (scale !== 1) {
        f.f32x4(scale);
        f.op("f32x4.mul");
      }
      f.memoryLane("v128.store32_lane", 0);
    }),
  );
}
