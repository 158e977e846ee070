/**
 * Copies an operand of a product into panels: [depth][width] floats, so that the inner tile reads it in one stream. In: an
 * expression on (side, depth) and the axis along which four of its elements are read at once. Out: panels, padded with
 * zeros in depth; beyond the last row or column a panel repeats the last one or holds zeros, and nobody reads those sums.
 */
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Operand } from "./product.ts";
import { arithmeticOf, each } from "./product.ts";
import { interleave, transpose } from "./transpose.ts";
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

/** Rows that are packed together: their elements of four steps are turned in registers. */
function rowGroups(width: number): readonly { readonly first: number; readonly rows: number }[] {
  const groups: { first: number; rows: number }[] = [];
  for (let first = 0; first < width;) {
    const rows = [8, 4, 2, 1].find((size) => size <= width - first) ?? 1;
    groups.push({ first, rows });
    first += rows;
  }
  return groups;
}

/**
 * Stores four steps of the depth of one, two, four or eight rows that are neighbours in a panel. Both halves of eight are turned by the
 * same shuffles and stored side by side, the second one first: pairs for an engine that joins them.
 */
function storeTurned(
  f: FunctionBuilder,
  registers: readonly Local[],
  stepBytes: number,
  target: () => void,
): void {
  target();
  const at = f.save("i32");
  if (registers.length >= 4) {
    const halves =
      registers.length === 4 ? [registers] : [registers.slice(0, 4), registers.slice(4)];
    const turned = halves.map((rows) => transpose(f, rows));
    for (let step = 0; step < 4; step++)
      for (let half = halves.length - 1; half >= 0; half--) {
        f.get(at);
        f.get(turned[half]![step]!);
        f.memory("v128.store", step * stepBytes + half * 16);
      }
    return;
  }
  if (registers.length === 2) {
    interleave(f, registers).forEach((pairs, half) => {
      for (const lane of [0, 1] as const) {
        f.get(at);
        f.get(pairs);
        f.memoryLane("v128.store64_lane", lane, (half * 2 + lane) * stepBytes);
      }
    });
    return;
  }
  for (let lane = 0; lane < 4; lane++) {
    f.get(at);
    f.get(registers[0]!);
    f.memoryLane("v128.store32_lane", lane, lane * stepBytes);
  }
}

/** Along the depth, several rows of the side together, four steps at a time; or one by one. */
function packAlongDepth(k: KernelEmitter, operand: Operand, panel: Panel, lanes: boolean): void {
  const { f, e } = k;
  const { add, mul, sub, min, floorTo } = arithmeticOf(k);
  const { width, address, depth, depthAxis, firstDepth } = panel;
  const last = sub(panel.valid, 1);
  const isFull = panel.valid.kind === "constant" && panel.valid.value === width;
  const bindSide = (side: Value): void =>
    k.bind(operand.side, add(panel.first, isFull ? side : min(side, last)));
  const groups = lanes ? floorTo(depth, 4) : k.table.integer(0);
  if (lanes)
    for (const { first, rows } of rowGroups(width))
      each(
        k,
        groups,
        (step) =>
          k.scoped(() => {
            k.bindLanes(depthAxis, add(firstDepth, step));
            const registers = Array.from({ length: rows }, (_, row) => {
              bindSide(k.table.integer(first + row));
              emitLanes(k, operand);
              return f.save("v128");
            });
            const target = add(address, mul(step, width * 4), first * 4);
            if (width === 1) {
              e.emit(target);
              f.get(registers[0]!);
              f.memory("v128.store");
            } else storeTurned(f, registers, width * 4, () => e.emit(target));
          }),
        4,
      );
  if (!lanes || panel.depth !== panel.paddedDepth)
    each(k, k.table.integer(width), (side) =>
      k.scoped(() => {
        bindSide(side);
        const target = add(address, mul(side, 4));
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

/** Offsets of the registers that fill a panel; the last one may overlap the one before it. */
const registerOffsets = (width: number): readonly number[] =>
  Array.from({ length: Math.ceil(width / 4) }, (_, i) => Math.min(i * 4, width - 4));

/** For each step of the depth: registers along the side, of `count` panels that are full and follow each other. */
function packFullAlongSide(k: KernelEmitter, operand: Operand, panel: Panel, count: number): void {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { width, address, depth, depthAxis, firstDepth, paddedDepth } = panel;
  each(k, depth, (step) =>
    k.scoped(() => {
      k.bind(depthAxis, add(firstDepth, step));
      for (let i = 0; i < count; i++) {
        const target = add(address, mul(paddedDepth, width * 4 * i), mul(step, width * 4));
        // All are read before any is stored, and the last stored first: so neighbours make pairs.
        const registers = registerOffsets(width).map((offset) => {
          k.bindLanes(operand.side, panel.first, width * i + offset);
          emitLanes(k, operand);
          return { offset, values: f.save("v128") };
        });
        for (const { offset, values } of registers.toReversed()) {
          e.emit(target);
          f.get(values);
          f.memory("v128.store", offset * 4);
        }
      }
    }),
  );
  for (let i = 0; i < count; i++)
    padDepth(k, { ...panel, address: add(address, mul(paddedDepth, width * 4 * i)) });
}

/** The same for one panel that may not be full: then its elements are copied one by one. */
function packAlongSide(k: KernelEmitter, operand: Operand, panel: Panel): void {
  const { f, e } = k;
  const { add, mul } = arithmeticOf(k);
  const { width, address, depth, depthAxis, firstDepth, valid } = panel;
  const full = (): void => packFullAlongSide(k, operand, panel, 1);
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
    padDepth(k, panel);
  };
  if (valid.kind === "constant" && valid.value === width) {
    full();
    return;
  }
  e.emit(valid);
  f.i32(width);
  f.op("i32.eq");
  f.ifElse(
    () => e.branch(full),
    () => e.branch(partial),
  );
}

/** Panels that are filled together along the side: what they have in common is read once, and cache lines are used whole. */
export const PANELS = 4;

/** Panels one after the other: a stretch of the side, `length` long, for a stretch of the depth. */
export interface PanelRow extends Omit<Panel, "valid"> {
  readonly length: Value;
  /** The length is a multiple of this, also where it is not known. */
  readonly multiple: number;
}

/** Fills panels of one operand. */
export function packPanels(k: KernelEmitter, operand: Operand, row: PanelRow): void {
  const { e, table } = k;
  const { add, sub, mul, min, groups, floorTo } = arithmeticOf(k);
  const { width, length, multiple } = row;
  const even = length.kind === "constant" ? length.value % width === 0 : multiple % width === 0;
  const panelAt = (index: Value): Panel => ({
    ...row,
    address: add(row.address, mul(index, row.paddedDepth, width * 4)),
    first: add(row.first, mul(index, width)),
    valid: even ? table.integer(width) : min(width, sub(length, mul(index, width))),
  });
  const alongSide = operand.packing === "side";
  const together = alongSide
    ? floorTo(table.apply("div", [length, table.integer(width)]), PANELS)
    : table.integer(0);
  if (alongSide)
    each(
      k,
      together,
      (index) => k.scoped(() => packFullAlongSide(k, operand, panelAt(index), PANELS)),
      PANELS,
    );
  const count = groups(length, width);
  if (together.kind === "constant" && together === count) return;
  e.loop({ start: k.bound(together), end: k.bound(count) }, (index) =>
    k.scoped(() => {
      const panel = panelAt(k.counter(index));
      if (alongSide) packAlongSide(k, operand, panel);
      else packAlongDepth(k, operand, panel, operand.packing === "depth");
    }),
  );
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
