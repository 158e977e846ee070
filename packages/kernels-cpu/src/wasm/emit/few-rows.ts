/**
 * Products with a handful of rows, such as one decoded token: the right side is read once, where it lies, and not packed. In:
 * a product of at most `fewRows` rows. Out: its sums, then its body. Where the right side is contiguous along the
 * depth, four columns are four dot products; where it is along the columns, rows of it are added up.
 */
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { packRows } from "./packing.ts";
import type { Product } from "./product.ts";
import { arithmeticOf, each, eachBlock, runBody } from "./product.ts";
import type { Value } from "./values.ts";

/** `sum += left * right`, with `left` and `right` left on the stack by the callers' code. */
function multiplyAdd(
  k: KernelEmitter,
  sum: Local,
  left: () => void,
  right: () => void,
): void {
  const { f } = k;
  if (k.input.relaxed) {
    left();
    right();
    f.get(sum);
    f.op("f32x4.relaxed_madd");
  } else {
    f.get(sum);
    left();
    right();
    f.op("f32x4.mul", "f32x4.add");
  }
  f.set(sum);
}

function zero(f: FunctionBuilder, registers: readonly Local[]): void {
  for (const register of registers) {
    f.f32x4(0);
    f.set(register);
  }
}

/** Sums of four registers in the lanes of one, left on the stack. */
function sumLanes(f: FunctionBuilder, [a, b, c, d]: readonly [Local, Local, Local, Local]): void {
  const half = (x: Local, y: Local): Local => {
    f.get(x);
    f.get(y);
    f.shuffle32(0, 4, 1, 5);
    f.get(x);
    f.get(y);
    f.shuffle32(2, 6, 3, 7);
    f.op("f32x4.add");
    return f.save("v128");
  };
  const left = half(a, b);
  const right = half(c, d);
  f.get(left);
  f.get(right);
  f.shuffle32(0, 1, 4, 5);
  f.get(left);
  f.get(right);
  f.shuffle32(2, 3, 6, 7);
  f.op("f32x4.add");
}

/** Dot products of one packed row with `columns.length` columns; leaves the sums in registers, spread over lanes. */
function dotProducts(
  k: KernelEmitter,
  product: Product,
  row: Value,
  columns: readonly Value[],
): Local[] {
  const { f, e } = k;
  const { add, mul, floorTo } = arithmeticOf(k);
  const { depth, rhs } = product;
  const sums = columns.map(() => f.local("v128"));
  zero(f, sums);
  const whole = floorTo(depth.length, 4);
  each(
    k,
    whole,
    (step) =>
      k.scoped(() => {
        e.emit(add(row, mul(step, 4)));
        f.memory("v128.load");
        const left = f.save("v128");
        k.bindLanes(depth.axis, add(depth.first, step));
        columns.forEach((column, i) => {
          k.bind(rhs.side, column);
          const right = k.table.splat(k.value(rhs.expr));
          multiplyAdd(k, sums[i]!, () => f.get(left), () => e.emit(right));
        });
      }),
    4,
  );
  if (depth.length.kind === "constant" && depth.length.value % 4 === 0) return sums;
  e.loop({ start: k.bound(whole), end: k.bound(depth.length) }, (index) =>
    k.scoped(() => {
      const step = k.counter(index);
      k.bind(depth.axis, add(depth.first, step));
      columns.forEach((column, i) => {
        k.bind(rhs.side, column);
        const right = k.value(rhs.expr);
        // Lane 0 of each operand, zeros in the others.
        multiplyAdd(
          k,
          sums[i]!,
          () => {
            e.emit(add(row, mul(step, 4)));
            f.memory("v128.load32_zero");
          },
          () => {
            f.f32x4(0);
            e.emit(right);
            f.lane("f32x4.replace_lane", 0);
          },
        );
      });
    }),
  );
  return sums;
}

/** One row of sums by dot products, four columns at a time. */
function rowOfDots(
  k: KernelEmitter,
  product: Product,
  row: Value,
  block: { readonly first: Value; readonly count: Value; readonly sums: Value },
): void {
  const { f, e } = k;
  const { add, mul, floorTo } = arithmeticOf(k);
  const whole = floorTo(block.count, 4);
  each(
    k,
    whole,
    (column) => {
      const columns = [0, 1, 2, 3].map((i) => add(block.first, column, i));
      const sums = dotProducts(k, product, row, columns);
      sumLanes(f, sums as [Local, Local, Local, Local]);
      const total = f.save("v128");
      e.emit(add(block.sums, mul(column, 4)));
      f.get(total);
      f.memory("v128.store");
    },
    4,
  );
  e.loop({ start: k.bound(whole), end: k.bound(block.count) }, (index) => {
    const column = k.counter(index);
    const [sum] = dotProducts(k, product, row, [add(block.first, column)]) as [Local];
    sumLanes(f, [sum, sum, sum, sum]);
    f.lane("f32x4.extract_lane", 0);
    const total = f.save("f32");
    e.emit(add(block.sums, mul(column, 4)));
    f.get(total);
    f.memory("f32.store");
  });
}

