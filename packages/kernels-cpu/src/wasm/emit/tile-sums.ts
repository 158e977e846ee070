/**
 * Where the sums of a block are added up, and what is done with them. In: a product. Out: for each tile an address: in memory of the
 * thread's own, from which the statement's body takes them, or, where the body only stores them in rows, or adds something in memory
 * first, right where they belong. Panels that are not full always go the first way.
 */
import type { Expr } from "@millrace/graph";
import type { IndexPart } from "../configure/merge-index.ts";
import { mergeIndex } from "../configure/merge-index.ts";
import { variesWith } from "../configure/stride.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Extent, Product } from "./product.ts";
import { arithmeticOf, runBody } from "./product.ts";
import type { Value } from "./values.ts";

/** A matrix in memory with the rows and columns of a product; the columns of a row are neighbours. */
interface Matrix {
  readonly rowBytes: Value;
  readonly address: (row: Value, column: Value) => Value;
}

/** Where sums are added up, and what is then added to them. */
export interface DirectSums extends Matrix {
  readonly addend?: Matrix;
}

const dependsOn = (expr: Expr, axis: string): boolean =>
  variesWith(expr, { axis, lets: new Map(), varying: new Set() });

/** Undefined where the body does more than that, or there is nothing to add up. */
export function directSums(k: KernelEmitter, product: Product): DirectSums | undefined {
  const { statement, depth, choice } = product;
  const [store, ...rest] = statement.body;
  if (store?.kind !== "store" || rest.length > 0) return undefined;
  if (depth.length.kind === "constant" && depth.length.value === 0) return undefined;
  const place = matrixOf(k, product, store);
  if (!place || isSum(product, store.value)) return place;
  if (store.value.kind !== "apply" || store.value.op !== "add") return undefined;
  const [other, ...more] = store.value.args.filter((arg) => !isSum(product, arg));
  if (other?.kind !== "load" || more.length > 0) return undefined;
  // What is added to may be what is read: then it must not be overwritten by sums of a part of the depth.
  if (other.buffer === store.buffer && choice.maxDepth > choice.depthBlock) return undefined;
  const addend = matrixOf(k, product, other);
  return addend && { ...place, addend };
}

const isSum = ({ statement }: Product, value: Expr): boolean =>
  value.kind === "local" && value.name === statement.result;

/** Whether an index is an axis, or that much further. */
function movesAlong(part: IndexPart | undefined, axis: string): boolean {
  if (!part) return false;
  const { index } = part;
  const terms = index.kind === "apply" && index.op === "add" ? index.args : [index];
  const isAxis = (term: Expr): boolean => term.kind === "axis" && term.name === axis;
  return (
    terms.filter((term) => dependsOn(term, axis)).every(isAxis) && terms.filter(isAxis).length === 1
  );
}

/** The elements that a store writes, or a load reads, if they are such a matrix. */
function matrixOf(
  k: KernelEmitter,
  { rows, columns }: Product,
  { buffer, index }: { readonly buffer: string; readonly index: readonly Expr[] },
): Matrix | undefined {
  const { dtype, shape, strides, memory } = k.buffer(buffer);
  // Tiles know one memory, that of the thread's own sums.
  if (dtype !== "f32" || memory !== 0) return undefined;
  const parts = mergeIndex(index, shape);
  const row = parts.find((part) => movesAlong(part, rows.axis));
  const column = parts.at(-1);
  if (!row || !movesAlong(column, columns.axis) || column!.dimension !== shape.length - 1)
    return undefined;
  const isStill = (part: IndexPart, axis: string): boolean => !dependsOn(part.index, axis);
  if (!parts.every((part) => part === row || isStill(part, rows.axis))) return undefined;
  if (!parts.every((part) => part === column || isStill(part, columns.axis))) return undefined;
  const { add, mul } = arithmeticOf(k);
  return {
    rowBytes: mul(strides[row.dimension]!, 4),
    address: (rowIndex, columnIndex) => {
      let address: Value | undefined;
      k.scoped(() => {
        k.bind(rows.axis, rowIndex);
        k.bind(columns.axis, columnIndex);
        const access = k.access(buffer, index);
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
  /** What is added to the sums once they are finished, likewise; 0 is nothing. */
  readonly addend: Value;
  readonly addendBytes: Value;
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
  const panels = groups(count, choice.tileColumns);
  const nothing = table.integer(0);
  const alone = { rowBytes: ownBytes, addend: nothing, addendBytes: nothing };
  if (!direct) return [{ offset, panels, address: own(offset), ...alone }];
  const isFull = table.apply("lt", [rowPanel, fullRows.count]);
  const whereFull = (place: Value, otherwise: Value): Value =>
    fullRows.all ? place : table.apply("select", [isFull, place, otherwise]);
  const first = [add(firstRow, mul(rowPanel, tileRows)), add(firstColumn, offset)] as const;
  const stretch: TileStretch = {
    offset,
    panels: full.count,
    address: whereFull(direct.address(...first), own(offset)),
    rowBytes: whereFull(direct.rowBytes, ownBytes),
    addend: direct.addend ? whereFull(direct.addend.address(...first), nothing) : nothing,
    addendBytes: direct.addend?.rowBytes ?? nothing,
  };
  if (full.all) return [stretch];
  const rest = add(offset, mul(full.count, choice.tileColumns));
  return [stretch, { offset: rest, panels: sub(panels, full.count), address: own(rest), ...alone }];
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
  const [row, column] = [mul(fullRows.count, tileRows), mul(fullColumns.count, choice.tileColumns)];
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
