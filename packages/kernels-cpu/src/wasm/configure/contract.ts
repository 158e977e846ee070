/**
 * How a matrix product is computed. In: the statement and its buffers' shapes. Out: block sizes for the caches, and along
 * which axis each operand is read when it is packed. Blocks follow Goto and van de Geijn (2008), with the sides exchanged: a panel
 * of A stays in the first-level cache while a block of B is read as a stream and C row by row, as it lies.
 */
import type { Contract, DType, Dim, Expr } from "@millrace/graph";
import { maxDim, visitExpr } from "@millrace/graph";
import { chooseDots, DOT_COLUMNS, PARTS_BYTES } from "./dots.ts";
import type { DotsChoice } from "./dots.ts";
import { movementOf } from "./stride.ts";
import type { Scope } from "./stride.ts";

/** Along which axis four elements of an operand are read at once: its depth, its rows or columns, or none. */
export type PackingAxis = "depth" | "side" | "none";

/** Decisions for one product. */
export interface ContractChoice {
  readonly kind: "contract";
  readonly packLhs: PackingAxis;
  readonly packRhs: PackingAxis;
  /** The body runs on four columns at once. */
  readonly lanes: boolean;
  /** The engine makes registers of 256 bits of neighbours. */
  readonly wide: boolean;
  readonly tileColumns: TileColumns;
  readonly rowBlock: number;
  readonly columnBlock: number;
  /** Columns of a block that all rows of a block are multiplied with, before the next ones are. */
  readonly streamColumns: number;
  readonly depthBlock: number;
  /** Up to this many rows are multiplied without packing the right side. */
  readonly fewRows: number;
  /** Largest depth, which bounds the memory that packing takes. */
  readonly maxDepth: number;
  readonly maxRows: number;
  /** Computed as dot products, and how. */
  readonly dots?: DotsChoice;
}

/** Rows of the inner tile of a product. */
export const TILE_ROWS = 6;
/** Rows of the last tiles, where rows do not divide by `TILE_ROWS`. */
export const LOW_TILE_ROWS = 4;
export type TileRows = typeof TILE_ROWS | typeof LOW_TILE_ROWS;
/** Rows are low tiles' for each remainder: as few as leave a multiple of `TILE_ROWS`, with at most one row of a tile unused. */
export const LOW_ROWS: readonly number[] = [0, 7, 8, 3, 4, 11];
/** Columns of a tile: two registers of 128 bits, or of 256, which an engine makes of neighbours. */
export const TILE_COLUMNS = 8;
export const WIDE_TILE_COLUMNS = 16;
export type TileColumns = typeof TILE_COLUMNS | typeof WIDE_TILE_COLUMNS;

/** Of the right side: each panel of it is used for a whole block of rows, so it may come from the last cache or from memory. */
const MAX_PACKED_BYTES = 2 ** 22;
/** Of that, what stays in the second-level cache while a block of rows is multiplied with it. */
const STREAM_BYTES = 2 ** 19;
const DEPTH_BLOCK = 512;
const ROW_BLOCK = 96;
const COLUMN_BLOCK = 1024;
/** Most rows that are multiplied without packing the right side, by the axis along which it is read. */
const FEW_ROWS: Readonly<Record<PackingAxis, number>> = { depth: 4, side: 8, none: 0 };
/** Rows of x that are packed at once for dot products; the weights are read once for all of them. */
const DOT_ROWS = 16;
/** Columns whose sums are kept before the body runs; the more, the longer the streams of weights. */
const DOT_COLUMN_BLOCK = 1024;

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

function packingAxis(
  operand: Expr,
  side: string,
  depth: string,
  shapes: ReadonlyMap<string, readonly Dim[]>,
  lets: ReadonlyMap<string, Expr>,
): PackingAxis {
  const cost = (axis: string): number => {
    const scope: Scope = { axis, lets, varying: new Set() };
    let sum = 0;
    visitExpr(operand, (part) => {
      if (part.kind !== "load") return;
      const movement = movementOf(part.index, shapes.get(part.buffer) ?? [], scope);
      sum += movement === "still" ? 0.1 : movement === "neighbour" ? 0.3 : 1;
    });
    return sum;
  };
  const along = { depth: cost(depth), side: cost(side), none: 0 };
  visitExpr(operand, (part) => (along.none += part.kind === "load" ? 0.95 : 0));
  if (along.depth <= along.side && along.depth <= along.none) return "depth";
  return along.side <= along.none ? "side" : "none";
}

