/**
 * Where the sums of a block are added up, and what is done with them. In: a product. Out: for each tile an address: in memory of the
 * thread's own, from which the statement's body takes them, or, where the body only stores them in rows, right where they belong.
 * Panels that are not full always go the first way.
 */
import type { Expr } from "@millrace/graph";
import { TILE_COLUMNS } from "../configure/contract.ts";
import type { IndexPart } from "../configure/merge-index.ts";
import { mergeIndex } from "../configure/merge-index.ts";
import { variesWith } from "../configure/stride.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Extent, Product } from "./product.ts";
import { arithmeticOf, runBody } from "./product.ts";
import type { Value } from "./values.ts";

export interface DirectSums {
  readonly rowBytes: Value;
  /** Address of the sum of a row and a column; the columns of a row are neighbours. */
  readonly address: (row: Value, column: Value) => Value;
}

const isAxis = (part: IndexPart | undefined, axis: string): boolean =>
  part?.index.kind === "axis" && part.index.name === axis;

const dependsOn = (expr: Expr, axis: string): boolean =>
  variesWith(expr, { axis, lets: new Map(), varying: new Set() });

/** Undefined where the body does more than that, or there is nothing to add up. */
export function directSums(k: KernelEmitter, product: Product): DirectSums | undefined {
  const { statement, rows, columns, depth } = product;
  const [store, ...rest] = statement.body;
  if (store?.kind !== "store" || rest.length > 0) return undefined;
  if (store.value.kind !== "local" || store.value.name !== statement.result) return undefined;
  if (depth.length.kind === "constant" && depth.length.value === 0) return undefined;
  const { dtype, shape, strides, memory } = k.buffer(store.buffer);
  // Tiles know one memory, that of the thread's own sums.
  if (dtype !== "f32" || memory !== 0) return undefined;
  const parts = mergeIndex(store.index, shape);
  const row = parts.find((part) => isAxis(part, rows.axis));
  const column = parts.at(-1);
  if (!row || !isAxis(column, columns.axis) || column!.dimension !== shape.length - 1)
    return undefined;
  const others = parts.filter((part) => part !== row && part !== column);
  if (others.some(({ index }) => [rows, columns].some(({ axis }) => dependsOn(index, axis))))
    return undefined;
  const { add, mul } = arithmeticOf(k);
  return {
    rowBytes: mul(strides[row.dimension]!, 4),
    address: (rowIndex, columnIndex) => {
      let address: Value | undefined;
      k.scoped(() => {
        k.bind(rows.axis, rowIndex);
        k.bind(columns.axis, columnIndex);
        const access = k.access(store.buffer, store.index);
        address = add(access.address, access.offset);
      });
      return address!;
    },
  };
}

/** The panels of a block that are full, and whether all are. */
export interface FullPanels {
  readonly count: Value;
  readonly all: boolean;
}

export function fullPanels(
  k: KernelEmitter,
  { multiple = 1 }: Extent,
  length: Value,
  width: number,
): FullPanels {
  const even = length.kind === "constant" ? length.value % width === 0 : multiple % width === 0;
  return { count: k.table.apply("div", [length, k.table.integer(width)]), all: even };
}

/** A block of sums, tile by tile. */
export interface SumsOfBlock {
  readonly firstRow: Value;
  readonly rows: Value;
  readonly fullRows: FullPanels;
  readonly firstColumn: Value;
  readonly columns: Value;
  readonly fullColumns: FullPanels;
}

/** Columns of a block, from the given offset on. */
export interface ColumnStretch {
  readonly offset: Value;
  readonly count: Value;
  readonly full: FullPanels;
}

/** Tiles of one row that follow each other. */
export interface TileStretch {
  /** First column within the block. */
  readonly offset: Value;
  readonly panels: Value;
  /** Where the sums of the first tile begin, and the bytes from one row of them to the next. */
  readonly address: Value;
  readonly rowBytes: Value;
}

/** Where the sums of a row of tiles are added up. A second stretch is a panel of columns that is not full, or nothing. */
export function tileStretches(
  k: KernelEmitter,
  { scratch, choice, tileRows }: Product,
  direct: DirectSums | undefined,
  { firstRow, fullRows, firstColumn }: SumsOfBlock,
  rowPanel: Value,
  { offset, count, full }: ColumnStretch,
): readonly TileStretch[] {
  const { table } = k;
  const { add, sub, mul, groups } = arithmeticOf(k);
  const ownRow = add(mul(rowPanel, tileRows * choice.columnBlock * 4), scratch.sums);
  const own = (column: Value): Value => add(ownRow, mul(column, 4));
  const ownBytes = table.integer(choice.columnBlock * 4);
  const panels = groups(count, TILE_COLUMNS);
  if (!direct) return [{ offset, panels, address: own(offset), rowBytes: ownBytes }];
  const isFull = table.apply("lt", [rowPanel, fullRows.count]);
  const whereFull = (place: Value, otherwise: Value): Value =>
    fullRows.all ? place : table.apply("select", [isFull, place, otherwise]);
  const place = direct.address(add(firstRow, mul(rowPanel, tileRows)), add(firstColumn, offset));
  const stretch: TileStretch = {
    offset,
    panels: full.count,
    address: whereFull(place, own(offset)),
    rowBytes: whereFull(direct.rowBytes, ownBytes),
  };
  if (full.all) return [stretch];
  const rest = add(offset, mul(full.count, TILE_COLUMNS));
  return [
    stretch,
    { offset: rest, panels: sub(panels, full.count), address: own(rest), rowBytes: ownBytes },
  ];
}

/** Runs the body on the sums that are not where they belong yet: all of them, or those of panels that are not full. */
export function finishBlock(
  k: KernelEmitter,
  product: Product,
  direct: DirectSums | undefined,
  block: SumsOfBlock,
): void {
  const { f, e } = k;
  const { length } = product.depth;
  if (!direct) runBody(k, product, block);
  else if (length.kind === "constant") finishPanels(k, product, block);
  else {
    // No tile has been there where there is nothing to add up: an expert without tokens.
    e.emit(length);
    f.ifElse(
      () => e.branch(() => finishPanels(k, product, block)),
      () => e.branch(() => runBody(k, product, block)),
    );
  }
}

function finishPanels(
  k: KernelEmitter,
  product: Product,
  { firstRow, rows, fullRows, firstColumn, columns, fullColumns }: SumsOfBlock,
): void {
  const { add, sub, mul } = arithmeticOf(k);
  const { scratch, choice, tileRows } = product;
  const from = (offset: Value): Product => ({
    ...product,
    scratch: { ...scratch, sums: add(scratch.sums, offset) },
  });
  const [row, column] = [mul(fullRows.count, tileRows), mul(fullColumns.count, TILE_COLUMNS)];
  if (!fullRows.all)
    runBody(k, from(mul(row, choice.columnBlock * 4)), {
      firstRow: add(firstRow, row),
      rows: sub(rows, row),
      firstColumn,
      columns,
    });
  if (!fullColumns.all)
    runBody(k, from(mul(column, 4)), {
      firstRow,
      rows: row,
      firstColumn: add(firstColumn, column),
      columns: sub(columns, column),
    });
}
