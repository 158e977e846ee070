/**
 * Kernels with arrays. In: the block of statements that one point of the grid runs. Out: a workgroup that runs it statement by statement,
 * with the arrays in its memory: products in tiles, parallel loops divided among the invocations, a row with a reduction among
 * neighbours of them. Between statements that touch the same array, or the same memory, the workgroup waits.
 */
import type { Expr, Range, Statement } from "@millrace/graph";
import { expressionsOf, InternalError, maxDim, visitExpr, visitStatements } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import { contains, hasBounds } from "../configure/accesses.ts";
import { blockTile } from "../configure/contract.ts";
import type { Expressions } from "./expressions.ts";
import { emitRowReduce, emitSharedReduce } from "./reduce.ts";
import type { StatementEmitter } from "./statements.ts";
import { agreedBounds, emitTileAt } from "./tile.ts";
import { named } from "./values.ts";

type Loop = Statement & { readonly kind: "loop" };

export function emitBlock(
  x: Expressions,
  emitter: StatementEmitter,
  body: readonly Statement[],
  capabilities: WgslCapabilities,
): void {
  new BlockEmitter(x, emitter, capabilities).block(body);
}

/** What has been read and written since the workgroup waited last. */
class Accesses {
  readonly read = new Set<string>();
  readonly written = new Set<string>();

  clear(): void {
    this.read.clear();
    this.written.clear();
  }
}

class BlockEmitter {
  readonly #x: Expressions;
  readonly #emitter: StatementEmitter;
  readonly #capabilities: WgslCapabilities;
  readonly #since = new Accesses();

  constructor(x: Expressions, emitter: StatementEmitter, capabilities: WgslCapabilities) {
    this.#x = x;
    this.#emitter = emitter;
    this.#capabilities = capabilities;
  }

