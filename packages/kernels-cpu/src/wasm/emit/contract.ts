/**
 * Matrix products. In: a contract statement and its block sizes. Out: loops over blocks that pack both operands into panels and
 * call the inner tile, then the statement's body on the finished sums; or, for few rows, the path without panels.
 * The order of additions depends on the sizes only.
 */
import type { Contract } from "@millrace/graph";
import type { ContractChoice } from "../configure/contract.ts";
import { LOW_ROWS, LOW_TILE_ROWS, TILE_ROWS } from "../configure/contract.ts";
import type { SumsOfBlock } from "./tile-sums.ts";
import { directSums, finishBlock, fullPanels, tileStretches } from "./tile-sums.ts";
import { emitFewRows } from "./few-rows.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { TILE_DEPTH, tiles } from "./micro-kernel.ts";
import { packPanels } from "./packing.ts";
import type { Product } from "./product.ts";
import type { Sharing } from "./sharing.ts";
import { unshared } from "./sharing.ts";
import { arithmeticOf, each, eachBlock, productOf } from "./product.ts";
import type { Value } from "./values.ts";

/** The product by tiles. */
export function emitBlocked(
  k: KernelEmitter,
  product: Product,
  { eachPacked, eachRows, meet }: Sharing = unshared(k),
): void {
  const { add, mul, groups } = arithmeticOf(k);
  const { rows, columns, depth, rhs, choice, scratch } = product;
  const { tileColumns } = choice;

  eachBlock(k, columns.length, choice.columnBlock, (columnOffset, columnCount) => {
    const firstColumn = add(columns.first, columnOffset);
    const columnPanels = groups(columnCount, tileColumns);
    /** The packed right side, block by block in depth, panel by panel in columns. */
    const packed = (depthOffset: Value): Value =>
      add(mul(depthOffset, columnPanels, tileColumns * 4), scratch.rhs);

    eachPacked(columnCount, choice.columnBlock, (offset, count) =>
      eachDepthBlock(k, product, (depthOffset, depthCount, steps) => {
        packPanels(k, rhs, {
          width: tileColumns,
          address: add(packed(depthOffset), mul(offset, steps, 4)),
          first: add(firstColumn, offset),
          length: count,
          multiple: columns.multiple ?? 1,
          depthAxis: depth.axis,
          firstDepth: add(depth.first, depthOffset),
          depth: depthCount,
          paddedDepth: steps,
        });
      }),
    );
    meet();

    eachRows(rows.length, choice.rowBlock, (offset, count) => {
      const block = { ...rows, first: add(rows.first, offset), length: count };
      for (const part of rowParts(k, { ...product, rows: block }))
        emitTiles(k, part, { first: firstColumn, count: columnCount, packed });
    });
    meet();
  });
}

/** Blocks of the depth: offset, length, and the length that panels have. */
function eachDepthBlock(
  k: KernelEmitter,
  { depth: { length }, choice }: Product,
  body: (offset: Value, count: Value, steps: Value) => void,
): void {
  const { mul, groups } = arithmeticOf(k);
  // Every block's depth is a whole number of steps when the depth is: then there is nothing to pad.
  const whole = length.kind === "constant" && length.value % TILE_DEPTH === 0;
  eachBlock(k, length, choice.depthBlock, (offset, count) =>
    body(offset, count, whole ? count : mul(groups(count, TILE_DEPTH), TILE_DEPTH)),
  );
}

/** The rows of a block that tiles of 6 take, and those that tiles of 4 take. */
function rowParts(k: KernelEmitter, product: Product): readonly Product[] {
  const { table } = k;
  const { add, sub, min } = arithmeticOf(k);
  const { rows } = product;
  const { length, multiple = 1 } = rows;
  if (length.kind === "constant" ? length.value % TILE_ROWS === 0 : multiple % TILE_ROWS === 0)
    return [product];
  const remainder = table.apply("rem", [length, table.integer(TILE_ROWS)]);
  const fitting = LOW_ROWS.reduceRight<Value>((otherwise, low, at) => {
    const isAt = table.apply("eq", [remainder, table.integer(at)]);
    return table.apply("select", [isAt, table.integer(low), otherwise]);
  }, table.integer(0));
  const low = min(fitting, length);
  const high = sub(length, low);
  return [
    { ...product, rows: { ...rows, length: high, multiple: TILE_ROWS } },
    {
      ...product,
      rows: { ...rows, first: add(rows.first, high), length: low, multiple: 1 },
      tileRows: LOW_TILE_ROWS,
    },
  ];
}

