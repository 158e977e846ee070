/**
 * Matrix products in tiles. In: a product and the tile's size. Out: a workgroup that brings a slice of both operands into its
 * memory, evaluating their expressions once per element, and multiplies it there; each invocation keeps a tile of sums, four by
 * four or twice that, in registers. Rows and columns may be loaded ranges (the rows of one expert).
 *
 * Workgroup memory holds four neighbouring rows (or columns) at one depth as a vector. Invocation (x, y) has the fours y, y + down, … of the
 * rows and x, x + across, … of the columns. An operand that lies along the depth is brought in blocks of four by four.
 */
import type { Contract, Range, Statement } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { Memories, quadAxis } from "../configure/accesses.ts";
import type { TileForm } from "../configure/contract.ts";
import type { Expressions } from "./expressions.ts";
import { quadValues } from "./quads.ts";
import type { StatementEmitter } from "./statements.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

interface Bounds {
  readonly start: string;
  readonly end: string;
}

/** Bounds of a product's range, the same for the whole workgroup. */
export function agreedBounds(x: Expressions, emitter: StatementEmitter, range: Range): Bounds {
  const bound = (expr: Range["start"], otherwise: string): string =>
    expr ? emitter.uniform(x.hold(x.value(expr)), expr) : otherwise;
  return {
    start: bound(range.start, "0"),
    end: bound(range.end, x.extent(range.extent, range.axis).text),
  };
}

export function productOf(x: Expressions, body: readonly Statement[]): Contract {
  const contract = body[0];
  if (contract?.kind === "contract") return contract;
  throw new InternalError({
    what: "a product's form is chosen for something else",
    where: `kernel ${x.parts.kernel.name}`,
  });
}

export function emitTile(
  x: Expressions,
  emitter: StatementEmitter,
  form: TileForm,
  body: readonly Statement[],
  points: readonly Value[],
): void {
  const contract = productOf(x, body);
  const rows = agreedBounds(x, emitter, contract.rows);
  const columns = agreedBounds(x, emitter, contract.columns);
  const depth = agreedBounds(x, emitter, contract.depth);
  const [rowTile, columnTile] = points.slice(-2) as [Value, Value];
  const from = (start: string, tile: Value, size: number): string =>
    start === "0" ? `${tile.text} * ${size}` : `${start} + ${tile.text} * ${size}`;
  const firstRow = x.define("first_row", from(rows.start, rowTile, form.tileRows));
  const firstColumn = x.define("first_column", from(columns.start, columnTile, form.tileColumns));
  x.writer.block(`if (${firstRow} < ${rows.end} && ${firstColumn} < ${columns.end})`, () =>
    emitTileAt(emitter, form, contract, {
      row: firstRow,
      column: firstColumn,
      rowEnd: rows.end,
      columnEnd: columns.end,
      depth,
    }),
  );
}

/** Where a tile begins and what bounds it, the same for the whole workgroup. */
export interface TilePlace {
  readonly row: string;
  readonly column: string;
  readonly rowEnd: string;
  readonly columnEnd: string;
  readonly depth: Bounds;
}

/** One tile of a product; all invocations of the workgroup come here together. */
export function emitTileAt(
  emitter: StatementEmitter,
  form: TileForm,
  contract: Contract,
  at: TilePlace,
): void {
  const { x } = emitter;
  const { writer } = x;
  const { depth } = at;
  const { split = 1 } = form;
  const lanes = form.across * form.down;
  const across = x.define("across", `i32(lane) % ${form.across}`);
  const down = x.define(
    "down",
    split === 1 ? `i32(lane) / ${form.across}` : `i32(lane) % ${lanes} / ${form.across}`,
  );
  const part = split === 1 ? undefined : x.define("part", `i32(lane) / ${lanes}`);
  const sums = sumsOf(emitter, form);
  const operand = (side: "lhs" | "rhs"): Operand => {
    const left = side === "lhs";
    const size = left ? form.tileRows : form.tileColumns;
    // One more than needed, so that a block's vectors fall on several banks of the memory.
    const pitch = size / 4 + 1;
    return {
      side,
      size,
      pitch,
      tile: emitter.stage(side, pitch * form.tileDepth),
      first: left ? at.row : at.column,
      end: left ? at.rowEnd : at.columnEnd,
      depthEnd: depth.end,
      tileDepth: form.tileDepth,
    };
  };
  const [lhs, rhs] = [operand("lhs"), operand("rhs")];
  const slice = x.parts.names.fresh("slice");
  const { tileDepth } = form;
  writer.block(
    `for (var ${slice} = ${depth.start}; ${slice} < ${depth.end}; ${slice} += ${tileDepth})`,
    () => {
      bring(emitter, contract, lhs, slice);
      bring(emitter, contract, rhs, slice);
      writer.line("workgroupBarrier();");
      const k = x.parts.names.fresh("k");
      // What lies beyond the depth has been filled with zeros.
      const own = tileDepth / split;
      writer.block(`for (var ${k} = 0; ${k} < ${emitter.rolled(own)}; ${k}++)`, () => {
        const depthAt = part ? `(${part} * ${own} + ${k})` : k;
        const fours = (from: Operand, lane: string, each: number, i: number): string =>
          x.define(
            from.side === "lhs" ? "a" : "b",
            `${from.tile}[${depthAt} * ${from.pitch} + ${lane}${i > 0 ? ` + ${i * each}` : ""}]`,
          );
        const rowFours = sums.filter((_, i) => i % 4 === 0);
        const a = rowFours.map((_, i) => fours(lhs, down, form.down, i));
        const b = sums[0]!.map((_, j) => fours(rhs, across, form.across, j));
        sums.forEach((line, i) =>
          line.forEach((sum, j) => {
            const row = `${a[i >> 2]!}.${"xyzw"[i & 3]!}`;
            writer.line(`${sum} = fma(vec4<f32>(${row}), ${b[j]!}, ${sum});`);
          }),
        );
      });
      writer.line("workgroupBarrier();");
    },
  );
  const results = (): void =>
    emitResults(emitter, contract, form, sums, {
      row: `${at.row} + ${down} * 4`,
      column: `${at.column} + ${across} * 4`,
      rowEnd: at.rowEnd,
      columnEnd: at.columnEnd,
    });
  if (!part) return results();
  addParts(emitter, form, part, sums.flat());
  writer.block(`if (${part} == 0)`, results);
}

