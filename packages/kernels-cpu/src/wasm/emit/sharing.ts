/**
 * How a product is shared. In: the kernel's emitter. Out: loops over what a thread packs and over the rows or columns it multiplies: all
 * of them for a thread alone, or those that it takes while others take theirs. Which thread takes what shows in the time only.
 */
import { InternalError } from "@millrace/graph";
import { TILE_ROWS } from "../configure/contract.ts";
import { LINE } from "../configure/divide.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { PANELS } from "./packing.ts";
import type { Extent, Product } from "./product.ts";
import { arithmeticOf, eachBlock, wholePanels } from "./product.ts";
import type { Team } from "./team.ts";
import type { Value } from "./values.ts";

/** Runs `body` for stretches of a length that together are all of it: each stretch's offset, and how much of it there is. */
type Stretches = (length: Value, most: number, body: (offset: Value, size: Value) => void) => void;

/** What a product leaves to those who share it. */
export interface Sharing {
  /** Columns of the right side that are packed for tiles. */
  readonly eachPacked: Stretches;
  /** Rows that are multiplied by tiles. */
  readonly eachRows: Stretches;
  /** Columns that a few rows are multiplied with. */
  readonly eachColumns: Stretches;
  /** After each of these, before another one begins. */
  readonly meet: () => void;
}

/** For a thread alone, which needs nobody to meet. */
export const unshared = (k: KernelEmitter): Sharing => ({
  eachPacked: (length, _, body) => body(k.table.integer(0), length),
  eachRows: (length, most, body) => eachBlock(k, length, most, body),
  eachColumns: (length, most, body) => eachBlock(k, length, most, body),
  meet: () => undefined,
});

/** The threads that a kernel is divided among. */
export function teamOf(k: KernelEmitter): Team {
  const { team, kernel } = k.input;
  if (team) return team;
  throw new InternalError({
    what: "a kernel is divided without a team",
    where: `kernel ${kernel.name}`,
  });
}

/** A product whose right side is packed where all threads read it. */
export function inShared(k: KernelEmitter, product: Product): Product {
  const { rows, columns, choice, scratch } = product;
  const inPanels = (extent: Extent, width: number): Extent => ({
    ...extent,
    multiple: wholePanels(extent.length, width),
  });
  return {
    ...product,
    rows: inPanels(rows, TILE_ROWS),
    columns: inPanels(columns, choice.tileColumns),
    scratch: { ...scratch, rhs: k.table.integer(k.input.scratch.shared) },
  };
}

/** Threads pack the right side together, and take rows of the left one, each as it comes for them. */
export function asTheyCome(k: KernelEmitter, { choice }: Product): Sharing {
  const { f, e, table } = k;
  const { sub } = arithmeticOf(k);
  const team = teamOf(k);
  const each =
    (grain: number): Stretches =>
    (length, most, body) =>
      f.block((done) =>
        // Not even with the smallest stretches there are more turns.
        e.loop({ start: 0, end: k.bound(length), step: grain }, () => {
          e.emit(length);
          f.i32(most);
          f.i32(grain);
          f.call(team.take);
          const start = f.save("i32");
          f.get(start);
          e.emit(length);
          f.op("i32.ge_s");
          f.brIf(done);
          const offset = table.local(start, "i32", e.depth, { natural: true });
          e.emit(sub(length, offset));
          f.i32(most);
          f.i32(grain);
          f.call(team.stretch);
          body(offset, table.local(f.save("i32"), "i32", e.depth, { natural: true }));
        }),
      );
  return {
    eachPacked: each(PANELS * choice.tileColumns),
    eachRows: each(TILE_ROWS),
    eachColumns: each(LINE),
    meet: () => f.call(team.barrier),
  };
}
