/**
 * Products as dot products: weights are read once, where they lie, and widened in registers. In: a product that `chooseDots` has
 * chosen. Out: its sums, then its body. A row's bits do not depend on the rows that come with it.
 */
import type { DotRows, DotsChoice, FloatDots, IntegerDots, Load } from "../configure/dots.ts";
import { DOT_COLUMNS, X_GROUP } from "../configure/dots.ts";
import type { DotMemories } from "./dot-call.ts";
import { prepareCodes, QUAD, recordOf } from "./dot-codes.ts";
import { dotFunction } from "./dot-floats.ts";
import { prepareRow } from "./dot-formats.ts";
import { integerDotFunction, quadDepth } from "./dot-integers.ts";
import type { FunctionRef, Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, runBody } from "./product.ts";
import type { Sharing } from "./sharing.ts";
import type { Value } from "./values.ts";

/** A block of rows of the left side. */
interface Rows {
  readonly first: Value;
  readonly count: Value;
}

/** A format: how rows are packed, `depth` floats of room each, and the function that multiplies some of them. */
interface Method {
  readonly codes: Load;
  readonly scales: Load | undefined;
  readonly pack: (rows: Rows) => void;
  readonly dot: (rows: DotRows) => FunctionRef;
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
  const { depth, scratch, choice } = product;
  const { wide } = choice;
  const { relaxed, library } = k.input;
  const block = dots.scales?.block;
  const memories = memoriesOf(k, dots.codes, dots.scales?.load);
  const prepare = prepareRow(dots.dtype);
  return {
    codes: dots.codes,
    scales: dots.scales?.load,
    pack(rows) {
      packLeft(k, product, rows);
      if (!prepare) return;
      e.emit(scratch.lhs);
      e.emit(add(mul(rows.count, depth.length, 4), scratch.lhs));
      f.call(library.get(prepare));
    },
    dot: (rows) =>
      dotFunction(library, { format: dots.dtype, rows, block, wide, relaxed, ...memories }),
  };
}

function integerMethod(k: KernelEmitter, product: Product, dots: IntegerDots): Method {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { lhs, scratch, choice } = product;
  const { wide } = choice;
  const { relaxed, library } = k.input;
  const { format, scales, depth } = dots;
  const memories = memoriesOf(k, dots.codes, scales.load);
  const spec = { format, group: scales.block, depth, relaxed, wide, ...memories };
  const codes = {
    ...lhs,
    expr: { kind: "apply", type: "f32", op: "to_f32", args: [dots.x.codes] } as const,
  };
  const inQuads = quadDepth(scales.block, depth);
  const quads = inQuads / (QUAD * X_GROUP);
  const left = (depth - inQuads) / X_GROUP;
  /** Packs `count` records of `groups` groups, which begin `at` bytes into a row and at an element of the depth. */
  const packRecords = (
    row: Value,
    groups: number,
    count: number,
    at: number,
    from: number,
  ): void => {
    if (count === 0) return;
    const record = recordOf(format, groups, wide);
    const start = add(row, at);
    e.emit(add(row, from * 4));
    e.emit(start);
    e.emit(add(row, (from + count * groups * X_GROUP) * 4));
    f.call(library.get(prepareCodes(format, groups, wide)));
    each(k, k.table.integer(count), (index) => {
      for (let group = 0; group < groups; group++) {
        k.bind(product.depth.axis, add(mul(index, groups * X_GROUP), from + group * X_GROUP));
        e.emit(add(start, mul(index, record.bytes), record.scales + record.lane(group) * 4));
        e.emit(k.value(dots.x.scale));
        f.memory("f32.store");
      }
    });
  };
  return {
    codes: dots.codes,
    scales: scales.load,
    pack(rows) {
      packLeft(k, { ...product, lhs: codes }, rows);
      each(k, rows.count, (row) =>
        k.scoped(() => {
          const address = add(mul(row, depth * 4), scratch.lhs);
          k.bind(lhs.side, add(rows.first, row));
          packRecords(address, QUAD, quads, 0, 0);
          packRecords(address, 1, left, quads * recordOf(format, QUAD, wide).bytes, inQuads);
        }),
      );
    },
    dot: (rows) => integerDotFunction(library, { ...spec, rows }),
  };
}

/** The whole product. */
export function emitDots(
  k: KernelEmitter,
  product: Product,
  dots: DotsChoice,
  sharing: Sharing,
): void {
  const { f, e } = k;
  const { add, sub, mul, min, groups, floorTo } = arithmeticOf(k);
  const { rows, columns, depth, rhs, choice, scratch } = product;
  const method =
    dots.kind === "floats" ? floatMethod(k, product, dots) : integerMethod(k, product, dots);
  const { codes, scales } = method;
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
    sharing.eachColumns(columns.length, choice.columnBlock, (columnOffset, columnCount) => {
      const firstColumn = add(columns.first, columnOffset);
      // Far apart, so that each is one long stream: the machine reads ahead along streams.
      const apart = groups(columnCount, DOT_COLUMNS);
      each(k, apart, (column) =>
        k.scoped(() => {
          const places = Array.from({ length: DOT_COLUMNS }, (_, i) =>
            add(firstColumn, min(add(column, mul(apart, i)), add(columnCount, -1))),
          );
          const weights = places.map((place) => startOf(codes, place));
          const factors = scales ? places.map((place) => startOf(scales, place)) : [];
          const rowBytes = choice.columnBlock * 4;
          const call = (row: Value, count: DotRows): void => {
            e.emit(add(mul(row, depth.length, 4), scratch.lhs));
            e.emit(mul(depth.length, 4));
            e.emit(depth.length);
            e.emit(add(mul(row, rowBytes), mul(column, 4), scratch.sums));
            e.emit(mul(apart, 4));
            f.i32(rowBytes);
            e.emit(scratch.parts);
            for (const local of [...weights, ...factors]) f.get(local);
            f.call(method.dot(count));
          };
          const pairs = floorTo(rowCount, 2);
          each(k, pairs, (row) => call(row, 2), 2);
          each(k, sub(rowCount, pairs), (row) => call(add(row, pairs), 1));
        }),
      );
      runBody(k, product, { firstRow, rows: rowCount, firstColumn, columns: columnCount });
    });
    sharing.meet();
  });
}