/** The sums of all parts of the depth, in order, for the invocations of the first. */
function addParts(
  emitter: StatementEmitter,
  { across, down, split = 1 }: TileForm,
  part: string,
  sums: readonly string[],
): void {
  const { writer } = emitter.x;
  const lanes = across * down;
  const shared = emitter.share("part_sums", `array<vec4<f32>, ${lanes * sums.length}>`);
  const own = (i: number): string => `${shared}[${i * lanes} + i32(lane) % ${lanes}]`;
  for (let other = 1; other < split; other++) {
    writer.block(`if (${part} == ${other})`, () =>
      sums.forEach((sum, i) => writer.line(`${own(i)} = ${sum};`)),
    );
    writer.line("workgroupBarrier();");
    writer.block(`if (${part} == 0)`, () =>
      sums.forEach((sum, i) => writer.line(`${sum} += ${own(i)};`)),
    );
    writer.line("workgroupBarrier();");
  }
}

/** Names of the sums: by row, vectors of four columns. */
function sumsOf({ x }: StatementEmitter, form: TileForm): readonly (readonly string[])[] {
  const rows = Array.from({ length: form.tileRows / form.down }, (_, i) => i);
  const columns = Array.from({ length: form.tileColumns / form.across / 4 }, (_, j) => j);
  return rows.map((i) =>
    columns.map((j) => {
      const sum = x.parts.names.fresh(`sum_${i}_${j}`);
      x.writer.line(`var ${sum} = vec4<f32>();`);
      return sum;
    }),
  );
}

/** A slice of one operand in workgroup memory. */
interface Operand {
  readonly side: "lhs" | "rhs";
  /** Rows, or columns. */
  readonly size: number;
  /** Vectors from one depth to the next. */
  readonly pitch: number;
  readonly tile: string;
  readonly first: string;
  readonly end: string;
  readonly depthEnd: string;
  readonly tileDepth: number;
}