  block(statements: readonly Statement[]): void {
    this.#x.scoped(() => {
      for (const statement of statements) this.#statement(statement);
    });
  }

  /** An array by its name, a buffer by its binding: several buffers may be one memory. */
  #memory(buffer: string): string {
    const x = this.#x;
    return x.array(buffer)?.name ?? x.storage(buffer).binding.name;
  }

  /** Waits if what a statement reads or writes is not there yet, or still in use; notes what it touches. */
  #order(statement: Statement, inner = true): void {
    const now = new Accesses();
    const inside = new Set<string>();
    const visit = (part: Statement): void => {
      if (part.kind === "array") inside.add(part.name);
      for (const expr of expressionsOf(part))
        visitExpr(expr, (load) => {
          if (load.kind === "load" && !inside.has(load.buffer))
            now.read.add(this.#memory(load.buffer));
        });
      if (part.kind === "store" && !inside.has(part.buffer))
        now.written.add(this.#memory(part.buffer));
    };
    if (inner) visitStatements([statement], visit);
    else visit(statement);
    const since = this.#since;
    const conflict =
      !now.written.isDisjointFrom(since.read) ||
      !now.written.isDisjointFrom(since.written) ||
      !now.read.isDisjointFrom(since.written);
    if (conflict) this.#wait();
    for (const name of now.read) since.read.add(name);
    for (const name of now.written) since.written.add(name);
  }

  #wait(): void {
    const { storages } = this.#x.parts;
    const global = storages.some(({ binding }) => this.#since.written.has(binding.name));
    this.#x.writer.line("workgroupBarrier();");
    if (global) this.#x.writer.line("storageBarrier();");
    this.#since.clear();
  }

  #statement(statement: Statement): void {
    const [x, emitter] = [this.#x, this.#emitter];
    switch (statement.kind) {
      case "array": {
        const { name, dtype, shape } = statement;
        const length = shape.reduce((product, size) => product * size, 1);
        const shared = emitter.share(name, `array<f32, ${length}>`);
        x.bindArray(name, { name: shared, dtype, shape });
        return;
      }
      case "let":
        this.#order(statement);
        if (emitter.isAgreed(statement.value))
          emitter.bindAgreed(
            statement.name,
            x.hold(x.value(statement.value), statement.name),
            statement.value,
          );
        else emitter.statement(statement);
        return;
      case "variable":
      case "assign":
        this.#order(statement);
        emitter.statement(statement);
        return;
      case "store":
        this.#order(statement);
        x.writer.block("if (lane == 0u)", () => emitter.statement(statement));
        return;
      case "if":
        this.#order(statement, false);
        x.writer.block(
          `if (${emitter.uniform(x.value(statement.condition), statement.condition)})`,
          () => {
            this.block(statement.body);
            this.#wait();
          },
        );
        return;
      case "reduce":
        this.#order(statement);
        emitSharedReduce(emitter, statement);
        this.#since.clear();
        return;
      case "contract":
        return this.#contract(statement);
      case "loop":
        if (statement.order === "serial") this.#serial(statement);
        else this.#parallel(statement);
    }
  }

  /** In order; all invocations go through it together. */
  #serial(loop: Loop): void {
    const [x, emitter] = [this.#x, this.#emitter];
    const { start, end } = agreedBounds(x, emitter, loop.range);
    const axis = x.parts.names.fresh(loop.range.axis);
    x.writer.block(`for (var ${axis} = ${start}; ${axis} < ${end}; ${axis}++)`, () =>
      x.scoped(() => {
        // What the iteration before did, or what is before the loop.
        this.#wait();
        x.bind(loop.range.axis, named(axis, "i32"));
        for (const part of loop.body) this.#statement(part);
      }),
    );
    this.#wait();
  }

  #contract(contract: Statement & { readonly kind: "contract" }): void {
    const [x, emitter] = [this.#x, this.#emitter];
    const tile = blockTile(contract, emitter.workgroup, this.#capabilities);
    if (!tile)
      throw new InternalError({
        what: `a product has no tile for ${emitter.workgroup} invocations`,
        where: `kernel ${x.parts.kernel.name}`,
      });
    this.#order(contract);
    const rows = agreedBounds(x, emitter, contract.rows);
    const columns = agreedBounds(x, emitter, contract.columns);
    const depth = agreedBounds(x, emitter, contract.depth);
    const tiles = (
      range: Range,
      first: string,
      end: string,
      step: number,
      body: (at: string) => void,
    ): void => {
      if (maxDim(range.extent) <= step && first === "0") {
        // A tile holds all of it: no loop, so that the workgroup's memory is not waited for once more.
        body("0");
        return;
      }
      const at = x.parts.names.fresh("first");
      x.writer.block(`for (var ${at} = ${first}; ${at} < ${end}; ${at} += ${step})`, () =>
        body(at),
      );
    };
    tiles(contract.rows, rows.start, rows.end, tile.tileRows, (row) =>
      tiles(contract.columns, columns.start, columns.end, tile.tileColumns, (column) =>
        x.scoped(() => {
          const place = { row, column, rowEnd: rows.end, columnEnd: columns.end, depth };
          emitTileAt(emitter, tile, contract, place);
        }),
      ),
    );
  }

  #parallel(loop: Loop): void {
    const hasReduce = contains(loop.body, ({ kind }) => kind === "reduce");
    const inner = contains(loop.body, ({ kind }) => kind === "loop");
    const nested = this.#nest(loop);
    const { start } = loop.range;
    const plain = start === undefined || (start.kind === "literal" && start.value === 0);
    const rowwise = plain && nested.ranges.length === 1 && (hasReduce || inner) && isRow(loop.body);
    if (rowwise) return this.#rows(loop, hasReduce);
    this.#order(loop);
    this.#flat(nested.ranges, nested.body);
  }

  /** Loops directly inside one another, whose bounds do not depend on one another. */
  #nest(loop: Loop): { readonly ranges: readonly Range[]; readonly body: readonly Statement[] } {
    const ranges = [loop.range];
    let { body } = loop;
    for (;;) {
      const [only] = body;
      if (body.length !== 1 || only?.kind !== "loop" || only.order !== "parallel") break;
      const depends = [only.range.start, only.range.end].some((bound) =>
        bound ? mentionsAny(bound, ranges) : false,
      );
      if (depends) break;
      ranges.push(only.range);
      ({ body } = only);
    }
    return { ranges, body };
  }

  /** All elements of some loops, one after the other by all invocations. */
  #flat(ranges: readonly Range[], body: readonly Statement[]): void {
    const [x, emitter] = [this.#x, this.#emitter];
    const { writer, parts } = x;
    const bounds = ranges.map((range) => emitter.bounds(range));
    const counts = bounds.map(([start, end]) =>
      start === "0" ? end : x.define("count", `max(${end} - ${start}, 0)`),
    );
    const element = parts.names.fresh("element");
    writer.block(
      `for (var ${element} = i32(lane); ${element} < ${counts.join(" * ")}; ${element} += ${emitter.workgroup})`,
      () =>
        x.scoped(() => {
          let rest = element;
          for (let i = ranges.length - 1; i >= 0; i--) {
            const within = i === 0 ? rest : `${rest} % ${counts[i]!}`;
            const [start] = bounds[i]!;
            const at = x.define(ranges[i]!.axis, start === "0" ? within : `${start} + ${within}`);
            x.bind(ranges[i]!.axis, named(at, "i32"));
            if (i > 0) rest = x.define("rest", `${rest} / ${counts[i]!}`);
          }
          emitter.block(body);
        }),
    );
  }

  /** Rows of which each is the business of several neighbours: they share its reductions and inner loops. */
  #rows(loop: Loop, hasReduce: boolean): void {
    const [x, emitter] = [this.#x, this.#emitter];
    const { writer, parts } = x;
    const most = maxDim(loop.range.extent);
    const share = Math.max(1, 2 ** Math.floor(Math.log2(emitter.workgroup / most)));
    const lanes = hasReduce ? emitter.exchangeWidth(share) : Math.min(32, emitter.workgroup);
    const atOnce = emitter.workgroup / lanes;
    this.#order(loop, false);
    const [, end] = emitter.bounds(loop.range);
    const base = parts.names.fresh("base");
    writer.block(
      `for (var ${base} = 0; ${base} < ${emitter.rolled(most)}; ${base} += ${atOnce})`,
      () =>
        x.scoped(() => {
          if (most > atOnce) this.#wait();
          const own = x.define(loop.range.axis, `${base} + i32(lane) / ${lanes}`);
          const isRow = x.define("is_row", `${own} < ${end}`);
          // Lanes without a row go along with the first one, and store nothing.
          const row = x.define(loop.range.axis, `select(0, ${own}, ${isRow})`);
          const place = x.define("place", `i32(lane) % ${lanes}`);
          x.bind(loop.range.axis, named(row, "i32"));
          for (const part of loop.body) {
            this.#order(part);
            this.#inRow(part, { isRow, place, lanes });
          }
        }),
    );
    if (most > atOnce) this.#wait();
  }

  #inRow(statement: Statement, row: Row): void {
    const [x, emitter] = [this.#x, this.#emitter];
    const { isRow, place, lanes } = row;
    switch (statement.kind) {
      case "reduce":
        emitRowReduce(emitter, statement, place, lanes);
        return;
      case "loop": {
        const share = { offset: place, step: lanes };
        x.writer.block(`if (${isRow})`, () =>
          emitter.loop(statement.range, () => emitter.block(statement.body), share),
        );
        return;
      }
      case "store":
        x.writer.block(`if (${isRow} && ${place} == 0)`, () => emitter.statement(statement));
        return;
      default:
        emitter.statement(statement);
    }
  }
}

/** The lanes of a row. */
interface Row {
  readonly isRow: string;
  readonly place: string;
  readonly lanes: number;
}

/** Whether the statements of a row can be shared one by one. */
const isRow = (body: readonly Statement[]): boolean =>
  body.every(
    (statement) =>
      statement.kind === "let" ||
      statement.kind === "store" ||
      (statement.kind === "reduce" &&
        statement.ranges.length === 1 &&
        !statement.ranges.some(hasBounds)) ||
      (statement.kind === "loop" &&
        statement.order === "parallel" &&
        !contains(statement.body, ({ kind }) => kind === "contract" || kind === "array")),
  );

function mentionsAny(expr: Expr, ranges: readonly Range[]): boolean {
  let found = false;
  visitExpr(expr, (part) => {
    found ||= part.kind === "axis" && ranges.some(({ axis }) => axis === part.name);
  });
  return found;
}
