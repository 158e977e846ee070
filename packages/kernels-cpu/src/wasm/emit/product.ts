/**
 * What the parts of a product share: one operand's description, blocks of a range, and the loop over finished sums that
 * runs the statement's body. In: the kernel's emitter and a product statement. Out: helpers; no arithmetic of its own.
 */
import type { Contract, Expr } from "@millrace/graph";
import type { ContractChoice, PackingAxis, TileRows } from "../configure/contract.ts";
import { scratchLayout, TILE_ROWS } from "../configure/contract.ts";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { boundsOf, placesAlong } from "./loop.ts";
import { emitSideBySide, areInPairs, PAIR } from "./side-by-side.ts";
import type { Value } from "./values.ts";

/** A range of this run: its first index and its length. */
export interface Extent {
  readonly axis: string;
  readonly first: Value;
  readonly length: Value;
  /** `length` is a multiple of this, also where it is not known. */
  readonly multiple?: number;
}

/** The width of panels, if a length is known to be whole ones; else 1. */
export const wholePanels = (length: Value, width: number): number =>
  length.kind === "constant" && length.value % width === 0 ? width : 1;

/** One operand of a product: an expression over its side axis (rows or columns) and the depth. */
export interface Operand {
  readonly expr: Expr;
  readonly side: string;
  readonly packing: PackingAxis;
}

/** A product under emission. */
export interface Product {
  readonly statement: Contract;
  readonly choice: ContractChoice;
  /** Rows of a tile, for all of `rows`. */
  readonly tileRows: TileRows;
  readonly rows: Extent;
  readonly columns: Extent;
  readonly depth: Extent;
  readonly lhs: Operand;
  readonly rhs: Operand;
  /** Addresses of sums and of packed operands, this thread's own. */
  readonly scratch: {
    readonly sums: Value;
    readonly lhs: Value;
    readonly parts: Value;
    readonly rhs: Value;
  };
}

/** A stretch of columns, and the address of their sums. */
export interface SumBlock {
  readonly first: Value;
  readonly count: Value;
  readonly sums: Value;
}

function extentOf(k: KernelEmitter, range: Contract["rows"]): Extent {
  const { table } = k;
  const { start, end } = boundsOf(k, range);
  const asValue = (bound: number | Local): Value =>
    typeof bound === "number"
      ? table.integer(bound)
      : table.local(bound, "i32", k.e.depth, { natural: true });
  const first = asValue(start);
  return { axis: range.axis, first, length: table.apply("sub", [asValue(end), first]) };
}

/** Puts a product's bounds into locals. */
export function productOf(k: KernelEmitter, statement: Contract, choice: ContractChoice): Product {
  const layout = scratchLayout(choice);
  const own = k.scratch();
  const at = (offset: number): Value => k.table.apply("add", [own, k.table.integer(offset)]);
  return {
    statement,
    choice,
    tileRows: TILE_ROWS,
    rows: extentOf(k, statement.rows),
    columns: extentOf(k, statement.columns),
    depth: extentOf(k, statement.depth),
    lhs: { expr: statement.lhs, side: statement.rows.axis, packing: choice.packLhs },
    rhs: { expr: statement.rhs, side: statement.columns.axis, packing: choice.packRhs },
    scratch: {
      sums: at(layout.sums),
      lhs: at(layout.lhs),
      parts: at(layout.parts),
      rhs: at(layout.rhs),
    },
  };
}

/** Integer arithmetic on values, short. */
export interface Arithmetic {
  readonly add: (...values: readonly (Value | number)[]) => Value;
  readonly sub: (a: Value, b: Value | number) => Value;
  readonly mul: (...values: readonly (Value | number)[]) => Value;
  readonly min: (a: Value | number, b: Value | number) => Value;
  readonly max: (a: Value | number, b: Value | number) => Value;
  readonly div: (a: Value, b: number) => Value;
  readonly rem: (a: Value, b: number) => Value;
  /** Rounded down to a multiple of a power of two. */
  readonly floorTo: (a: Value, step: number) => Value;
  /** The number of groups of `size` that hold `a` elements. */
  readonly groups: (a: Value, size: number) => Value;
}

