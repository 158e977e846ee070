/**
 * Products with few rows as dot products: weights are read once, where they lie, and widened in registers. In: a product that
 * `chooseDots` has chosen. Out: its sums, then its body. A row's bits do not depend on the rows that come with it.
 */
import type { DotsChoice, Load } from "../configure/dots.ts";
import { DOT_COLUMNS, dotFunction, prepareRow } from "./dot-floats.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, runBody } from "./product.ts";
import type { Value } from "./values.ts";

/** The whole product. */
export function emitDots(k: KernelEmitter, product: Product, dots: DotsChoice): void {
  const { f, e } = k;
  const { add, mul, min, groups } = arithmeticOf(k);
  const { rows, columns, depth, lhs, rhs, choice, scratch } = product;
  const rowBytes = mul(depth.length, 4);
  /** Address of the first element, along the depth, of what a load reads. */
  const rowOf = (load: Load, column: Value): Value => {
    k.bind(rhs.side, column);
    k.bind(depth.axis, k.table.integer(0));
    const { address, offset } = k.access(load.buffer, load.index);
    return add(address, offset);
  };
  const { relaxed, library } = k.input;
  const dot = dotFunction(library, { format: dots.dtype, block: dots.scales?.block, relaxed });
  const prepare = library.get(prepareRow(dots.dtype));
  eachBlock(k, rows.length, choice.fewRows, (rowOffset, rowCount) => {
    const firstRow = add(rows.first, rowOffset);
    packRows(
      k,
      lhs,
      { first: firstRow, count: rowCount, address: scratch.lhs },
      { ...depth, padded: depth.length },
    );
    if (dots.dtype !== "f32") {
      e.emit(scratch.lhs);
      e.emit(add(mul(rowCount, rowBytes), scratch.lhs));
      f.call(prepare);
    }
    eachBlock(k, columns.length, choice.columnBlock, (columnOffset, columnCount) => {
      const firstColumn = add(columns.first, columnOffset);
      // Far apart, so that each is one long stream: the machine reads ahead along streams.
      const step = groups(columnCount, DOT_COLUMNS);
      each(k, step, (column) =>
        k.scoped(() => {
          const places = Array.from({ length: DOT_COLUMNS }, (_, i) =>
            add(firstColumn, min(add(column, mul(step, i)), add(columnCount, -1))),
          );
          const weights = places.map((place) => e.hold(rowOf(dots.codes, place)));
          const scales = dots.scales;
          const factors = scales ? places.map((place) => e.hold(rowOf(scales.load, place))) : [];
          each(k, rowCount, (row) => {
            e.emit(add(mul(row, rowBytes), scratch.lhs));
            for (const weight of weights) f.get(weight);
            e.emit(depth.length);
            e.emit(add(mul(row, choice.columnBlock * 4), mul(column, 4), scratch.sums));
            e.emit(mul(step, 4));
            for (const factor of factors) f.get(factor);
            f.call(dot);
          });
        }),
      );
      runBody(k, product, {
        firstRow,
        rows: rowCount,
        firstColumn,
        columns: columnCount,
      });
    });
  });
}
