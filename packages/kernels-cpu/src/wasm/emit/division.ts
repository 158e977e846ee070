/**
 * Kernels that the threads of a team run together. In: outer statements and how each is divided. Out: code that does one thread's
 * part of them, with a barrier between two, since the second may read what the first has written. Loops are
 * divided by range, products by tiles; a thread's part has the same code as the whole.
 */
import type { Contract, Statement } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { TILE_COLUMNS, TILE_ROWS } from "../configure/contract.ts";
import type { ContractChoice } from "../configure/contract.ts";
import type { Loop } from "../configure/configure.ts";
import { EVEN_TILES, LINE } from "../configure/divide.ts";
import type { Division, ProductAxis } from "../configure/divide.ts";
import type { SharedRight } from "./contract.ts";
import { choosePath, clearSums, emitBlocked, knownRows } from "./contract.ts";
import { emitFewRows } from "./few-rows.ts";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Bounds } from "./loop.ts";
import { boundsOf, plainLoop } from "./loop.ts";
import type { Extent, Product } from "./product.ts";
import { arithmeticOf, productOf } from "./product.ts";
import { emitStatement } from "./statements.ts";
import type { Team } from "./team.ts";
import type { Value } from "./values.ts";

function teamOf(k: KernelEmitter): Team {
  const { team, kernel } = k.input;
  if (team) return team;
  throw new InternalError({
    what: "a kernel is divided without a team",
    where: `kernel ${kernel.name}`,
  });
}

const valueOf = (k: KernelEmitter, bound: number | Local): Value =>
  typeof bound === "number"
    ? k.table.integer(bound)
    : k.table.local(bound, "i32", k.e.depth, { natural: true });

/** First and last iteration, of 0 to `length`, that are this thread's. */
function shareOf(k: KernelEmitter, length: Value, grain: number): { start: Local; end: Local } {
  const { f, e } = k;
  const team = teamOf(k);
  const border = (next: number): Local => {
    e.emit(length);
    f.i32(grain);
    f.globalGet(team.thread);
    if (next > 0) {
      f.i32(next);
      f.op("i32.add");
    }
    f.call(team.share);
    return f.save("i32");
  };
  return { start: border(0), end: border(1) };
}

/** The iterations of a loop that are this thread's. */
function stretchOf(k: KernelEmitter, { range }: Loop, grain: number): Bounds {
  const { add, sub } = arithmeticOf(k);
  const bounds = boundsOf(k, range);
  const [first, last] = [valueOf(k, bounds.start), valueOf(k, bounds.end)];
  const length = sub(last, first);
  const share = shareOf(k, length, grain);
  const at = (border: Local): Local => k.e.hold(add(first, valueOf(k, border)));
  return {
    start: at(share.start),
    end: at(share.end),
    aligned: grain % 4 === 0 && first.kind === "constant" && first.value % 4 === 0,
    whole: grain % 4 === 0 && length.kind === "constant" && length.value % 4 === 0,
  };
}

/** This thread's part of a product's rows or columns. */
function partOf(k: KernelEmitter, extent: Extent, grain: number): Extent {
  const { add, sub } = arithmeticOf(k);
  const { axis, first, length } = extent;
  const share = shareOf(k, length, grain);
  const [start, end] = [valueOf(k, share.start), valueOf(k, share.end)];
  const even = length.kind === "constant" && length.value % grain === 0;
  return { axis, first: add(first, start), length: sub(end, start), multiple: even ? grain : 1 };
}

/** A right side that all threads pack together. */
function sharedRight(k: KernelEmitter): SharedRight {
  const team = teamOf(k);
  return {
    address: k.table.integer(k.input.scratch.shared),
    panels: (count) => shareOf(k, count, 1),
    sync: () => k.f.call(team.barrier),
  };
}

/** Divides rows or columns, whichever the rows of this run allow; where columns are divided, each thread packs its own. */
function emitEither(k: KernelEmitter, product: Product): void {
  const { f, e } = k;
  const team = teamOf(k);
  e.emit(product.rows.length);
  f.i32(TILE_ROWS * EVEN_TILES);
  f.globalGet(team.threads);
  f.op("i32.mul", "i32.ge_s");
  f.ifElse(
    () => e.branch(() => emitBlockedPart(k, product, "rows")),
    () => e.branch(() => emitBlockedPart(k, product, "columns")),
  );
}

