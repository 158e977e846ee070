/**
 * Copies an operand of a product into panels: [depth][width] floats, so that the inner tile reads it in one stream. In: an
 * expression on (side, depth) and the axis along which four of its elements are read at once. Out: panels, padded with
 * zeros in depth; beyond the last row or column a panel repeats the last one or holds zeros, and nobody reads those sums.
 */
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Operand } from "./product.ts";
import { arithmeticOf, each } from "./product.ts";
import type { Value } from "./values.ts";

/** One panel to be filled. */
export interface Panel {
  readonly width: number;
  readonly address: Value;
  /** First index along the side, and how many of the panel's `width` there are. */
  readonly first: Value;
  readonly valid: Value;
  readonly depthAxis: string;
  readonly firstDepth: Value;
  readonly depth: Value;
  /** `depth`, rounded up to what the tile wants. */
  readonly paddedDepth: Value;
}

/** Leaves a scalar of the operand on the stack as f32. */
function emitScalar(k: KernelEmitter, operand: Operand): void {
  k.e.emit(k.value(operand.expr));
}

function emitLanes(k: KernelEmitter, operand: Operand): void {
  k.e.emit(k.table.splat(k.value(operand.expr)));
}

/** Zeros the steps between `depth` and `paddedDepth`, all of the panel's width. */
function padDepth(k: KernelEmitter, panel: Panel): void {
  const { depth, paddedDepth, width, address } = panel;
  if (depth === paddedDepth) return;
  const { add, mul, sub } = arithmeticOf(k);
  k.e.emit(add(address, mul(depth, width * 4)));
  k.f.i32(0);
  k.e.emit(mul(sub(paddedDepth, depth), width * 4));
  k.f.memoryFill();
}

/** For each row of the side: along the depth, in lanes or one by one. */
function packAlongDepth(k: KernelEmitter, operand: Operand, panel: Panel, lanes: boolean): void {
  const { f, e } = k;
  const { add, mul, sub, min, floorTo } = arithmeticOf(k);
  const { width, address, depth, depthAxis, firstDepth } = panel;
  const last = sub(panel.valid, 1);
  each(k, k.table.integer(width), (side) =>
    k.scoped(() => {
      const whole = panel.valid.kind === "constant" && panel.valid.value === width;
      k.bind(operand.side, add(panel.first, whole ? side : min(side, last)));
      const target = add(address, mul(side, 4));
      const groups = lanes ? floorTo(depth, 4) : k.table.integer(0);
      if (lanes)
        each(
          k,
          groups,
          (step) =>
            k.scoped(() => {
              k.bindLanes(depthAxis, add(firstDepth, step));
              emitLanes(k, operand);
              const register = f.save("v128");
              e.emit(add(target, mul(step, width * 4)));
              const at = f.save("i32");
              for (let lane = 0; lane < 4; lane++) {
                f.get(at);
                f.get(register);
                f.memoryLane("v128.store32_lane", lane, lane * width * 4);
              }
            }),
          4,
        );
      if (lanes && panel.depth === panel.paddedDepth) return;
      e.loop({ start: k.bound(groups), end: k.bound(depth) }, (index) =>
        k.scoped(() => {
          const step = k.counter(index);
          k.bind(depthAxis, add(firstDepth, step));
          e.emit(add(target, mul(step, width * 4)));
          emitScalar(k, operand);
          f.memory("f32.store");
        }),
      );
    }),
  );
  padDepth(k, panel);
}

/** For each step of the depth: registers along the side. A panel that is not full is filled one by one. */
function packAlongSide(k: KernelEmitter, operand: Operand, panel: Panel): void {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { width, address, depth, depthAxis, firstDepth, valid } = panel;
  // The last register of a panel may overlap the one before it.
  const offsets = Array.from({ length: Math.ceil(width / 4) }, (_, i) =>
    Math.min(i * 4, width - 4),
  );
  const full = (): void =>
    each(k, depth, (step) =>
      k.scoped(() => {
        k.bind(depthAxis, add(firstDepth, step));
        const target = add(address, mul(step, width * 4));
        for (const offset of offsets) {
          k.bindLanes(operand.side, add(panel.first, offset));
          e.emit(target);
          emitLanes(k, operand);
          f.memory("v128.store", offset * 4);
        }
      }),
    );
  const partial = (): void => {
    e.emit(address);
    f.i32(0);
    e.emit(mul(depth, width * 4));
    f.memoryFill();
    each(k, depth, (step) =>
      each(k, valid, (side) =>
        k.scoped(() => {
          k.bind(depthAxis, add(firstDepth, step));
          k.bind(operand.side, add(panel.first, side));
          e.emit(add(address, mul(step, width * 4), mul(side, 4)));
          emitScalar(k, operand);
          f.memory("f32.store");
        }),
      ),
    );
  };
  if (valid.kind === "constant" && valid.value === width) full();
  else {
    e.emit(valid);
    f.i32(width);
    f.op("i32.eq");
    f.ifElse(
      () => e.branch(full),
      () => e.branch(partial),
    );
  }
  padDepth(k, panel);
}

/** Fills one panel. */
export function packPanel(k: KernelEmitter, operand: Operand, panel: Panel): void {
  k.scoped(() => {
    if (operand.packing === "side") packAlongSide(k, operand, panel);
    else packAlongDepth(k, operand, panel, operand.packing === "depth");
  });
}

/** Copies rows of an operand as they are, [rows][paddedDepth], for the path without panels. */
export function packRows(
  k: KernelEmitter,
  operand: Operand,
  rows: { readonly first: Value; readonly count: Value; readonly address: Value },
  depth: {
    readonly axis: string;
    readonly first: Value;
    readonly length: Value;
    readonly padded: Value;
  },
): void {
  each(k, rows.count, (row) =>
    k.scoped(() => {
      const { add, mul } = arithmeticOf(k);
      packAlongDepth(
        k,
        operand,
        {
          width: 1,
          address: add(rows.address, mul(row, depth.padded, 4)),
          first: add(rows.first, row),
          valid: k.table.integer(1),
          depthAxis: depth.axis,
          firstDepth: depth.first,
          depth: depth.length,
          paddedDepth: depth.padded,
        },
        operand.packing === "depth",
      );
    }),
  );
}
