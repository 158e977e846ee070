/**
 * What functions of dot products have in common: how they are called, where rows of x lie, how sums are stored. In: addresses.
 * Out: locals, and sums in memory. Knows nothing of formats.
 */
import type { DotRows } from "../configure/dots.ts";
import { DOT_COLUMNS } from "../configure/dots.ts";
import type { Signature } from "./assembler.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";

/** Numbers of the memories that weights and their scales lie in. Rows of x and sums are in memory 0. */
export interface DotMemories {
  readonly memory: number;
  readonly scalesMemory: number;
}

/** A part of a function's name; none where everything is in one memory. */
export function namedMemories({ memory, scalesMemory }: DotMemories): string {
  return memory + scalesMemory > 0 ? ` in memories ${memory} and ${scalesMemory}` : "";
}

/** The parameters, in their order: steps are in bytes, the depth in elements. */
export interface DotParameters {
  readonly x: Local;
  /** From one row of x to the next. */
  readonly xStep: Local;
  readonly depth: Local;
  readonly out: Local;
  /** Memory for the sums in parts, `PARTS_BYTES` each. */
  readonly parts: Local;
  /** From one column's sum to the next. */
  readonly columnStep: Local;
  /** From one row's sum to the next. */
  readonly rowStep: Local;
  readonly weights: readonly Local[];
  readonly scales: readonly Local[];
}

const SINGLE = 7;

export function dotSignature(scaled: boolean): Signature {
  const count = SINGLE + DOT_COLUMNS * (scaled ? 2 : 1);
  return { params: Array.from({ length: count }, () => "i32" as const), results: [] };
}

export function dotParameters({ params }: FunctionBuilder): DotParameters {
  const [x, xStep, depth, out, columnStep, rowStep, parts] = params as [
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
  ];
  const weights = params.slice(SINGLE, SINGLE + DOT_COLUMNS);
  const scales = params.slice(SINGLE + DOT_COLUMNS);
  return { x, xStep, depth, out, parts, columnStep, rowStep, weights, scales };
}

/** A copy, which may move while the parameter stays. */
export function copyLocal(f: FunctionBuilder, local: Local): Local {
  f.get(local);
  return f.save("i32");
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
  { out, columnStep, rowStep }: DotParameters,
  totals: readonly (readonly (() => void)[])[],
  scale: number,
): void {
  totals.forEach((ofColumn, column) =>
    ofColumn.forEach((push, row) => {
      push();
      const total = f.save("v128");
      f.get(out);
      f.get(columnStep);
      f.i32(column);
      f.op("i32.mul", "i32.add");
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
