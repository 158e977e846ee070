/**
 * Dot products of one or two rows of codes with rows of weights in 8 or 4 bits. In: addresses. Out: sums in memory. Codes are
 * multiplied and added as integers over 32 neighbours, without rounding. The sums of four such groups are brought into the lanes of
 * one register, multiplied by both scales, the weights' in bf16, and added up in f32; groups that are left are spread over the
 * lanes, one by one. What is rounded, and in which order, depends on nothing but the depth and the weight's groups.
 */
import { X_GROUP } from "../configure/dots.ts";
import {
  addressesOf,
  dotParameters,
  dotSignature,
  eachColumn,
  namedMemories,
  rowsOf,
  storeTotals,
} from "./dot-call.ts";
import { QUAD, QUAD_DEPTH, recordOf } from "./dot-codes.ts";
import type { FunctionBuilder, FunctionRef, Local } from "./function-builder.ts";
import type { GroupOperands, IntegerDotSpec, Sums } from "./group-sums.ts";
import { emitQuadSums, emitSums, startConstants, weightBytes } from "./group-sums.ts";
import type { Library } from "./library.ts";
import { multiplyAdd } from "./micro-kernel.ts";

/** A weight's scale is a bf16. */
const SCALE_BYTES = 2;
/** Weight rows of a quad on their way at once: so many as registers are enough for. */
const columnsTogether = ({ format, rows }: IntegerDotSpec): number =>
  format === "int4" ? 2 : 4 / rows;

/** How much of a depth is in records of four groups: those whose scales are found by one load. */
export const quadDepth = (group: number, depth: number): number =>
  group === X_GROUP || group === 2 * X_GROUP || group % QUAD_DEPTH === 0
    ? depth - (depth % QUAD_DEPTH)
    : 0;

/** What moves along the depth, and what is added up. */
interface Moving extends GroupOperands {
  readonly scales: readonly Local[];
  /** `[column][row]`. */
  readonly totals: Sums;
}

/** Adds sums times both scales to a total. */
function addToTotal(
  f: FunctionBuilder,
  spec: IntegerDotSpec,
  sums: Local,
  total: Local,
  correction: () => void,
  scales: readonly [() => void, () => void],
): void {
  f.get(sums);
  if (spec.format === "int4") {
    correction();
    f.op("i32x4.add");
  }
  f.op("f32x4.convert_i32x4_s");
  const sum = f.save("v128");
  for (const push of scales) push();
  f.op("f32x4.mul");
  const factor = f.save("v128");
  multiplyAdd(
    f,
    spec.relaxed,
    total,
    () => f.get(sum),
    () => f.get(factor),
  );
}

/** Four groups: their sums in the four lanes. `pushScales` pushes a column's scales for them. */
function emitQuad(
  f: FunctionBuilder,
  spec: IntegerDotSpec,
  moving: Moving,
  pushScales: (column: number) => void,
): void {
  const { format, wide } = spec;
  const { xs, weights, totals } = moving;
  const record = recordOf(format, QUAD, wide);
  const together = columnsTogether(spec);
  for (let first = 0; first < weights.length; first += together) {
    const some = { ...moving, weights: weights.slice(first, first + together) };
    const sums = emitQuadSums(f, spec, some);
    const held = (offset: number): readonly (() => void)[] =>
      xs.map((x) => {
        f.get(x);
        f.memory("v128.load", offset);
        const loaded = f.save("v128");
        return () => f.get(loaded);
      });
    const corrections = held(record.corrections);
    const factors = held(record.scales);
    sums.forEach((ofColumn, column) => {
      pushScales(first + column);
      const scales = f.save("v128");
      ofColumn.forEach((sum, row) => {
        const total = totals[first + column]![row]!;
        const both = [() => f.get(scales), factors[row]!] as const;
        addToTotal(f, spec, sum, total, corrections[row]!, both);
      });
    });
  }
  for (const x of xs) f.increment(x, record.bytes);
  for (const weight of weights) f.increment(weight, QUAD * weightBytes[format]);
}

/** Turns 16 bits in each 32-bit lane on the stack into the f32 that they are the upper half of. */
function widenScales(f: FunctionBuilder): void {
  f.i32(16);
  f.op("i32x4.shl");
}

/** Pushes the bf16 at the address on the stack, in all lanes. */
function pushSplat(f: FunctionBuilder, memory: number): void {
  f.memory("v128.load16_splat", 0, undefined, memory);
  widenScales(f);
}

