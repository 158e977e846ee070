/**
 * Dot products of a few packed rows with a few rows of weights: f32, or narrower floats that are widened in registers, once for all
 * rows. In: addresses. Out: sums in memory. Each sum is added up in partial sums, which take elements of the depth in turn, in an
 * order that depends on the format only: neither on the rows that come with it, nor on f16 and bf16 storage.
 *
 * Where a row of weights holds a code that is not widened rightly, such as NaN, sums are computed again, exactly.
 */
import type { DotRows } from "../configure/dots.ts";
import { DOT_COLUMNS, DOT_DEPTH, PARTS_BYTES } from "../configure/dots.ts";
import type { DotParameters } from "./dot-call.ts";
import {
  addressesOf,
  dotParameters,
  dotSignature,
  eachColumn,
  namedMemories,
  pushForColumn,
  rowsOf,
  storeTotals,
} from "./dot-call.ts";
import type { DotFormat, Push, Units, Widening } from "./dot-formats.ts";
import {
  pushFound,
  startWidening,
  sumScale,
  unitsOf,
  widen,
  widenExactly,
  widths,
} from "./dot-formats.ts";
import type { FunctionBuilder, FunctionRef, Local } from "./function-builder.ts";
import type { Library } from "./library.ts";
import { multiplyAdd } from "./micro-kernel.ts";

/** Scales as a function reads them: one for every `block` elements of the depth and `shared` weight rows. */
interface SpecScales {
  readonly block: number;
  readonly shared: number | undefined;
  /** Number of the memory that they lie in. */
  readonly memory: number;
}

/** What one function is made for. */
export interface DotSpec {
  readonly format: DotFormat;
  readonly rows: DotRows;
  /** Number of the memory that weights lie in. Rows of x and sums are in memory 0. */
  readonly memory: number;
  readonly scales: SpecScales | undefined;
  readonly relaxed: boolean;
  /** For an engine that joins pairs of registers. */
  readonly wide: boolean;
  /** Any code, not only finite ones. */
  readonly exact?: boolean;
}

/**
 * A sum in two parts, which take every other register: one's addition need not wait for the last one's. An engine may join them in
 * one register of 256 bits, for all that is done to them is the same, and what they are loaded from are neighbours.
 */
type Sum = readonly [Local, Local];
/** `[column][row]`. */
type Sums = readonly (readonly Sum[])[];

/** What moves along the depth, and sums. */
interface Work {
  readonly xs: readonly Local[];
  readonly weights: readonly Local[];
  readonly sums: Sums;
}

/** Emits what some registers of a turn add to the sums. */
function emitUnits(
  f: FunctionBuilder,
  library: Library,
  { format, relaxed, memory }: DotSpec,
  widening: Widening | undefined,
  { xs, weights, sums }: Work,
  units: readonly (readonly number[])[],
): void {
  const loadX = (x: Local, register: number): Local => {
    f.get(x);
    f.memory("v128.load", register * 16);
    return f.save("v128");
  };
  const widened = (column: number, unit: readonly number[]): readonly Push[] => {
    const place = { address: weights[column]!, memory };
    return widening
      ? widen(f, format, widening, place, unit)
      : widenExactly(f, library, format as "f16" | "e4m3fn", place, unit);
  };
  const use = (sum: Sum, register: number, push: Push, x: Local): void =>
    multiplyAdd(f, relaxed, sum[register % 2]!, push, () => f.get(x));

  for (const unit of units) {
    if (xs.length === 1) {
      const held = unit.map((register) => loadX(xs[0]!, register));
      sums.forEach(([sum], column) =>
        widened(column, unit).forEach((push, i) => use(sum!, unit[i]!, push, held[i]!)),
      );
      continue;
    }
    const held = sums.map((_, column) =>
      widened(column, unit).map((push) => {
        push();
        return f.save("v128");
      }),
    );
    unit.forEach((register, i) =>
      xs.forEach((address, row) => {
        const x = loadX(address, register);
        sums.forEach((ofColumn, column) =>
          use(ofColumn[row]!, register, () => f.get(held[column]![i]!), x),
        );
      }),
    );
  }
}

const clear = (f: FunctionBuilder, sums: Sums): void => {
  for (const part of sums.flat(2)) {
    f.f32x4(0);
    f.set(part);
  }
};

/** Addresses of the scales of columns. */
function scalesOf(
  f: FunctionBuilder,
  { scales, scaleStep, skipped }: DotParameters,
  columns: readonly Local[],
  shared: number | undefined,
): readonly Local[] {
  if (shared === undefined) return addressesOf(f, columns, scales, scaleStep);
  const blocks = columns.map((column) => {
    f.get(column);
    f.get(skipped);
    f.op("i32.add");
    f.i32(shared);
    f.op("i32.div_u");
    return f.save("i32");
  });
  return addressesOf(f, blocks, scales, scaleStep);
}