function emitBlockedPart(k: KernelEmitter, product: Product, by: ProductAxis): void {
  switch (by) {
    case "rows":
      emitBlocked(k, { ...product, rows: partOf(k, product.rows, TILE_ROWS) }, sharedRight(k));
      break;
    case "columns":
      emitBlocked(k, { ...product, columns: partOf(k, product.columns, TILE_COLUMNS) });
      break;
    case "either":
      emitEither(k, product);
  }
}

function choiceOf(k: KernelEmitter, contract: Contract): ContractChoice {
  const choice = k.input.choices.get(contract);
  if (choice?.kind === "contract") return choice;
  throw new InternalError({ what: "a product has no configuration" });
}

function emitDividedProduct(k: KernelEmitter, contract: Contract, by: ProductAxis): void {
  const product = productOf(k, contract, choiceOf(k, contract));
  clearSums(k, product);
  choosePath(
    k,
    product,
    knownRows(product),
    () => emitFewRows(k, { ...product, columns: partOf(k, product.columns, LINE) }),
    () => emitBlockedPart(k, product, by),
  );
}

/** Opens loops that stand around products. */
function emitNest(k: KernelEmitter, [loop, ...inner]: readonly Loop[], body: () => void): void {
  if (!loop) {
    body();
    return;
  }
  const { range } = loop;
  plainLoop(k, range.axis, boundsOf(k, range), () => emitNest(k, inner, body));
}

/**
 * All tiles of rows of all products, one product after the other, each tile counted by its depth: a thread takes a
 * stretch of them, so that experts with many rows are shared and those with few are not cut.
 */
function emitBatch(k: KernelEmitter, loops: readonly Loop[], contract: Contract): void {
  const { f, e } = k;
  const team = teamOf(k);
  const { add, sub, mul, min, groups } = arithmeticOf(k);
  const tilesOf = (product: Product): { tiles: Value; weight: Value } => ({
    tiles: groups(product.rows.length, TILE_ROWS),
    weight: add(groups(product.depth.length, 64), 1),
  });
  const choice = choiceOf(k, contract);
  const total = f.local("i32");
  f.i32(0);
  f.set(total);
  emitNest(k, loops, () => {
    const { tiles, weight } = tilesOf(productOf(k, contract, choice));
    e.emit(mul(tiles, weight));
    f.get(total);
    f.op("i32.add");
    f.set(total);
  });
  const share = shareOf(k, k.table.local(total, "i32", k.e.depth), 1);
  // Both borders are counted from the present product on.
  const borders = [share.start, share.end] as const;
  emitNest(k, loops, () => {
    const product = productOf(k, contract, choice);
    const { rows } = product;
    const { tiles, weight } = tilesOf(product);
    const units = mul(tiles, weight);
    const [first, last] = borders.map((border) => {
      f.get(border);
      e.emit(units);
      e.emit(weight);
      f.call(team.tilesBefore);
      const before = f.save("i32");
      f.get(border);
      e.emit(units);
      f.op("i32.sub");
      f.set(border);
      return valueOf(k, before);
    }) as [Value, Value];
    const start = mul(first, TILE_ROWS);
    const length = sub(min(mul(last, TILE_ROWS), rows.length), start);
    const known = knownRows(product);
    const even = known !== undefined && known % TILE_ROWS === 0;
    const part = { ...rows, first: add(rows.first, start), length, multiple: even ? TILE_ROWS : 1 };
    const mine = { ...product, rows: part };
    e.emit(first);
    e.emit(last);
    f.op("i32.lt_s");
    f.ifElse(() =>
      e.branch(() => {
        clearSums(k, mine);
        choosePath(
          k,
          mine,
          known,
          () => emitFewRows(k, mine),
          () => emitBlocked(k, mine),
        );
      }),
    );
  });
}

function emitPart(k: KernelEmitter, statement: Statement, division: Division | undefined): void {
  switch (division?.kind) {
    case undefined:
      emitStatement(k, statement);
      break;
    case "range":
      k.stretches.set(division.loop, stretchOf(k, division.loop, division.grain));
      emitStatement(k, statement);
      break;
    case "product":
      emitDividedProduct(k, statement as Contract, division.by);
      break;
    case "batch":
      emitBatch(k, division.loops, division.contract);
  }
}

/** One thread's part of a kernel's statements. */
export function emitDivided(
  k: KernelEmitter,
  body: readonly Statement[],
  divisions: ReadonlyMap<Statement, Division>,
): void {
  const { barrier } = teamOf(k);
  k.scoped(() => {
    let behind = false;
    for (const statement of body) {
      const division = divisions.get(statement);
      if (division && behind) k.f.call(barrier);
      behind ||= division !== undefined;
      emitPart(k, statement, division);
    }
  });
}
