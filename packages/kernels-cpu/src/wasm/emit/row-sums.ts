/**
 * Products of a few packed rows with a right side that is contiguous along its columns. In: the rows, a block of columns. Out: rows
 * of sums in memory. Rows of the right side, each times one element, are added up in the order of the depth, so every
 * sum has the bits that the tiles would give it. The right side is read once for all rows, as it lies.
 */
import type { KernelEmitter } from "./kernel-emitter.ts";
import { multiplyAdd } from "./micro-kernel.ts";
import type { Product, SumBlock } from "./product.ts";
import { arithmeticOf, each } from "./product.ts";
import type { Value } from "./values.ts";

const DEPTH_UNROLL = 4;
/** Rows that a loaded part of the right side is multiplied with; more of them leave no registers for its elements. */
const ROWS = 2;

/** Registers of columns in one turn of the loop. */
const QUADS = 2;

/** A packed row, and its sums. */
export interface RowSums {
  readonly left: Value;
  readonly sums: Value;
}

type Columns = Omit<SumBlock, "sums">;

/** Adds `steps` rows of the right side, each times one element of each packed row, to the rows' sums. */
function addRows(
  k: KernelEmitter,
  product: Product,
  rows: readonly RowSums[],
  block: Columns,
  step: Value,
  steps: number,
): void {
  const { f, e } = k;
  const { add, mul, floorTo } = arithmeticOf(k);
  const { depth, rhs } = product;
  const factors = rows.map(({ left }) => {
    e.emit(add(left, mul(step, 4)));
    const at = f.save("i32");
    return Array.from({ length: steps }, (_, i) => {
      f.get(at);
      f.memory("v128.load32_splat", i * 4);
      return f.save("v128");
    });
  });
  const sums = rows.map(() => Array.from({ length: QUADS }, () => f.local("v128")));
  const right = f.local("v128");
  /** Some registers of columns, of which all lanes or the first are there. */
  const addColumns = (column: Value, quads: number, lanes: 4 | 1): void => {
    const targets = rows.map((row) => add(row.sums, mul(column, 4)));
    const places = rows.flatMap((_, row) =>
      Array.from({ length: quads }, (__, quad) => ({ row, quad, sum: sums[row]![quad]! })),
    );
    for (const { row, quad, sum } of places) {
      e.emit(targets[row]!);
      f.memory(lanes === 4 ? "v128.load" : "v128.load32_zero", quad * 16);
      f.set(sum);
    }
    for (let i = 0; i < steps; i++)
      for (let quad = 0; quad < quads; quad++) {
        const first = add(block.first, column, quad * 4);
        if (lanes === 4) k.bindLanes(rhs.side, first);
        else k.bind(rhs.side, first);
        k.bind(depth.axis, add(depth.first, step, i));
        e.emit(k.table.splat(k.value(rhs.expr)));
        f.set(right);
        rows.forEach((_, row) =>
          multiplyAdd(
            f,
            k.input.relaxed,
            sums[row]![quad]!,
            () => f.get(factors[row]![i]!),
            () => f.get(right),
          ),
        );
      }
    for (const { row, quad, sum } of places) {
      e.emit(targets[row]!);
      f.get(sum);
      if (lanes === 4) f.memory("v128.store", quad * 16);
      else f.memoryLane("v128.store32_lane", 0);
    }
  };
  const columnsFrom = (start: Value, end: Value, quads: number, lanes: 4 | 1): void =>
    e.loop({ start: k.bound(start), end: k.bound(end), step: quads * lanes }, (index) =>
      k.scoped(() => {
        const column = k.counter(index);
        if (lanes === 4) k.markAligned(column);
        addColumns(column, quads, lanes);
      }),
    );
  const wide = floorTo(block.count, QUADS * 4);
  const whole = floorTo(block.count, 4);
  columnsFrom(k.table.integer(0), wide, QUADS, 4);
  columnsFrom(wide, whole, 1, 4);
  columnsFrom(whole, block.count, 1, 1);
}

/** The sums of `count` rows; `rowOf` says where the ones of a row are. */
export function emitRowSums(
  k: KernelEmitter,
  product: Product,
  count: Value,
  rowOf: (row: Value) => RowSums,
  block: Columns,
): void {
  const { f, e } = k;
  const { add, sub, mul, floorTo } = arithmeticOf(k);
  const { length } = product.depth;
  each(k, count, (row) => {
    e.emit(rowOf(row).sums);
    f.i32(0);
    e.emit(mul(block.count, 4));
    f.memoryFill();
  });
  const together = floorTo(count, ROWS);
  const addSteps = (step: Value, steps: number): void => {
    const addFrom = (first: Value, rows: number): void => {
      const places = Array.from({ length: rows }, (_, i) => rowOf(add(first, i)));
      k.scoped(() => addRows(k, product, places, block, step, steps));
    };
    each(k, together, (row) => addFrom(row, ROWS), ROWS);
    each(k, sub(count, together), (row) => addFrom(add(together, row), 1));
  };
  const whole = floorTo(length, DEPTH_UNROLL);
  each(k, whole, (step) => addSteps(step, DEPTH_UNROLL), DEPTH_UNROLL);
  if (length.kind === "constant" && length.value % DEPTH_UNROLL === 0) return;
  e.loop({ start: k.bound(whole), end: k.bound(length) }, (index) => addSteps(k.counter(index), 1));
}