/** Brings one operand's slice into workgroup memory; what is out of range counts as zero. */
function bring(
  emitter: StatementEmitter,
  contract: Contract,
  operand: Operand,
  slice: string,
): void {
  const { x, workgroup } = emitter;
  const { side, tile, pitch, size, first, end, depthEnd, tileDepth } = operand;
  const { writer, parts } = x;
  const range = side === "lhs" ? contract.rows : contract.columns;
  const sharing = parts.storages.map(({ binding }) => binding.members[0]!);
  const { along, unit } = quadAxis(contract, side, new Memories(parts.kernel, sharing));
  // Long texts cost a software device more than they save.
  const wide = unit === 4 && !parts.capabilities.software;
  const blocks = wide && along === "depth";
  const deep = blocks ? tileDepth / 4 : tileDepth;
  const count = (size / 4) * deep;
  const element = parts.names.fresh("element");
  // The lanes that the first operand leaves idle begin with the second.
  const from = side === "rhs" && count < workgroup ? `${workgroup - 1} - i32(lane)` : "i32(lane)";
  writer.block(
    `for (var ${element} = ${from}; ${element} < ${count}; ${element} += ${workgroup})`,
    () =>
      x.scoped(() => {
        const inner = along === "range" ? size / 4 : deep;
        const low = x.define("low", `${element} % ${inner}`);
        const high = x.define("high", `${element} / ${inner}`);
        const [four, at] = along === "range" ? [low, high] : [high, low];
        const place = x.define(range.axis, `${first} + ${four} * 4`);
        const step = x.define(contract.depth.axis, `${slice} + ${at}${blocks ? " * 4" : ""}`);
        const depths = Array.from({ length: blocks ? 4 : 1 }, () => {
          const fresh = parts.names.fresh("value");
          writer.line(`var ${fresh} = vec4<f32>();`);
          return fresh;
        });
        const [value] = depths as [string];
        if (wide && along === "range")
          writer.block(`if (${place} < ${end} && ${step} < ${depthEnd})`, () => {
            x.bind(contract.depth.axis, named(step, "i32"));
            const made = quadValues(x, contract[side], range.axis, named(place, "i32"));
            writer.line(`${value} = vec4<f32>(${made.map(({ text }) => text).join(", ")});`);
          });
        else if (parts.capabilities.software) {
          // Four times the text is four times the time to compile it.
          const i = parts.names.fresh("i");
          writer.block(`for (var ${i} = 0; ${i} < ${emitter.rolled(4)}; ${i}++)`, () =>
            element4(emitter, contract, operand, { place, step, i, values: [value] }),
          );
        } else
          for (let i = 0; i < 4; i++)
            element4(emitter, contract, operand, { place, step, i, values: depths });
        depths.forEach((text, k) => {
          const line = blocks ? `(${at} * 4${k > 0 ? ` + ${k}` : ""})` : at;
          writer.line(`${tile}[${line} * ${pitch} + ${four}] = ${text};`);
        });
      }),
  );
}

/** One row of a block, or column: its value at the depth, or at four depths from there on. */
function element4(
  { x }: StatementEmitter,
  contract: Contract,
  { side, end, depthEnd }: Operand,
  at: {
    readonly place: string;
    readonly step: string;
    readonly i: number | string;
    readonly values: readonly string[];
  },
): void {
  const { place, step, i, values } = at;
  const range = side === "lhs" ? contract.rows : contract.columns;
  const row = i === 0 ? place : `${place} + ${i}`;
  const component = typeof i === "number" ? `.${"xyzw"[i]!}` : `[${i}]`;
  x.writer.block(`if (${row} < ${end} && ${step} < ${depthEnd})`, () =>
    x.scoped(() => {
      const name = i === 0 ? place : x.define(range.axis, row);
      x.bind(range.axis, named(name, "i32"));
      x.bind(contract.depth.axis, named(step, "i32"));
      const made =
        values.length === 4
          ? quadValues(x, contract[side], contract.depth.axis, named(step, "i32"))
          : [x.value(contract[side])];
      made.forEach(({ text }, k) => x.writer.line(`${values[k]!}${component} = ${text};`));
    }),
  );
}

interface Corner {
  readonly row: string;
  readonly column: string;
  readonly rowEnd: string;
  readonly columnEnd: string;
}

/** Runs the product's body for each sum of this invocation. */
function emitResults(
  emitter: StatementEmitter,
  contract: Contract,
  form: TileForm,
  sums: readonly (readonly string[])[],
  { row, column, rowEnd, columnEnd }: Corner,
): void {
  const { x } = emitter;
  const { writer, parts } = x;
  const perRow = sums[0]!.length;
  // A copy, so that the sums themselves stay in registers although these are indexed.
  const results = x.parts.names.fresh("sums");
  writer.line(
    `var ${results} = array<vec4<f32>, ${sums.length * perRow}>(${sums.flat().join(", ")});`,
  );
  const i = parts.names.fresh("i");
  writer.block(`for (var ${i} = 0; ${i} < ${emitter.rolled(sums.length)}; ${i}++)`, () => {
    const m = x.define(
      contract.rows.axis,
      `${row} + ${sums.length > 4 ? `(${i} >> 2u) * ${form.down * 4} + (${i} & 3)` : i}`,
    );
    writer.block(`if (${m} < ${rowEnd})`, () => {
      const four = parts.names.fresh("four");
      writer.block(`for (var ${four} = 0; ${four} < ${emitter.rolled(perRow)}; ${four}++)`, () =>
        x.scoped(() => {
          x.bind(contract.rows.axis, named(m, "i32"));
          const line = x.define("line", `${results}[${i} * ${perRow} + ${four}]`);
          const first = x.define("first", `${column} + ${four} * ${form.across * 4}`);
          const neighbours = { axis: contract.columns.axis, first, count: 4, end: columnEnd };
          emitter.neighbours(neighbours, (place) => {
            x.bind(contract.result, named(x.define(contract.result, `${line}[${place}]`), "f32"));
            emitter.block(contract.body);
          });
        }),
      );
    });
  });
}
