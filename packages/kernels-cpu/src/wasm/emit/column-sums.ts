/**
 * Products of one packed row with a right side that is contiguous along the depth. In: the row, a block of columns. Out: a row
 * of sums in memory. Four columns share a register: what is read along the depth is transposed four by four. Each
 * sum adds up in the order of the depth, so it has the bits that the tiles would give it.
 */
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { multiplyAdd } from "./micro-kernel.ts";
import type { Product, SumBlock } from "./product.ts";
import { arithmeticOf, each } from "./product.ts";
import { transpose } from "./transpose.ts";
import type { Value } from "./values.ts";

const QUAD = 4;
/** Registers of sums in the main loop; more hide more of an addition's latency and repeat more code. */
const QUADS = 2;

/** Adds four steps of the depth to the sums of four columns each. */
function addSteps(
  k: KernelEmitter,
  { depth, rhs }: Product,
  row: Value,
  step: Value,
  column: Value,
  sums: readonly Local[],
): void {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  e.emit(add(row, mul(step, 4)));
  const at = f.save("i32");
  const left = Array.from({ length: QUAD }, (_, i) => {
    f.get(at);
    f.memory("v128.load32_splat", i * 4);
    return f.save("v128");
  });
  k.bindLanes(depth.axis, add(depth.first, step));
  sums.forEach((sum, quad) => {
    const along = Array.from({ length: QUAD }, (_, i) => {
      k.bind(rhs.side, add(column, quad * QUAD + i));
      e.emit(k.table.splat(k.value(rhs.expr)));
      return f.save("v128");
    });
    transpose(f, along).forEach((right, i) =>
      multiplyAdd(
        f,
        k.input.relaxed,
        sum,
        () => f.get(left[i]!),
        () => f.get(right),
      ),
    );
  });
}

/** Adds one step of the depth to the sums of `lanes` columns each, read one by one. */
function addStep(
  k: KernelEmitter,
  { depth, rhs }: Product,
  row: Value,
  step: Value,
  column: Value,
  sums: readonly Local[],
  lanes: number,
): void {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  k.bind(depth.axis, add(depth.first, step));
  sums.forEach((sum, quad) => {
    const right = f.local("v128");
    for (let lane = 0; lane < lanes; lane++) {
      k.bind(rhs.side, add(column, quad * QUAD + lane));
      if (lane > 0) f.get(right);
      e.emit(k.value(rhs.expr));
      if (lane === 0) f.op("f32x4.splat");
      else f.lane("f32x4.replace_lane", lane);
      f.set(right);
    }
    multiplyAdd(
      f,
      k.input.relaxed,
      sum,
      () => {
        e.emit(add(row, mul(step, 4)));
        f.memory("v128.load32_splat");
      },
      () => f.get(right),
    );
  });
}

/** Registers with the sums of the columns from `column` on; with one lane, of that column alone. */
function sumsOf(
  k: KernelEmitter,
  product: Product,
  row: Value,
  column: Value,
  quads: number,
  lanes: number,
): Local[] {
  const { f, e } = k;
  const { floorTo } = arithmeticOf(k);
  const { length } = product.depth;
  const sums = Array.from({ length: quads }, () => {
    f.f32x4(0);
    return f.save("v128");
  });
  const whole = lanes === QUAD ? floorTo(length, QUAD) : k.table.integer(0);
  if (lanes === QUAD)
    each(k, whole, (step) => k.scoped(() => addSteps(k, product, row, step, column, sums)), QUAD);
  if (lanes === QUAD && length.kind === "constant" && length.value % QUAD === 0) return sums;
  e.loop({ start: k.bound(whole), end: k.bound(length) }, (index) =>
    k.scoped(() => addStep(k, product, row, k.counter(index), column, sums, lanes)),
  );
  return sums;
}

/** One row of sums. */
export function emitColumnSums(
  k: KernelEmitter,
  product: Product,
  row: Value,
  block: SumBlock,
): void {
  const { f, e } = k;
  const { add, mul, floorTo } = arithmeticOf(k);
  const groups = (start: Value, end: Value, quads: number): void =>
    e.loop({ start: k.bound(start), end: k.bound(end), step: quads * QUAD }, (index) => {
      const column = k.counter(index);
      k.markAligned(column);
      const sums = sumsOf(k, product, row, add(block.first, column), quads, QUAD);
      sums.forEach((sum, quad) => {
        e.emit(add(block.sums, mul(column, 4)));
        f.get(sum);
        f.memory("v128.store", quad * QUAD * 4);
      });
    });
  const wide = floorTo(block.count, QUADS * QUAD);
  const whole = floorTo(block.count, QUAD);
  groups(k.table.integer(0), wide, QUADS);
  groups(wide, whole, 1);
  e.loop({ start: k.bound(whole), end: k.bound(block.count) }, (index) => {
    const column = k.counter(index);
    const [sum] = sumsOf(k, product, row, add(block.first, column), 1, 1);
    e.emit(add(block.sums, mul(column, 4)));
    f.get(sum!);
    f.memoryLane("v128.store32_lane", 0);
  });
}
