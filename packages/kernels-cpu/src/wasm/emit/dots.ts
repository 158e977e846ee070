/**
 * Products as dot products: weights are read once, where they lie, and widened in registers. In: a product that `chooseDots` has
 * chosen. Out: its sums, then its body. A row's bits do not depend on the rows that come with it.
 */
import type { DotsChoice, FloatDots, IntegerDots, Load } from "../configure/dots.ts";
import { X_GROUP } from "../configure/dots.ts";
import type { DotMemories } from "./dot-floats.ts";
import { DOT_COLUMNS, dotFunction, prepareRow } from "./dot-floats.ts";
import { INTEGER_COLUMNS, integerDotFunction, prepareCodes, scalesOffset } from "./dot-integers.ts";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, runBody } from "./product.ts";
import type { Value } from "./values.ts";

/** A block of rows of the left side. */
interface Rows {
  readonly first: Value;
  readonly count: Value;
}

/** One call: where a packed row is, where its sums go and how far apart, and what belongs to the weight rows. */
interface Call {
  readonly x: Value;
  readonly out: Value;
  readonly step: Value;
  readonly weights: readonly Local[];
  readonly scales: readonly Local[];
}

/** A format: how rows are packed, and one call. */
interface Method {
  /** Weight rows in one call. */
  readonly width: number;
  readonly codes: Load;
  readonly scales: Load | undefined;
  readonly pack: (rows: Rows) => void;
  readonly call: (call: Call) => void;
}

/** Copies rows of the left side, as f32, `4 * depth` bytes each. */
function packLeft(k: KernelEmitter, { lhs, depth, scratch }: Product, rows: Rows): void {
  packRows(k, lhs, { ...rows, address: scratch.lhs }, { ...depth, padded: depth.length });
}

/** The memories in which the function that a method calls reads. */
function memoriesOf(k: KernelEmitter, codes: Load, scales: Load | undefined): DotMemories {
  const { memory } = k.buffer(codes.buffer);
  return { memory, scalesMemory: scales ? k.buffer(scales.buffer).memory : 0 };
}

function floatMethod(k: KernelEmitter, product: Product, dots: FloatDots): Method {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { depth, scratch } = product;
  const { relaxed, library } = k.input;
  const block = dots.scales?.block;
  const memories = memoriesOf(k, dots.codes, dots.scales?.load);
  const dot = dotFunction(library, { format: dots.dtype, block, relaxed, ...memories });
  return {
    width: DOT_COLUMNS,
    codes: dots.codes,
    scales: dots.scales?.load,
    pack(rows) {
      packLeft(k, product, rows);
      if (dots.dtype === "f32") return;
      e.emit(scratch.lhs);
      e.emit(add(mul(rows.count, depth.length, 4), scratch.lhs));
      f.call(library.get(prepareRow(dots.dtype)));
    },
    call({ x, out, step, weights, scales }) {
      e.emit(x);
      for (const weight of weights) f.get(weight);
      e.emit(depth.length);
      e.emit(out);
      e.emit(step);
      for (const scale of scales) f.get(scale);
      f.call(dot);
    },
  };
}

function integerMethod(k: KernelEmitter, product: Product, dots: IntegerDots): Method {
  const { f, e } = k;
  const { add, mul, groups } = arithmeticOf(k);
  const { depth, lhs, scratch } = product;
  const { relaxed, library } = k.input;
  const { format, scales } = dots;
  const memories = memoriesOf(k, dots.codes, scales.load);
  const dot = integerDotFunction(library, { format, group: scales.block, relaxed, ...memories });
  const codes = {
    ...lhs,
    expr: { kind: "apply", type: "f32", op: "to_f32", args: [dots.x.codes] } as const,
  };
  const afterCodes = mul(groups(depth.length, X_GROUP), scalesOffset(format, X_GROUP));
  return {
    width: INTEGER_COLUMNS,
    codes: dots.codes,
    scales: scales.load,
    pack(rows) {
      packLeft(k, { ...product, lhs: codes }, rows);
      each(k, rows.count, (row) =>
        k.scoped(() => {
          const address = add(mul(row, depth.length, 4), scratch.lhs);
          e.emit(address);
          e.emit(add(address, mul(depth.length, 4)));
          f.call(library.get(prepareCodes(format)));
          k.bind(lhs.side, add(rows.first, row));
          each(k, groups(depth.length, X_GROUP), (group) => {
            k.bind(depth.axis, mul(group, X_GROUP));
            e.emit(add(address, afterCodes, mul(group, 4)));
            e.emit(k.value(dots.x.scale));
            f.memory("f32.store");
          });
        }),
      );
    },
    call({ x, out, step, weights, scales: factors }) {
      e.emit(x);
      e.emit(depth.length);
      e.emit(out);
      e.emit(step);
      for (const local of [...weights, ...factors]) f.get(local);
      f.call(dot);
    },
  };
}

/** The whole product. */
export function emitDots(k: KernelEmitter, product: Product, dots: DotsChoice): void {
  const { e } = k;
  const { add, mul, min, groups } = arithmeticOf(k);
  const { rows, columns, depth, rhs, choice, scratch } = product;
  const method =
    dots.kind === "floats" ? floatMethod(k, product, dots) : integerMethod(k, product, dots);
  const { width, codes, scales } = method;
  /** Address of the first element, along the depth, of what a load reads for a column. */
  const startOf = (load: Load, column: Value): Local => {
    k.bind(rhs.side, column);
    k.bind(depth.axis, k.table.integer(0));
    const { address, offset } = k.access(load.buffer, load.index);
    return e.hold(add(address, offset));
  };
  eachBlock(k, rows.length, choice.fewRows, (rowOffset, rowCount) => {
    const firstRow = add(rows.first, rowOffset);
    method.pack({ first: firstRow, count: rowCount });
    eachBlock(k, columns.length, choice.columnBlock, (columnOffset, columnCount) => {
      const firstColumn = add(columns.first, columnOffset);
      // Far apart, so that each is one long stream: the machine reads ahead along streams.
      const apart = groups(columnCount, width);
      each(k, apart, (column) =>
        k.scoped(() => {
          const places = Array.from({ length: width }, (_, i) =>
            add(firstColumn, min(add(column, mul(apart, i)), add(columnCount, -1))),
          );
          const weights = places.map((place) => startOf(codes, place));
          const factors = scales ? places.map((place) => startOf(scales, place)) : [];
          each(k, rowCount, (row) =>
            method.call({
              x: add(mul(row, depth.length, 4), scratch.lhs),
              out: add(mul(row, choice.columnBlock * 4), mul(column, 4), scratch.sums),
              step: mul(apart, 4),
              weights,
              scales: factors,
            }),
          );
        }),
      );
      runBody(k, product, { firstRow, rows: rowCount, firstColumn, columns: columnCount });
    });
  });
}
