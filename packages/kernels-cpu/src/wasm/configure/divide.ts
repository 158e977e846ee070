/**
 * How the threads of a team share a kernel. In: a configured kernel and the number of threads. Out: a division of each of its outer
 * statements, or none, where one thread does it all: too little work, or an order to be kept. Who does what never changes
 * what is computed: only iterations that are independent are divided, and no sum is.
 */
import type { Contract, Dim, Expr, Kernel, Statement } from "@millrace/graph";
import { maxDim, visitExpr, visitStatements, expressionsOf } from "@millrace/graph";
import { configure, nestOf } from "./configure.ts";
import type { Choice, Configuration, Loop } from "./configure.ts";
import type { ContractChoice } from "./contract.ts";
import { TILE_ROWS } from "./contract.ts";
import { variesWith } from "./stride.ts";
import { workOf } from "./work.ts";

/**
 * How a product is shared. By rows: all pack the right side together and take rows as they come. By columns, where rows are few: each
 * packs its own. Either: whichever suits the rows there are when it runs.
 */
export type ProductAxis = "rows" | "columns" | "either";

export type Division =
  /**
   * Each thread takes a stretch of all iterations of these loops, one inside the other, in their order: whole groups of
   * `grain` iterations of the innermost.
   */
  | { readonly kind: "range"; readonly loops: readonly Loop[]; readonly grain: number }
  | { readonly kind: "product"; readonly by: ProductAxis }
  /** Each thread takes a stretch of the tiles of all the products inside these loops. */
  | { readonly kind: "batch"; readonly loops: readonly Loop[]; readonly contract: Contract };

/** A configured kernel, and what each thread of a team does of it. */
export interface TeamConfiguration extends Configuration {
  /** Nanoseconds on one thread, roughly. */
  readonly work: Dim;
  /** By outer statement; empty where one thread runs the whole kernel. */
  readonly divisions: ReadonlyMap<Statement, Division>;
}

/** Nanoseconds of work from which sharing a kernel is worth a barrier. */
export const DIVIDE_FROM = 10_000;

/** Floats in a cache line: two threads should not write into one. */
export const LINE = 16;
/** Tiles per thread along an axis that make an even split. */
export const EVEN_TILES = 8;
/** Time of the busiest thread, relative to an even split, from which on another loop is divided with the outer ones. */
const UNEVEN = 1.05;

/** Time of the busiest thread relative to an even split, for `units` that cannot be divided. */
const unevenness = (units: number, threads: number): number =>
  units === 0 ? threads : (Math.ceil(units / threads) * threads) / units;

const isLanes = (choices: ReadonlyMap<Statement, Choice>, loop: Loop): boolean => {
  const choice = choices.get(loop);
  return choice?.kind === "loop" && choice.lanes;
};

function loads(expr: Expr): boolean {
  let found = false;
  visitExpr(expr, (part) => {
    found ||= part.kind === "load";
  });
  return found;
}

/**
 * Divides a nest of parallel loops: as many of the outer ones, taken as one, as it takes to split evenly. A thread's
 * part is then a stretch of memory in most kernels, and the same one in kernel after kernel.
 */
function divideLoops(
  nest: readonly Loop[],
  choices: ReadonlyMap<Statement, Choice>,
  threads: number,
): Division {
  let units = 1;
  let grain = 1;
  const loops: Loop[] = [];
  for (const loop of nest) {
    const { extent, start, end } = loop.range;
    // Bounds that are read from memory are read where they stand.
    if (loops.length > 0 && (start || (end && loads(end)))) break;
    loops.push(loop);
    grain = isLanes(choices, loop) ? LINE : 1;
    // A size that is fixed only when it runs may be small then.
    units *= typeof extent === "number" && !end ? Math.ceil(extent / grain) : 1;
    if (unevenness(units, threads) <= UNEVEN) break;
  }
  return { kind: "range", loops, grain };
}

/** Each result is stored by the row and column it belongs to, so rows and columns can be divided. */
function isDivisible({ rows, columns, body }: Contract): boolean {
  let divisible = true;
  visitStatements(body, (statement) => {
    if (statement.kind !== "store") return;
    for (const { axis, extent } of [rows, columns]) {
      if (extent === 1) continue;
      const scope = { axis, lets: new Map(), varying: new Set<string>() };
      divisible &&= statement.index.some((index) => variesWith(index, scope));
    }
  });
  return divisible;
}

/** Rows, unless they are too few for an even split and there are more columns. */
function productAxis(
  { rows, columns }: Contract,
  { tileColumns }: ContractChoice,
  threads: number,
): ProductAxis {
  const m = rows.extent;
  if (typeof m !== "number") return "either";
  const columnTiles = Math.ceil(maxDim(columns.extent) / tileColumns);
  const even = EVEN_TILES * threads;
  return Math.ceil(m / TILE_ROWS) >= Math.min(columnTiles, even) ? "rows" : "columns";
}

function divideStatement(
  statement: Statement,
  choices: ReadonlyMap<Statement, Choice>,
  threads: number,
): Division | undefined {
  const choice = choices.get(statement);
  if (statement.kind === "contract" && choice?.kind === "contract")
    return isDivisible(statement)
      ? { kind: "product", by: productAxis(statement, choice, threads) }
      : undefined;
  if (statement.kind !== "loop" || statement.order !== "parallel") return undefined;
  const loops = nestOf(statement);
  const [inner, ...rest] = loops.at(-1)!.body;
  if (inner?.kind === "contract" && rest.length === 0 && isDivisible(inner))
    return { kind: "batch", loops, contract: inner };
  return divideLoops(loops, choices, threads);
}

/** Every thread names the value anew, so it must not read what the kernel changes. */
function mayRepeat(statement: Statement, written: ReadonlySet<string>): boolean {
  if (statement.kind !== "let") return false;
  let repeatable = true;
  for (const expr of expressionsOf(statement))
    visitExpr(expr, (part) => {
      repeatable &&= part.kind !== "load" || !written.has(part.buffer);
    });
  return repeatable;
}

/** Who runs a kernel. */
export interface TeamOptions {
  readonly threads: number;
  /** Kernels of less work, in nanoseconds, are left to one of the threads. */
  readonly divideFrom?: number | undefined;
  /** The engine joins pairs of registers. */
  readonly revectorize?: boolean;
}

/** A kernel for a team of threads. */
export function configureTeam(
  kernel: Kernel,
  { threads, divideFrom = DIVIDE_FROM, revectorize = false }: TeamOptions,
): TeamConfiguration {
  const { body, choices } = configure(kernel, revectorize);
  const work = workOf(body, choices);
  const divisions = new Map<Statement, Division>();
  const whole = { body, choices, work, divisions: new Map() };
  if (threads === 1 || maxDim(work) < divideFrom) return whole;
  const written = new Set(
    kernel.buffers.filter(({ access }) => access !== "read").map(({ name }) => name),
  );
  for (const statement of body) {
    const division = divideStatement(statement, choices, threads);
    if (division) divisions.set(statement, division);
    else if (!mayRepeat(statement, written)) return whole;
  }
  return { body, choices, work, divisions };
}