export function arithmeticOf(k: KernelEmitter): Arithmetic {
  const { table } = k;
  const value = (x: Value | number): Value => (typeof x === "number" ? table.integer(x) : x);
  const fold =
    (op: "add" | "mul") =>
    (...values: readonly (Value | number)[]): Value =>
      values.map(value).reduce((a, b) => table.apply(op, [a, b]));
  const add = fold("add");
  return {
    add,
    mul: fold("mul"),
    sub: (a, b) => table.apply("sub", [a, value(b)]),
    min: (a, b) => table.apply("min", [value(a), value(b)]),
    max: (a, b) => table.apply("max", [value(a), value(b)]),
    div: (a, b) => table.apply("div", [a, value(b)]),
    rem: (a, b) => table.apply("rem", [a, value(b)]),
    floorTo: (a, step) => table.apply("and", [a, table.integer(-step)]),
    groups: (a, size) => table.apply("div", [add(a, size - 1), table.integer(size)]),
  };
}

/** Loops over blocks of a length: the block's offset, and how much of it there is. */
export function eachBlock(
  k: KernelEmitter,
  length: Value,
  block: number,
  body: (offset: Value, size: Value) => void,
): void {
  const { sub, min } = arithmeticOf(k);
  if (length.kind === "constant" && length.value <= block) {
    if (length.value > 0) body(k.table.integer(0), length);
    return;
  }
  k.e.loop({ start: 0, end: k.bound(length), step: block }, (index) => {
    const offset = k.counter(index);
    if (block % 4 === 0) k.markAligned(offset);
    const even = length.kind === "constant" && length.value % block === 0;
    const size = even ? k.table.integer(block) : min(block, sub(length, offset));
    body(offset, k.table.local(k.e.hold(size), "i32", k.e.depth, { natural: true }));
  });
}

/** Loops from 0 to a length. */
export function each(
  k: KernelEmitter,
  length: Value,
  body: (index: Value) => void,
  step = 1,
): void {
  k.e.loop({ start: 0, end: k.bound(length), step }, (index) => {
    const counter = k.counter(index);
    if (step % 4 === 0) k.markAligned(counter);
    body(counter);
  });
}

/** Runs the body of a product for the sums of a block: `rows` × `columns` from the given first indices on. */
export function runBody(
  k: KernelEmitter,
  product: Product,
  block: {
    readonly firstRow: Value;
    readonly rows: Value;
    readonly firstColumn: Value;
    readonly columns: Value;
  },
): void {
  const { statement, choice, scratch, rows, columns } = product;
  const { add, mul, floorTo } = arithmeticOf(k);
  const rowBytes = choice.columnBlock * 4;
  const bindSum = (row: Value, column: Value, type: "v128" | "f32", distance = 0): void => {
    k.e.emit(add(mul(row, rowBytes), mul(column, 4), scratch.sums));
    k.f.memory(`${type}.load`, distance * 4);
    k.bind(statement.result, k.table.local(k.f.save(type), "f32", k.e.depth));
  };
  /** Columns in lanes, `count` times four side by side. */
  const inLanes = (row: Value, from: Value, to: Value, count: number): void =>
    k.e.loop({ start: k.bound(from), end: k.bound(to), step: 4 * count }, (index) => {
      const column = k.counter(index);
      k.markAligned(column);
      const places = placesAlong(k, columns.axis, add(block.firstColumn, column), count);
      places.forEach((within, i) => within(() => bindSum(row, column, "v128", 4 * i)));
      emitSideBySide(k, statement.body, places);
    });
  each(k, block.rows, (row) =>
    k.scoped(() => {
      k.bind(rows.axis, add(block.firstRow, row));
      const none = k.table.integer(0);
      const isPaired =
        choice.lanes && areInPairs(k, columns.axis, statement.body, [statement.result]);
      const paired = isPaired ? floorTo(block.columns, 4 * PAIR) : none;
      const whole = choice.lanes ? floorTo(block.columns, 4) : none;
      inLanes(row, none, paired, PAIR);
      inLanes(row, paired, whole, 1);
      k.e.loop({ start: k.bound(whole), end: k.bound(block.columns) }, (index) =>
        k.scoped(() => {
          const column = k.counter(index);
          k.bind(columns.axis, add(block.firstColumn, column));
          bindSum(row, column, "f32");
          k.block(statement.body);
        }),
      );
    }),
  );
}
