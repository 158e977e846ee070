/**
 * Dot products of a few packed rows with a few rows of weights: f32, or narrower floats that are widened in registers, once for all
 * rows. In: addresses. Out: sums in memory. Each sum is added up in partial sums, which take elements of the depth in turn, in an
 * order that depends on the format only: neither on the rows that come with it, nor on f16 and bf16 storage.
 *
 * Where a row of weights holds a code that is not widened rightly, such as NaN, the sums of this call are computed again, exactly.
 */
import type { DotRows } from "../configure/dots.ts";
import { DOT_DEPTH, PARTS_BYTES } from "../configure/dots.ts";
import type { DotMemories } from "./dot-call.ts";
import {
  copyLocal,
  dotParameters,
  dotSignature,
  namedMemories,
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

/** What one function is made for. */
export interface DotSpec extends DotMemories {
  readonly format: DotFormat;
  readonly rows: DotRows;
  /** Elements of the depth that share a scale; undefined without scales. */
  readonly block: number | undefined;
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

/** What moves along the depth, and sums `[column][row]`. */
interface Work {
  readonly xs: readonly Local[];
  readonly weights: readonly Local[];
  readonly sums: readonly (readonly Sum[])[];
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

function body(f: FunctionBuilder, library: Library, spec: DotSpec): void {
  const { format, rows, block, relaxed, wide, exact = false } = spec;
  const given = dotParameters(f);
  const weights = given.weights.map((local) => copyLocal(f, local));
  const scales = given.scales.map((local) => copyLocal(f, local));
  const left = copyLocal(f, given.depth);
  const xs = rowsOf(f, given, rows);
  const widening = exact ? undefined : startWidening(f, format, relaxed, wide);
  const clear = (local: Local): void => {
    f.f32x4(0);
    f.set(local);
  };
  const zero = (): Local => {
    const local = f.local("v128");
    clear(local);
    return local;
  };
  const sums = weights.map(() => xs.map((): Sum => [zero(), zero()]));
  const units = unitsOf(format, wide || exact);
  const ofPart = (part: number): Units =>
    units
      .map((unit) => unit.filter((register) => register % 2 === part))
      .filter((unit) => unit.length > 0);

  /** Runs along the depth as far as `pushCount` says. */
  const run = (pushCount: () => void): void => {
    f.get(xs[0]!);
    pushCount();
    f.i32(4);
    f.op("i32.mul", "i32.add");
    const last = f.save("i32");
    f.repeat((again) => {
      // With several rows there are registers for one part of the sums only.
      for (const some of rows > 1 ? [ofPart(0), ofPart(1)] : [units])
        emitUnits(f, library, spec, widening, { xs, weights, sums }, some);
      for (const x of xs) f.increment(x, DOT_DEPTH * 4);
      for (const weight of weights) f.increment(weight, DOT_DEPTH * widths[format]);
      f.get(xs[0]!);
      f.get(last);
      f.op("i32.ne");
      f.brIf(again);
    });
  };

  // What the blocks add up to is in memory, for it has no registers; stores to neighbours are where an engine begins to join.
  const eachSum = (visit: (sum: Sum, column: number, offset: number) => void): void =>
    sums.forEach((ofColumn, column) =>
      ofColumn.forEach((sum, row) => visit(sum, column, (column * rows + row) * PARTS_BYTES)),
    );
  const loadPart = (offset: number): void => {
    f.get(given.parts);
    f.memory("v128.load", offset);
  };
  const storeParts = ([low, high]: Sum, offset: number): void => {
    f.get(given.parts);
    f.get(high);
    f.memory("v128.store", offset + 16);
    f.get(given.parts);
    f.get(low);
    f.memory("v128.store", offset);
  };
  if (block === undefined) {
    run(() => f.get(left));
    eachSum((sum, _, offset) => storeParts(sum, offset));
  } else {
    eachSum((sum, _, offset) => storeParts(sum, offset));
    f.repeat((again) => {
      // The last block may be shorter.
      run(() => {
        f.i32(block);
        f.get(left);
        f.i32(block);
        f.get(left);
        f.op("i32.lt_s", "select");
      });
      eachSum((sum, column, offset) => {
        f.get(scales[column]!);
        f.memory("v128.load32_splat", 0, undefined, spec.scalesMemory);
        const scale = f.save("v128");
        const totals = sum.map((_, part) => {
          loadPart(offset + part * 16);
          return f.save("v128");
        }) as [Local, Local];
        totals.forEach((total, part) =>
          multiplyAdd(
            f,
            relaxed,
            total,
            () => f.get(sum[part]!),
            () => f.get(scale),
          ),
        );
        storeParts(totals, offset);
        sum.forEach(clear);
      });
      for (const scale of scales) f.increment(scale, 4);
      f.increment(left, -block);
      f.get(left);
      f.i32(0);
      f.op("i32.gt_s");
      f.brIf(again);
    });
  }

  const totals = weights.map((_, column) =>
    xs.map((__, row) => (): void => {
      const offset = (column * rows + row) * PARTS_BYTES;
      loadPart(offset);
      loadPart(offset + 16);
      f.op("f32x4.add");
    }),
  );
  const store = (): void => storeTotals(f, given, totals, sumScale(format));
  if (!widening?.largest) {
    store();
    return;
  }
  pushFound(f, format, widening.largest);
  f.ifElse(() => {
    for (const parameter of f.params) f.get(parameter);
    f.call(dotFunction(library, { ...spec, exact: true }));
  }, store);
}

/** The function for a number of rows of x. The depth is a multiple of 32. */
export function dotFunction(library: Library, spec: DotSpec): FunctionRef {
  const { format, rows, block, relaxed, wide, exact } = spec;
  const scaled = block === undefined ? "" : ` in blocks of ${block}`;
  const how = `${relaxed ? " fused" : ""}${wide ? " in pairs" : ""}${exact ? " exact" : ""}${namedMemories(spec)}`;
  return library.get({
    name: `dot ${format}${scaled}, ${rows} rows${how}`,
    signature: dotSignature(block !== undefined),
    body: (f) => body(f, library, spec),
  });
}