/** Columns of a product whose right side is packed: for each block of the depth where. */
interface PackedColumns {
  readonly first: Value;
  readonly count: Value;
  readonly packed: (depthOffset: Value) => Value;
}

/** The tiles of a block of rows, and the body on their sums. */
function emitTiles(k: KernelEmitter, product: Product, right: PackedColumns): void {
  const { f, e, table } = k;
  const { add, mul, groups } = arithmeticOf(k);
  const { rows, columns, depth, lhs, choice, scratch, tileRows } = product;
  const direct = directSums(k, product);
  const rowOfTiles = k.input.library.get(tiles(tileRows, choice.tileColumns, k.input.relaxed));
  const block: SumsOfBlock = {
    firstRow: rows.first,
    rows: rows.length,
    fullRows: fullPanels(k, rows, rows.length, tileRows),
    firstColumn: right.first,
    columns: right.count,
    fullColumns: fullPanels(k, columns, right.count, choice.tileColumns),
  };
  eachDepthBlock(k, product, (depthOffset, depthCount, steps) => {
    packPanels(k, lhs, {
      width: tileRows,
      address: scratch.lhs,
      first: rows.first,
      length: rows.length,
      multiple: rows.multiple ?? 1,
      depthAxis: depth.axis,
      firstDepth: add(depth.first, depthOffset),
      depth: depthCount,
      paddedDepth: steps,
    });
    const isLast = table.apply("eq", [add(depthOffset, depthCount), depth.length]);
    const whereLast = (addend: Value): Value =>
      table.apply("select", [isLast, addend, table.integer(0)]);
    eachBlock(k, right.count, choice.streamColumns, (offset, count) => {
      const full = fullPanels(k, columns, count, choice.tileColumns);
      each(k, groups(rows.length, tileRows), (rowPanel) => {
        const left = add(mul(rowPanel, steps, tileRows * 4), scratch.lhs);
        const stretches = tileStretches(k, product, direct, block, rowPanel, {
          offset,
          count,
          full,
        });
        for (const stretch of stretches) {
          e.emit(left);
          e.emit(add(left, mul(steps, tileRows * 4)));
          e.emit(add(right.packed(depthOffset), mul(stretch.offset, steps, 4)));
          e.emit(stretch.address);
          e.emit(stretch.rowBytes);
          e.emit(stretch.panels);
          e.emit(depthOffset);
          e.emit(whereLast(stretch.addend));
          e.emit(stretch.addendBytes);
          f.call(rowOfTiles);
        }
      });
    });
  });
  finishBlock(k, product, direct, block);
}

/** Sums of nothing: a product without depth still runs its body, on zeros. */
export function clearSums(k: KernelEmitter, product: Product): void {
  const { f, e } = k;
  const { depth, choice, scratch } = product;
  if (depth.length.kind === "constant" && depth.length.value > 0) return;
  e.emit(depth.length);
  f.op("i32.eqz");
  f.ifElse(() => {
    e.emit(scratch.sums);
    f.i32(0);
    f.i32(choice.rowBlock * choice.columnBlock * 4);
    f.memoryFill();
  });
}

/**
 * Takes the path for few rows, or the one by tiles. Both add in the order of the depth, so which one is taken shows in
 * the time only. `known` is the number of rows, or one that is as good as theirs for choosing.
 */
export function choosePath(
  k: KernelEmitter,
  { rows: { length }, choice }: Product,
  known: number | undefined,
  fewRows: () => void,
  blocked: () => void,
): void {
  const { f, e } = k;
  if (choice.dots) {
    fewRows();
    return;
  }
  const few = choice.fewRows;
  if (known !== undefined && known > few) blocked();
  else if (few === 0) {
    // No rows, nothing to pack: an expert without tokens.
    e.emit(length);
    f.ifElse(() => e.branch(blocked));
  } else if (known !== undefined || choice.maxRows <= few) fewRows();
  else {
    e.emit(length);
    f.i32(few);
    f.op("i32.le_s");
    f.ifElse(
      () => e.branch(fewRows),
      () => e.branch(blocked),
    );
  }
}

/** The number of rows, if it is known. */
export const knownRows = ({ rows: { length } }: Product): number | undefined =>
  length.kind === "constant" ? length.value : undefined;

/** A contract statement. */
export function emitContract(k: KernelEmitter, statement: Contract, choice: ContractChoice): void {
  const product = productOf(k, statement, choice);
  clearSums(k, product);
  choosePath(
    k,
    product,
    knownRows(product),
    () => emitFewRows(k, product),
    () => emitBlocked(k, product),
  );
}