/** `bodyInLanes` says whether the body can run on four columns at once, `wide` whether the engine makes registers of 256 bits. */
export function chooseContract(
  contract: Contract,
  shapes: ReadonlyMap<string, readonly Dim[]>,
  lets: ReadonlyMap<string, Expr>,
  dtypes: ReadonlyMap<string, DType>,
  wide: boolean,
  bodyInLanes: (scope: Scope) => boolean,
): ContractChoice {
  const { rows, columns, depth, lhs, rhs, result } = contract;
  const maxDepth = Math.max(1, maxDim(depth.extent));
  const maxColumns = Math.max(1, maxDim(columns.extent));
  const maxRows = Math.max(1, maxDim(rows.extent));
  const dots = chooseDots(contract, dtypes, lets);
  const packRhs = packingAxis(rhs, columns.axis, depth.axis, shapes, lets);
  const byDepth = Math.floor(MAX_PACKED_BYTES / (roundUp(maxDepth, 4) * 4));
  const depthBlock = Math.min(DEPTH_BLOCK, roundUp(maxDepth, 4));
  const tileColumns = wide && maxColumns > TILE_COLUMNS ? WIDE_TILE_COLUMNS : TILE_COLUMNS;
  return {
    kind: "contract",
    packLhs: packingAxis(lhs, rows.axis, depth.axis, shapes, lets),
    packRhs,
    lanes: bodyInLanes({ axis: columns.axis, lets, varying: new Set([result]) }),
    wide,
    tileColumns,
    rowBlock: Math.min(ROW_BLOCK, roundUp(maxRows, TILE_ROWS * 2)),
    columnBlock: Math.max(
      tileColumns,
      Math.min(
        COLUMN_BLOCK,
        Math.floor(byDepth / tileColumns) * tileColumns,
        roundUp(maxColumns, tileColumns),
      ),
    ),
    streamColumns: Math.floor(STREAM_BYTES / (depthBlock * 4 * tileColumns)) * tileColumns,
    depthBlock,
    fewRows: FEW_ROWS[packRhs],
    maxDepth,
    maxRows,
    ...(dots && {
      dots,
      fewRows: Math.min(DOT_ROWS, maxRows),
      rowBlock: Math.min(DOT_ROWS, maxRows),
      columnBlock: Math.min(DOT_COLUMN_BLOCK, roundUp(maxColumns, tileColumns)),
    }),
  };
}

/** Where a product keeps its packed operands and sums, as offsets in bytes, and how much it takes. */
export interface ScratchLayout {
  readonly sums: number;
  readonly lhs: number;
  /** Sums in parts, of a call of dot products. */
  readonly parts: number;
  readonly rhs: number;
  readonly bytes: number;
}

/** The scratch memory of one product. */
export function scratchLayout(choice: ContractChoice): ScratchLayout {
  const { rowBlock, columnBlock, depthBlock, maxDepth, fewRows, dots } = choice;
  const depthBytes = roundUp(maxDepth, 4) * 4;
  const sums = rowBlock * columnBlock * 4;
  const lhs = Math.max(rowBlock * depthBlock * 4, fewRows * depthBytes);
  const parts = dots ? DOT_COLUMNS * 2 * PARTS_BYTES : 0;
  // Dot products read the right side where it lies.
  const rhs = dots ? 0 : depthBytes * columnBlock;
  const own = sums + lhs + parts;
  return { sums: 0, lhs: sums, parts: sums + lhs, rhs: own, bytes: own + rhs };
}

/** The decisions as one line. */
export function describeContract(choice: ContractChoice): string {
  const { rowBlock, columnBlock, depthBlock, tileColumns, packLhs, packRhs, lanes, dots } = choice;
  const format = dots?.kind === "integers" ? dots.format : dots?.dtype;
  if (dots) return `dot products with rows of ${format}${lanes ? "; body: 4 lanes" : ""}`;
  const blocks = `blocks of ${rowBlock} rows, ${columnBlock} columns, ${depthBlock} deep`;
  const tiles = tileColumns === WIDE_TILE_COLUMNS ? `, tiles of ${TILE_ROWS} × ${tileColumns}` : "";
  return `${blocks}${tiles}; left read along ${packLhs}, right along ${packRhs}${lanes ? "; body: 4 lanes" : ""}`;
}