/** One group: its sum is spread over the lanes. */
function emitGroup(f: FunctionBuilder, spec: IntegerDotSpec, moving: Moving): void {
  const { format, scalesMemory, wide } = spec;
  const { xs, weights, scales, totals } = moving;
  const record = recordOf(format, 1, wide);
  emitSums(f, spec, moving).forEach((ofColumn, column) =>
    ofColumn.forEach((sum, row) => {
      const ofWeight = (): void => {
        f.get(scales[column]!);
        pushSplat(f, scalesMemory);
      };
      const ofX = (): void => {
        f.get(xs[row]!);
        f.memory("v128.load32_splat", record.scales);
      };
      addToTotal(
        f,
        spec,
        sum,
        totals[column]![row]!,
        () => {
          f.get(xs[row]!);
          f.memory("v128.load32_zero", record.corrections);
        },
        [ofWeight, ofX],
      );
    }),
  );
  for (const x of xs) f.increment(x, record.bytes);
  for (const weight of weights) f.increment(weight, weightBytes[format]);
}

function body(f: FunctionBuilder, spec: IntegerDotSpec): void {
  const { rows } = spec;
  const given = dotParameters(f);
  const constants = startConstants(f);
  eachColumn(f, given, (_, all) => {
    const xs = rowsOf(f, given, rows);
    const moving: Moving = {
      xs,
      weights: addressesOf(f, all, given.weights, given.weightStep),
      scales: addressesOf(f, all, given.scales, given.scaleStep),
      totals: all.map(() =>
        xs.map(() => {
          f.f32x4(0);
          return f.save("v128");
        }),
      ),
      constants,
    };
    alongDepth(f, spec, moving);
    const totals = moving.totals.map((ofColumn) =>
      ofColumn.map((total) => (): void => f.get(total)),
    );
    storeTotals(f, given, all, totals, 1);
  });
}

/** The whole depth, added to the totals. */
function alongDepth(f: FunctionBuilder, spec: IntegerDotSpec, moving: Moving): void {
  const { format, group, depth, wide, scalesMemory } = spec;
  const { xs, scales } = moving;
  /** Repeats until the first row of x has moved on by so many bytes; no loop for one turn. */
  const along = (bytes: number, turn: number, emit: () => void): void => {
    if (bytes === turn) {
      emit();
      return;
    }
    f.get(xs[0]!);
    f.i32(bytes);
    f.op("i32.add");
    const end = f.save("i32");
    f.repeat((again) => {
      emit();
      f.get(xs[0]!);
      f.get(end);
      f.op("i32.ne");
      f.brIf(again);
    });
  };
  const advance = (bytes: number): void => {
    for (const scale of scales) f.increment(scale, bytes);
  };
  const inQuads = quadDepth(group, depth);
  if (inQuads > 0) {
    const record = recordOf(format, QUAD, wide);
    const quad = record.bytes;
    const lanes = [0, 1, 2, 3].map(record.lane) as [number, number, number, number];
    const reorder = record.lane(1) !== 1;
    const block = Math.max(group, QUAD_DEPTH);
    /** Pushes the numbers of four groups in a record's order, or back; it is its own opposite. */
    const inOrder = (numbers: Local): void => {
      f.get(numbers);
      f.get(numbers);
      f.shuffle32(...lanes);
    };
    /** Four scales: one each, each twice, or one for all. */
    const pushScales = (column: number): void => {
      f.get(scales[column]!);
      if (group === X_GROUP) {
        f.memory("v128.load16x4_u", 0, 1, scalesMemory);
        widenScales(f);
        if (reorder) inOrder(f.save("v128"));
      } else if (group === 2 * X_GROUP) {
        f.memory("v128.load32_zero", 0, 1, scalesMemory);
        f.op("i32x4.extend_low_i16x8_u");
        widenScales(f);
        const two = f.save("v128");
        f.get(two);
        f.get(two);
        const [a, b, c, d] = lanes;
        f.shuffle32(a >> 1, b >> 1, c >> 1, d >> 1);
      } else pushSplat(f, scalesMemory);
    };
    const ofBlock = (block / QUAD_DEPTH) * quad;
    along((inQuads / QUAD_DEPTH) * quad, ofBlock, () => {
      along(ofBlock, quad, () => emitQuad(f, spec, moving, pushScales));
      advance((block / group) * SCALE_BYTES);
    });
    if (reorder)
      for (const total of moving.totals.flat()) {
        inOrder(total);
        f.set(total);
      }
  }
  const rest = depth - inQuads;
  if (rest > 0) {
    const { bytes } = recordOf(format, 1, wide);
    const ofBlock = (group / X_GROUP) * bytes;
    along((rest / X_GROUP) * bytes, ofBlock, () => {
      along(ofBlock, bytes, () => emitGroup(f, spec, moving));
      advance(SCALE_BYTES);
    });
  }
}

/** The function for a number of rows of x. The depth is a multiple of the weight's group. */
export function integerDotFunction(library: Library, spec: IntegerDotSpec): FunctionRef {
  const { format, rows, memory, scalesMemory, group, depth, relaxed, wide } = spec;
  const how = `${relaxed ? " fused" : ""}${wide ? " in pairs" : ""}${namedMemories(memory, scalesMemory)}`;
  return library.get({
    name: `dot ${format}, ${depth} deep in groups of ${group}, ${rows} rows${how}`,
    signature: dotSignature(2),
    body: (f) => body(f, spec),
  });
}
