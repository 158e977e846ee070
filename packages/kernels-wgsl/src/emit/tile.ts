/**
 * Matrix products in tiles. In: a product and the tile's size. Out: a workgroup that brings a slice of both operands into its
 * memory, evaluating their expressions once per element, and multiplies it there; each invocation keeps a small tile of sums
 * in registers. Rows and columns may be loaded ranges (the rows of one expert).
 *
 * Invocation (x, y) has rows y, y + down, … and columns x, x + across, …: neighbours read and store neighbours.
 */
import type { Contract, Range, Statement } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { isNeighbourly, Memories } from "../configure/accesses.ts";
import type { TileForm } from "../configure/contract.ts";
import type { Expressions } from "./expressions.ts";
import type { StatementEmitter } from "./statements.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

interface Bounds {
  readonly start: string;
  readonly end: string;
}

export function emitTile(
  x: Expressions,
  emitter: StatementEmitter,
  form: TileForm,
  body: readonly Statement[],
  points: readonly Value[],
): void {
  const contract = body[0];
  if (contract?.kind !== "contract")
    throw new InternalError({
      what: "a tile has no product",
      where: `kernel ${x.parts.kernel.name}`,
    });
  const { writer } = x;
  const fresh = (name: string): string => x.parts.names.fresh(name);
  const define = (name: string, text: string): string => {
    const made = fresh(name);
    writer.line(`let ${made} = ${text};`);
    return made;
  };
  const agreed = (range: Range): Bounds => {
    const bound = (expr: Range["start"], otherwise: string): string =>
      expr ? emitter.uniform(x.hold(x.value(expr)), expr) : otherwise;
    return {
      start: bound(range.start, "0"),
      end: bound(range.end, x.extent(range.extent, range.axis).text),
    };
  };
  const rows = agreed(contract.rows);
  const columns = agreed(contract.columns);
  const depth = agreed(contract.depth);
  const [rowTile, columnTile] = points.slice(-2) as [Value, Value];
  const from = (start: string, tile: Value, size: number): string =>
    start === "0" ? `${tile.text} * ${size}` : `${start} + ${tile.text} * ${size}`;
  const firstRow = define("first_row", from(rows.start, rowTile, form.tileRows));
  const firstColumn = define("first_column", from(columns.start, columnTile, form.tileColumns));
  writer.block(`if (${firstRow} < ${rows.end} && ${firstColumn} < ${columns.end})`, () => {
    const across = define("across", `i32(lane) % ${form.across}`);
    const down = define("down", `i32(lane) / ${form.across}`);
    const perRow = form.tileRows / form.down;
    const perColumn = form.tileColumns / form.across;
    const sums = Array.from({ length: perRow }, (_, i) =>
      Array.from({ length: perColumn }, (__, j) => {
        const sum = fresh(`sum_${i}_${j}`);
        writer.line(`var ${sum} = 0.0f;`);
        return sum;
      }),
    );
    // One more than needed, so that a column of the tile does not fall on one bank of the memory.
    const lhsPitch = form.tileRows + 1;
    const rhsPitch = form.tileColumns + 1;
    const lhs = emitter.share("lhs_tile", `array<f32, ${lhsPitch * form.tileDepth}>`);
    const rhs = emitter.share("rhs_tile", `array<f32, ${rhsPitch * form.tileDepth}>`);
    const k = fresh("slice");
    writer.block(
      `for (var ${k} = ${depth.start}; ${k} < ${depth.end}; ${k} += ${form.tileDepth})`,
      () => {
        const operand = (side: "lhs" | "rhs"): void => {
          const left = side === "lhs";
          fetch(emitter, contract, {
            side,
            tile: left ? lhs : rhs,
            pitch: left ? lhsPitch : rhsPitch,
            size: left ? form.tileRows : form.tileColumns,
            first: left ? firstRow : firstColumn,
            end: left ? rows.end : columns.end,
            slice: k,
            depthEnd: depth.end,
            tileDepth: form.tileDepth,
          });
        };
        operand("lhs");
        operand("rhs");
        writer.line("workgroupBarrier();");
        const step = fresh("k");
        // What lies beyond the depth has been filled with zeros.
        writer.block(
          `for (var ${step} = 0; ${step} < ${emitter.rolled(form.tileDepth)}; ${step}++)`,
          () => {
            const left = sums.map((_, i) =>
              define("a", `${lhs}[${step} * ${lhsPitch} + ${down} + ${i * form.down}]`),
            );
            const right = sums[0]!.map((_, j) =>
              define("b", `${rhs}[${step} * ${rhsPitch} + ${across} + ${j * form.across}]`),
            );
            sums.forEach((line, i) =>
              line.forEach((sum, j) =>
                writer.line(`${sum} = fma(${left[i]}, ${right[j]}, ${sum});`),
              ),
            );
          },
        );
        writer.line("workgroupBarrier();");
      },
    );
    emitResults(emitter, contract, form, sums, {
      row: `${firstRow} + ${down}`,
      column: `${firstColumn} + ${across}`,
      rowEnd: define("row_end", `min(${firstRow} + ${form.tileRows}, ${rows.end})`),
      columnEnd: define("column_end", `min(${firstColumn} + ${form.tileColumns}, ${columns.end})`),
    });
  });
}

