/**
 * Matrix products. In: a contract statement and its block sizes. Out: loops over blocks that pack both operands into panels and
 * call the inner tile, then the statement's body on the finished sums; or, for few rows, the path without panels.
 * The order of additions depends on the sizes only.
 */
import type { Contract } from "@millrace/graph";
import type { ContractChoice } from "../configure/contract.ts";
import { TILE_COLUMNS, TILE_ROWS } from "../configure/contract.ts";
import type { SumsOfBlock } from "./tile-sums.ts";
import { directSums, finishBlock, fullPanels, tileStretches } from "./tile-sums.ts";
import { emitFewRows } from "./few-rows.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { fusedTiles, plainTiles, TILE_DEPTH } from "./micro-kernel.ts";
import { packPanels } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, productOf } from "./product.ts";
import type { Value } from "./values.ts";

/** The product by tiles. */
export function emitBlocked(k: KernelEmitter, product: Product): void {
  const { f, e } = k;
  const { add, mul, groups } = arithmeticOf(k);
  const { rows, columns, depth, lhs, rhs, choice, scratch } = product;
  const { rowBlock, columnBlock, streamColumns, depthBlock } = choice;
  const direct = directSums(k, product);
  const tiles = k.input.library.get(k.input.relaxed ? fusedTiles : plainTiles);
  const padded = (size: Value): Value =>
    size.kind === "constant" && size.value % TILE_DEPTH === 0
      ? size
      : mul(groups(size, TILE_DEPTH), TILE_DEPTH);
  // Every block's depth is a whole number of steps when the depth is: then there is nothing to pad.
  const whole = depth.length.kind === "constant" && depth.length.value % TILE_DEPTH === 0;
  const paddedDepth = (size: Value): Value => (whole ? size : padded(size));

  eachBlock(k, columns.length, columnBlock, (columnOffset, columnCount) => {
    const firstColumn = add(columns.first, columnOffset);
    const columnPanels = groups(columnCount, TILE_COLUMNS);
    /** The packed right side, block by block in depth, panel by panel in columns. */
    const rhsBlock = (depthOffset: Value): Value =>
      add(mul(depthOffset, columnPanels, TILE_COLUMNS * 4), scratch.rhs);

    eachBlock(k, depth.length, depthBlock, (depthOffset, depthCount) => {
      const steps = paddedDepth(depthCount);
      packPanels(k, rhs, {
        width: TILE_COLUMNS,
        address: rhsBlock(depthOffset),
        first: firstColumn,
        length: columnCount,
        multiple: columns.multiple ?? 1,
        depthAxis: depth.axis,
        firstDepth: add(depth.first, depthOffset),
        depth: depthCount,
        paddedDepth: steps,
      });
    });

    eachBlock(k, rows.length, rowBlock, (rowOffset, rowCount) => {
      const firstRow = add(rows.first, rowOffset);
      const rowPanels = groups(rowCount, TILE_ROWS);
      const block: SumsOfBlock = {
        firstRow,
        rows: rowCount,
        fullRows: fullPanels(k, rows, rowCount, TILE_ROWS),
        firstColumn,
        columns: columnCount,
        fullColumns: fullPanels(k, columns, columnCount, TILE_COLUMNS),
      };
      eachBlock(k, depth.length, depthBlock, (depthOffset, depthCount) => {
        const steps = paddedDepth(depthCount);
        packPanels(k, lhs, {
          width: TILE_ROWS,
          address: scratch.lhs,
          first: firstRow,
          length: rowCount,
          multiple: rows.multiple ?? 1,
          depthAxis: depth.axis,
          firstDepth: add(depth.first, depthOffset),
          depth: depthCount,
          paddedDepth: steps,
        });
        eachBlock(k, columnCount, streamColumns, (offset, count) => {
          const full = fullPanels(k, columns, count, TILE_COLUMNS);
          each(k, rowPanels, (rowPanel) => {
            const left = add(mul(rowPanel, steps, TILE_ROWS * 4), scratch.lhs);
            const stretches = tileStretches(k, product, direct, block, rowPanel, {
              offset,
              count,
              full,
            });
            for (const stretch of stretches) {
              e.emit(left);
              e.emit(add(left, mul(steps, TILE_ROWS * 4)));
              e.emit(add(rhsBlock(depthOffset), mul(stretch.offset, steps, 4)));
              e.emit(stretch.address);
              e.emit(stretch.rowBytes);
              e.emit(stretch.panels);
              e.emit(depthOffset);
              f.call(tiles);
            }
          });
        });
      });
      finishBlock(k, product, direct, block);
    });
  });
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
  const few = choice.packRhs === "none" ? 0 : choice.fewRows;
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
