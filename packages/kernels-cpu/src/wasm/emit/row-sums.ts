/**
 * Products of one packed row with a right side that is contiguous along its columns. In: the row, a block of columns. Out: a row
 * of sums in memory. Rows of the right side, each times one element, are added up in the order of the depth, so every
 * sum has the bits that the tiles would give it.
 */
import type { KernelEmitter } from "./kernel-emitter.ts";
import { multiplyAdd } from "./micro-kernel.ts";
import type { Product, SumBlock } from "./product.ts";
import { arithmeticOf, each } from "./product.ts";
import type { Value } from "./values.ts";

const DEPTH_UNROLL = 4;

/** Adds `steps` rows of the right side, each times one element of the packed row, to a row of sums. */
function addRows(
  k: KernelEmitter,
  product: Product,
  row: Value,
  block: SumBlock,
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
          multiplyAdd(
            f,
            k.input.relaxed,
            sum,
            () => f.get(factor),
            () => e.emit(right),
          );
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
        multiplyAdd(
          f,
          k.input.relaxed,
          sum,
          () => f.get(factor),
          () => e.emit(right),
        );
      });
      e.emit(target);
      f.get(sum);
      f.lane("f32x4.extract_lane", 0);
      f.memory("f32.store");
    }),
  );
}

/** One row of sums. */
export function emitRowSums(k: KernelEmitter, product: Product, row: Value, block: SumBlock): void {
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