function body(f: FunctionBuilder, library: Library, spec: DotSpec): void {
  const { format, rows, scales, relaxed, wide, exact = false } = spec;
  const given = dotParameters(f);
  const makeSums = (): Sums =>
    Array.from({ length: DOT_COLUMNS }, () =>
      Array.from({ length: rows }, (): Sum => [f.local("v128"), f.local("v128")]),
    );
  const sums = makeSums();
  /** Sums times their scales, of all blocks so far. */
  const totals = scales ? makeSums() : sums;
  const widening = exact ? undefined : startWidening(f, format, relaxed, wide);
  const units = unitsOf(format, wide || exact);
  const ofPart = (part: number): Units =>
    units
      .map((unit) => unit.filter((register) => register % 2 === part))
      .filter((unit) => unit.length > 0);
  const offsetOf = (column: number, row: number): number => (column * rows + row) * PARTS_BYTES;
  const joined = totals.map((ofColumn, column) =>
    ofColumn.map((_, row) => (): void => {
      for (const part of [0, 1]) {
        f.get(given.parts);
        f.memory("v128.load", offsetOf(column, row) + part * 16);
      }
      f.op("f32x4.add");
    }),
  );

  eachColumn(f, given, (column, all) => {
    const weights = addressesOf(f, all, given.weights, given.weightStep);
    const xs = rowsOf(f, given, rows);
    f.get(xs[0]!);
    f.get(given.depth);
    f.i32(4);
    f.op("i32.mul", "i32.add");
    const last = f.save("i32");
    /** Turns until the first row of x has come to an address. */
    const run = (end: Local): void =>
      f.repeat((again) => {
        // With several rows there are registers for one part of the sums only.
        for (const some of rows > 1 ? [ofPart(0), ofPart(1)] : [units])
          emitUnits(f, library, spec, widening, { xs, weights, sums }, some);
        for (const x of xs) f.increment(x, DOT_DEPTH * 4);
        for (const weight of weights) f.increment(weight, DOT_DEPTH * widths[format]);
        f.get(xs[0]!);
        f.get(end);
        f.op("i32.ne");
        f.brIf(again);
      });
    clear(f, totals);
    if (!scales) run(last);
    else {
      const factors = scalesOf(f, given, all, scales.shared);
      f.repeat((again) => {
        clear(f, sums);
        // The last block may be shorter.
        f.get(xs[0]!);
        f.i32(scales.block * 4);
        f.op("i32.add");
        const wanted = f.save("i32");
        for (const local of [wanted, last, wanted, last]) f.get(local);
        f.op("i32.lt_u", "select");
        run(f.save("i32"));
        factors.forEach((factor, at) => {
          f.get(factor);
          f.memory("v128.load32_splat", 0, undefined, scales.memory);
          const scale = f.save("v128");
          totals[at]!.forEach((total, row) =>
            total.forEach((into, part) =>
              multiplyAdd(
                f,
                relaxed,
                into,
                () => f.get(sums[at]![row]![part]!),
                () => f.get(scale),
              ),
            ),
          );
          f.increment(factor, 4);
        });
        f.get(xs[0]!);
        f.get(last);
        f.op("i32.ne");
        f.brIf(again);
      });
    }
    // Stores to neighbours are where an engine begins to join.
    totals.forEach((ofColumn, at) =>
      ofColumn.forEach((sum, row) => {
        for (const part of [1, 0]) {
          f.get(given.parts);
          f.get(sum[part]!);
          f.memory("v128.store", offsetOf(at, row) + part * 16);
        }
      }),
    );
    const store = (): void => storeTotals(f, given, all, joined, sumScale(format));
    if (!widening?.largest) {
      store();
      return;
    }
    pushFound(f, format, widening.largest);
    f.ifElse(() => {
      pushForColumn(f, column);
      f.call(dotFunction(library, { ...spec, exact: true }));
      for (const most of new Set(widening.largest)) {
        f.i32x4(0);
        f.set(most);
      }
    }, store);
  });
}

/** The function for a number of rows of x. The depth is a multiple of 32. */
export function dotFunction(library: Library, spec: DotSpec): FunctionRef {
  const { format, rows, memory, scales, relaxed, wide, exact } = spec;
  const block = scales ? ` in blocks of ${scales.block} by ${scales.shared ?? 1}` : "";
  const how = `${relaxed ? " fused" : ""}${wide ? " in pairs" : ""}${exact ? " exact" : ""}`;
  return library.get({
    name: `dot ${format}${block}, ${rows} rows${how}${namedMemories(memory, scales?.memory ?? 0)}`,
    signature: dotSignature(scales ? (scales.shared === undefined ? 2 : 3) : 0),
    body: (f) => body(f, library, spec),
  });
}
