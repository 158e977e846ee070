/**
 * Kernels that the threads of a team run together. In: outer statements and how each is divided. Out: code that does one thread's
 * part of them, with a barrier between two, since the second may read what the first has written. Loops are
 * divided by range, products by tiles; a thread's part has the same code as the whole.
 */
import type { Contract, Statement } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { TILE_ROWS } from "../configure/contract.ts";
import type { ContractChoice } from "../configure/contract.ts";
import type { Loop } from "../configure/configure.ts";
import { EVEN_TILES } from "../configure/divide.ts";
import type { Division, ProductAxis } from "../configure/divide.ts";
import { choosePath, clearSums, emitBlocked, knownRows } from "./contract.ts";
import { emitFewRows } from "./few-rows.ts";
import type { Local } from "./function-builder.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { boundsOf, plainLoop } from "./loop.ts";
import type { Extent, Product } from "./product.ts";
import { arithmeticOf, productOf, wholePanels } from "./product.ts";
import { asTheyCome, inShared, teamOf } from "./sharing.ts";
import { emitStatement } from "./statements.ts";
import type { Value } from "./values.ts";

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

/**
 * Divides loops that stand one inside the other. All iterations, in groups of `grain` of the innermost loop, are counted
 * through, and a thread has a stretch of them. The outer loops run whole; the innermost runs what falls into the stretch.
 */
function divideRange(k: KernelEmitter, loops: readonly Loop[], grain: number): void {
  const { add, sub, mul, min, max, groups } = arithmeticOf(k);
  const bounds = loops.map((loop) => boundsOf(k, loop.range));
  const first = valueOf(k, bounds[0]!.start);
  const lengths = bounds.map(({ start, end }) => sub(valueOf(k, end), valueOf(k, start)));
  const inner = lengths.at(-1)!;
  const units = groups(inner, grain);
  const share = shareOf(k, mul(...lengths.slice(0, -1), units), 1);
  const [from, to] = [valueOf(k, share.start), valueOf(k, share.end)];
  k.stretches.set(loops.at(-1)!, () => {
    let before = k.table.integer(0);
    for (const [i, { range }] of loops.slice(0, -1).entries()) {
      const counter = k.axis(range.axis);
      before = add(mul(before, lengths[i]!), i === 0 ? sub(counter, first) : counter);
    }
    const start = loops.length === 1 ? first : k.table.integer(0);
    const at = (border: Value): number | Local => {
      const unit = max(min(sub(border, mul(before, units)), units), 0);
      return k.bound(add(start, min(mul(unit, grain), inner)));
    };
    return {
      start: at(from),
      end: at(to),
      aligned: grain % 4 === 0 && start.kind === "constant" && start.value % 4 === 0,
      whole: grain % 4 === 0 && inner.kind === "constant" && inner.value % 4 === 0,
    };
  });
}

/** This thread's part of a product's rows or columns. */
function partOf(k: KernelEmitter, extent: Extent, grain: number): Extent {
  const { add, sub } = arithmeticOf(k);
  const { axis, first, length } = extent;
  const share = shareOf(k, length, grain);
  const [start, end] = [valueOf(k, share.start), valueOf(k, share.end)];
  const multiple = wholePanels(length, grain);
  return { axis, first: add(first, start), length: sub(end, start), multiple };
}

/** Shares rows or columns, whichever the rows of this run allow. */
function emitBlockedPart(k: KernelEmitter, product: Product, by: ProductAxis): void {
  const { f, e } = k;
  switch (by) {
    case "rows":
      emitBlocked(k, inShared(k, product), asTheyCome(k, product));
      break;
    case "columns":
      emitBlocked(k, {
        ...product,
        columns: partOf(k, product.columns, product.choice.tileColumns),
      });
      break;
    case "either":
      e.emit(product.rows.length);
      f.i32(TILE_ROWS * EVEN_TILES);
      f.globalGet(teamOf(k).threads);
      f.op("i32.mul", "i32.ge_s");
      f.ifElse(
        () => e.branch(() => emitBlockedPart(k, product, "rows")),
        () => e.branch(() => emitBlockedPart(k, product, "columns")),
      );
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
    () => emitFewRows(k, product, asTheyCome(k, product)),
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
    const multiple = wholePanels(rows.length, TILE_ROWS);
    const part = { ...rows, first: add(rows.first, start), length, multiple };
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
          knownRows(product),
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
      divideRange(k, division.loops, division.grain);
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