interface Fetch {
  readonly side: "lhs" | "rhs";
  readonly tile: string;
  readonly pitch: number;
  readonly size: number;
  readonly first: string;
  readonly end: string;
  readonly slice: string;
  readonly depthEnd: string;
  readonly tileDepth: number;
}

/** Brings one operand's slice into workgroup memory; what is out of range counts as zero. */
function fetch(emitter: StatementEmitter, contract: Contract, parts: Fetch): void {
  const { x, workgroup } = emitter;
  const { writer } = x;
  const { side, tile, pitch, size, first, end, slice, depthEnd, tileDepth } = parts;
  const range = side === "lhs" ? contract.rows : contract.columns;
  const expr = contract[side];
  const names = x.parts.names;
  // Neighbouring invocations take neighbouring elements, along whichever axis these lie.
  const sharing = x.parts.storages.map(({ binding }) => binding.members[0]!);
  const loads = new Memories(x.parts.kernel, sharing).loads(expr);
  const alongRange =
    loads.some(({ index }) => isNeighbourly(index, range.axis)) &&
    !loads.some(({ index }) => isNeighbourly(index, contract.depth.axis));
  const element = names.fresh("element");
  writer.block(
    `for (var ${element} = i32(lane); ${element} < ${size * tileDepth}; ${element} += ${workgroup})`,
    () =>
      x.scoped(() => {
        const inner = alongRange ? size : tileDepth;
        const [low, high] = [names.fresh("low"), names.fresh("high")];
        writer.line(`let ${low} = ${element} % ${inner};`);
        writer.line(`let ${high} = ${element} / ${inner};`);
        const [at, k] = alongRange ? [low, high] : [high, low];
        const axis = names.fresh(range.axis);
        const step = names.fresh(contract.depth.axis);
        writer.line(`let ${axis} = ${first} + ${at};`);
        writer.line(`let ${step} = ${slice} + ${k};`);
        const value = names.fresh("value");
        writer.line(`var ${value} = 0.0f;`);
        writer.block(`if (${axis} < ${end} && ${step} < ${depthEnd})`, () => {
          x.bind(range.axis, named(axis, "i32"));
          x.bind(contract.depth.axis, named(step, "i32"));
          writer.line(`${value} = ${x.value(expr).text};`);
        });
        writer.line(`${tile}[${k} * ${pitch} + ${at}] = ${value};`);
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
  const perColumn = sums[0]!.length;
  const count = sums.length * perColumn;
  // A copy, so that the sums themselves stay in registers although these are indexed.
  const results = parts.names.fresh("sums");
  writer.line(`var ${results} = array<f32, ${count}>(${sums.flat().join(", ")});`);
  const at = parts.names.fresh("at");
  writer.line(`var ${at} = 0;`);
  const [m, n] = [contract.rows.axis, contract.columns.axis].map((axis) => parts.names.fresh(axis));
  writer.block(`for (var ${m} = ${row}; ${m} < ${rowEnd}; ${m} += ${form.down})`, () => {
    const next = parts.names.fresh("next");
    writer.line(`var ${next} = ${at};`);
    writer.line(`${at} += ${perColumn};`);
    writer.block(`for (var ${n} = ${column}; ${n} < ${columnEnd}; ${n} += ${form.across})`, () =>
      x.scoped(() => {
        x.bind(contract.rows.axis, named(m!, "i32"));
        x.bind(contract.columns.axis, named(n!, "i32"));
        const product = parts.names.fresh(contract.result);
        writer.line(`let ${product} = ${results}[${next}];`);
        writer.line(`${next}++;`);
        x.bind(contract.result, named(product, "f32"));
        emitter.block(contract.body);
      }),
    );
  });
}
