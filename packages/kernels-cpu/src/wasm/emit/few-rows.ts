/**
 * Products with a handful of rows, such as one decoded token: the right side is read once, where it lies, and not packed. In:
 * a product of at most `fewRows` rows. Out: its sums, then its body. Every sum adds up in the order of the depth, as in the
 * tiles, so a row's bits do not depend on how many rows come with it.
 */
import { emitColumnSums } from "./column-sums.ts";
import { emitDots } from "./dots.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, runBody } from "./product.ts";
import type { RowSums } from "./row-sums.ts";
import { emitRowSums } from "./row-sums.ts";
import type { Value } from "./values.ts";
import type { Sharing } from "./sharing.ts";
import { unshared } from "./sharing.ts";

/** The whole product, for at most `choice.fewRows` rows. */
export function emitFewRows(
  k: KernelEmitter,
  product: Product,
  sharing: Sharing = unshared(k),
): void {
  const { add, mul, groups } = arithmeticOf(k);
  const { rows, columns, depth, lhs, rhs, choice, scratch } = product;
  if (choice.dots) {
    emitDots(k, product, choice.dots, sharing);
    return;
  }
  const padded = mul(groups(depth.length, 4), 4);
  const packed = scratch.lhs;
  packRows(
    k,
    lhs,
    { first: rows.first, count: rows.length, address: packed },
    { ...depth, padded },
  );
  sharing.eachColumns(columns.length, choice.columnBlock, (offset, count) => {
    const first = add(columns.first, offset);
    const rowOf = (row: Value): RowSums => ({
      left: add(mul(row, padded, 4), packed),
      sums: add(mul(row, choice.columnBlock * 4), scratch.sums),
    });
    if (rhs.packing === "depth")
      each(k, rows.length, (row) => {
        const { left, sums } = rowOf(row);
        emitColumnSums(k, product, left, { first, count, sums });
      });
    else emitRowSums(k, product, rows.length, rowOf, { first, count });
    runBody(k, product, {
      firstRow: rows.first,
      rows: rows.length,
      firstColumn: first,
      columns: count,
    });
  });
  sharing.meet();
}