const DEPTH_UNROLL = 4;

/** Adds `steps` rows of the right side, each times one element of the packed row, to a row of sums. */
function addRows(
  k: KernelEmitter,
  product: Product,
  row: Value,
  block: { readonly first: Value; readonly count: Value; readonly sums: Value },
  step: Value,
  steps: number,
): void {
  const { f, e } = k;
  const { add, mul, floorTo } = arithmeticOf(k);
  const { depth, rhs } = product;
  const left = Array.from({ length: steps }, (_, i) => {
    e.emit(add(row, mul(step, 4)));
    f.memory("v128.load32_splat", i * 4);
    return f.save("v128");
  });
  const whole = floorTo(block.count, 4);
  const sum = f.local("v128");
  const depthAt = (i: number): Value => add(depth.first, step, i);
  each(
    k,
    whole,
    (column) =>
      k.scoped(() => {
        const target = add(block.sums, mul(column, 4));
        e.emit(target);
        f.memory("v128.load");
        f.set(sum);
        k.bindLanes(rhs.side, add(block.first, column));
        left.forEach((factor, i) => {
          k.bind(depth.axis, depthAt(i));
          const right = k.table.splat(k.value(rhs.expr));
          multiplyAdd(k, sum, () => f.get(factor), () => e.emit(right));
        });
        e.emit(target);
        f.get(sum);
        f.memory("v128.store");
      }),
    4,
  );
  e.loop({ start: k.bound(whole), end: k.bound(block.count) }, (index) =>
    k.scoped(() => {
      const column = k.counter(index);
      const target = add(block.sums, mul(column, 4));
      e.emit(target);
      f.memory("v128.load32_zero");
      f.set(sum);
      k.bind(rhs.side, add(block.first, column));
      left.forEach((factor, i) => {
        k.bind(depth.axis, depthAt(i));
        const right = k.table.splat(k.value(rhs.expr));
        multiplyAdd(k, sum, () => f.get(factor), () => e.emit(right));
      });
      e.emit(target);
      f.get(sum);
      f.lane("f32x4.extract_lane", 0);
      f.memory("f32.store");
    }),
  );
}

function rowsAdded(
  k: KernelEmitter,
  product: Product,
  row: Value,
  block: { readonly first: Value; readonly count: Value; readonly sums: Value },
): void {
  const { f, e } = k;
  const { mul, floorTo } = arithmeticOf(k);
  const { length } = product.depth;
  e.emit(block.sums);
  f.i32(0);
  e.emit(mul(block.count, 4));
  f.memoryFill();
  const whole = floorTo(length, DEPTH_UNROLL);
  each(k, whole, (step) => addRows(k, product, row, block, step, DEPTH_UNROLL), DEPTH_UNROLL);
  if (length.kind === "constant" && length.value % DEPTH_UNROLL === 0) return;
  e.loop({ start: k.bound(whole), end: k.bound(length) }, (index) =>
    addRows(k, product, row, block, k.counter(index), 1),
  );
}

/** The whole product, for at most `choice.fewRows` rows. */
export function emitFewRows(k: KernelEmitter, product: Product): void {
  const { add, mul, groups } = arithmeticOf(k);
  const { rows, columns, depth, lhs, rhs, choice, scratch } = product;
  const padded = mul(groups(depth.length, 4), 4);
  const packed = k.table.integer(scratch.lhs);
  packRows(
    k,
    lhs,
    { first: rows.first, count: rows.length, address: packed },
    { ...depth, padded },
  );
  eachBlock(k, columns.length, choice.columnBlock, (offset, count) => {
    const first = add(columns.first, offset);
    each(k, rows.length, (row) => {
      const left = add(mul(row, padded, 4), packed);
      const sums = add(mul(row, choice.columnBlock * 4), scratch.sums);
      const compute = rhs.packing === "depth" ? rowOfDots : rowsAdded;
      compute(k, product, left, { first, count, sums });
    });
    runBody(k, product, { firstRow: rows.first, rows: rows.length, firstColumn: first, columns: count });
  });
}
