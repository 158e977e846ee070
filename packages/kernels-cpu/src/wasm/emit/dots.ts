/**
 * Products as dot products: weights are read once, where they lie, and widened in registers. In: a product that `chooseDots` has
 * chosen. Out: its sums, then its body. A row's bits do not depend on the rows that come with it.
 */
import type { DotRows, DotsChoice, FloatDots, IntegerDots, Load } from "../configure/dots.ts";
import { DOT_COLUMNS, X_GROUP } from "../configure/dots.ts";
import { prepareCodes, QUAD, recordOf } from "./dot-codes.ts";
import { dotFunction } from "./dot-floats.ts";
import { prepareRow } from "./dot-formats.ts";
import { integerDotFunction, quadDepth } from "./dot-integers.ts";
import type { FunctionRef } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, runBody } from "./product.ts";
import type { Sharing } from "./sharing.ts";
import type { Value } from "./values.ts";

/** Columns from which a few that are computed twice cost less than an odd distance between streams brings. */
const ODD_FROM = 256;

/** A block of rows of the left side. */
interface Rows {
  readonly first: Value;
  readonly count: Value;
}

/** A format: how rows are packed, `depth` floats of room each, and the function that multiplies some of them. */
interface Method {
  readonly pack: (rows: Rows) => void;
  readonly dot: (rows: DotRows) => FunctionRef;
}

/** Copies rows of the left side, as f32, `4 * depth` bytes each. */
function packLeft(k: KernelEmitter, { lhs, depth, scratch }: Product, rows: Rows): void {
  packRows(k, lhs, { ...rows, address: scratch.lhs }, { ...depth, padded: depth.length });
}

/** Address of the first element, along the depth, of what a load reads for a column. */
function startOf(k: KernelEmitter, { rhs, depth }: Product, load: Load, column: Value): Value {
  return k.scoped(() => {
    k.bind(rhs.side, column);
    k.bind(depth.axis, k.table.integer(0));
    const { address, offset } = k.access(load.buffer, load.index);
    return arithmeticOf(k).add(address, offset);
  });
}

function floatMethod(k: KernelEmitter, product: Product, dots: FloatDots): Method {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { depth, scratch, choice } = product;
  const { wide } = choice;
  const { relaxed, library } = k.input;
  const { scales } = dots;
  const { memory } = k.buffer(dots.codes.buffer);
  const ofScales = scales && {
    block: scales.block,
    shared: scales.shared,
    memory: k.buffer(scales.load.buffer).memory,
  };
  const spec = { format: dots.dtype, scales: ofScales, wide, relaxed, memory };
  const prepare = prepareRow(dots.dtype);
  return {
    pack(rows) {
      packLeft(k, product, rows);
      if (!prepare) return;
      e.emit(scratch.lhs);
      e.emit(add(mul(rows.count, depth.length, 4), scratch.lhs));
      f.call(library.get(prepare));
    },
    dot: (rows) => dotFunction(library, { ...spec, rows }),
  };
}

function integerMethod(k: KernelEmitter, product: Product, dots: IntegerDots): Method {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { lhs, scratch, choice } = product;
  const { wide } = choice;
  const { relaxed, library } = k.input;
  const { format, scales, depth } = dots;
  const { memory } = k.buffer(dots.codes.buffer);
  const scalesMemory = k.buffer(scales.load.buffer).memory;
  const spec = { format, group: scales.block, depth, relaxed, wide, memory, scalesMemory };
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
  const { f, e, table } = k;
  const { add, sub, mul, min, div, rem, groups, floorTo } = arithmeticOf(k);
  const { rows, columns, depth, choice, scratch } = product;
  const method =
    dots.kind === "floats" ? floatMethod(k, product, dots) : integerMethod(k, product, dots);
  const { codes, scales } = dots;
  const rowBytes = choice.columnBlock * 4;
  eachBlock(k, rows.length, choice.fewRows, (rowOffset, rowCount) => {
    const some = { first: add(rows.first, rowOffset), count: rowCount };
    method.pack(some);
    sharing.eachColumns(columns.length, choice.columnBlock, (columnOffset, count) => {
      const first = add(columns.first, columnOffset);
      /** Where something of the first column is, and how far it is from there to the next, or to the next that differs. */
      const strided = (load: Load, next = 1): readonly Value[] => {
        const start = startOf(k, product, load, first);
        return [start, sub(startOf(k, product, load, add(first, next)), start)];
      };
      const skipped = scales?.shared === undefined ? [] : [rem(first, scales.shared)];
      // Four columns at once, far apart, so that each is one long stream: the machine reads ahead along streams.
      const quarter = groups(count, DOT_COLUMNS);
      // Codes' rows are short: at an odd distance streams do not all begin with a new page at once.
      const apart =
        dots.kind === "integers"
          ? table.apply("or", [quarter, min(div(count, ODD_FROM), 1)])
          : quarter;
      const call = (row: Value, together: DotRows): void => {
        for (const value of [
          add(mul(row, depth.length, 4), scratch.lhs),
          mul(depth.length, 4),
          depth.length,
          add(mul(row, rowBytes), scratch.sums),
          table.integer(rowBytes),
          scratch.parts,
          count,
          apart,
          table.integer(0),
          apart,
          ...strided(codes),
          ...(scales ? strided(scales.load, scales.shared) : []),
          ...skipped,
        ])
          e.emit(value);
        f.call(method.dot(together));
      };
      const pairs = floorTo(rowCount, 2);
      each(k, pairs, (row) => call(row, 2), 2);
      each(k, sub(rowCount, pairs), (row) => call(add(row, pairs), 1));
      runBody(k, product, {
        firstRow: some.first,
        rows: rowCount,
        firstColumn: first,
        columns: count,
      });
    });
    sharing.meet();
  });
}
