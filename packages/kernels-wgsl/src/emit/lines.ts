/**
 * Matrix products of few rows. In: a product and how lanes are laid along the operand of its columns. Out: a workgroup that reads its
 * part of that operand once, from end to end, and multiplies all rows with it on the way. What the lanes of a line have summed is
 * added in an order that depends on the form alone. Rows and columns beyond the end are computed like the last one, not stored.
 */
import type { Contract, Statement } from "@millrace/graph";
import type { LinesForm } from "../configure/contract.ts";
import { neighbours } from "../configure/configure.ts";
import type { Expressions } from "./expressions.ts";
import { quadValues } from "./quads.ts";
import type { StatementEmitter } from "./statements.ts";
import { agreedBounds, productOf } from "./tile.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

/** Where a workgroup is, as texts. */
interface Place {
  readonly firstRow: string;
  readonly rowEnd: string;
  readonly firstColumn: string;
  readonly columnEnd: string;
  readonly depthEnd: string;
}

/** Text of a sum by row and column within the workgroup; statements before it where it takes some. */
type Sum = (row: string, column: string) => string;

export function emitLines(
  x: Expressions,
  emitter: StatementEmitter,
  form: LinesForm,
  body: readonly Statement[],
  points: readonly Value[],
): void {
  const contract = productOf(x, body);
  const rows = agreedBounds(x, emitter, contract.rows);
  const columnEnd = agreedBounds(x, emitter, contract.columns).end;
  const depthEnd = agreedBounds(x, emitter, contract.depth).end;
  const [rowPoint, columnPoint] = points.slice(-2) as [Value, Value];
  const start = rows.start === "0" ? "" : `${rows.start} + `;
  const firstRow = x.define("first_row", `${start}${rowPoint.text} * ${form.rows}`);
  const firstColumn = x.define("first_column", `${columnPoint.text} * ${form.columns}`);
  const place: Place = { firstRow, rowEnd: rows.end, firstColumn, columnEnd, depthEnd };
  x.writer.block(`if (${firstRow} < ${rows.end} && ${firstColumn} < ${columnEnd})`, () => {
    const sum =
      form.along === "depth"
        ? alongDepth(emitter, contract, form, place)
        : alongColumns(emitter, contract, form, place);
    emitResults(emitter, contract, form, place, sum);
  });
}

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);
const vector = (unit: number): string => (unit === 1 ? "f32" : `vec${unit}<f32>`);
const joined = (values: readonly Value[]): string =>
  values.length === 1
    ? values[0]!.text
    : `vec${values.length}<f32>(${values.map(({ text }) => text).join(", ")})`;

/** Names of a workgroup's rows, none beyond the last. */
function rowNames(
  { x }: StatementEmitter,
  contract: Contract,
  form: LinesForm,
  place: Place,
): string[] {
  return range(form.rows).map((r) =>
    x.define(
      contract.rows.axis,
      r === 0 ? place.firstRow : `min(${place.firstRow} + ${r}, ${place.rowEnd} - 1)`,
    ),
  );
}

function variables(
  { x }: StatementEmitter,
  rows: number,
  columns: number,
  type: string,
): string[][] {
  return range(rows).map((r) =>
    range(columns).map((c) => {
      const fresh = x.parts.names.fresh(`sum_${r}_${c}`);
      x.writer.line(`var ${fresh} = ${type}();`);
      return fresh;
    }),
  );
}

/** The number of an invocation's line, its own place there, and the rows of its workgroup. */
function laneOf(
  emitter: StatementEmitter,
  contract: Contract,
  form: LinesForm,
  place: Place,
): { readonly line: string; readonly own: string; readonly rows: readonly string[] } {
  const { x } = emitter;
  return {
    line: x.define("line", `i32(lane) / ${form.lanes}`),
    own: x.define("place", `i32(lane) % ${form.lanes}`),
    rows: rowNames(emitter, contract, form, place),
  };
}

/** The lanes of a line divide the depth; a line has columns of its own. */
function alongDepth(
  emitter: StatementEmitter,
  contract: Contract,
  form: LinesForm,
  place: Place,
): Sum {
  const { x } = emitter;
  const { writer, parts } = x;
  const { lanes, unit, workgroup } = form;
  const lines = workgroup / lanes;
  const perLine = form.columns / lines;
  const { line, own, rows } = laneOf(emitter, contract, form, place);
  const columns = range(perLine).map((c) =>
    x.define(
      contract.columns.axis,
      `min(${place.firstColumn} + ${line} * ${perLine} + ${c}, ${place.columnEnd} - 1)`,
    ),
  );
  const sums = variables(emitter, form.rows, perLine, vector(unit));
  const k = parts.names.fresh(contract.depth.axis);
  writer.block(
    `for (var ${k} = ${own} * ${unit}; ${k} < ${place.depthEnd}; ${k} += ${lanes * unit})`,
    () => {
      const operand = (side: "lhs" | "rhs", axis: string, at: string): string => {
        let made = "";
        x.scoped(() => {
          x.bind(axis, named(at, "i32"));
          x.bind(contract.depth.axis, named(k, "i32"));
          const values =
            unit === 1
              ? [x.value(contract[side])]
              : quadValues(x, contract[side], contract.depth.axis, named(k, "i32"));
          made = x.define(side === "lhs" ? "a" : "b", joined(values));
        });
        return made;
      };
      const b = columns.map((column) => operand("rhs", contract.columns.axis, column));
      rows.forEach((row, r) => {
        const a = operand("lhs", contract.rows.axis, row);
        b.forEach((text, c) =>
          writer.line(`${sums[r]![c]!} = fma(${a}, ${text}, ${sums[r]![c]!});`),
        );
      });
    },
  );
  const stage = emitter.exchangeWidth(lanes);
  const groups = workgroup / stage;
  const partial = emitter.share("partial", `array<f32, ${form.rows * perLine * groups}>`);
  const totals = sums.flat().map((sum) => {
    const parts4 = range(unit).map((i) => (unit === 1 ? sum : `${sum}.${"xyzw"[i]!}`));
    const total = x.define(
      "total",
      unit === 1 ? sum : `(${parts4[0]} + ${parts4[1]}) + (${parts4[2]} + ${parts4[3]})`,
    );
    return emitter.exchangeSum(total, stage);
  });
  writer.block(`if (i32(lane) % ${stage} == 0)`, () =>
    totals.forEach((total, i) =>
      writer.line(`${partial}[${i * groups} + i32(lane) / ${stage}] = ${total};`),
    ),
  );
  writer.line("workgroupBarrier();");
  const perColumn = lanes / stage;
  return (row, column) => {
    const at = x.define(
      "at",
      `(${row} * ${perLine} + ${column} % ${perLine}) * ${groups} + ${column} / ${perLine} * ${perColumn}`,
    );
    if (perColumn === 1) return `${partial}[${at}]`;
    return totalOf(emitter, perColumn, (i) => `${partial}[${at} + ${i}]`);
  };
}

/** A sum over shared memory, from first to last. */
function totalOf(emitter: StatementEmitter, count: number, at: (i: string) => string): string {
  const { writer, parts } = emitter.x;
  const total = parts.names.fresh("total");
  const i = parts.names.fresh("i");
  writer.line(`var ${total} = ${at("0")};`);
  writer.block(`for (var ${i} = 1; ${i} < ${emitter.rolled(count)}; ${i}++)`, () =>
    writer.line(`${total} += ${at(i)};`),
  );
  return total;
}

/** The lanes of a line have neighbouring columns; the lines divide the depth. */
function alongColumns(
  emitter: StatementEmitter,
  contract: Contract,
  form: LinesForm,
  place: Place,
): Sum {
  const { x } = emitter;
  const { writer, parts } = x;
  const { lanes, unit, workgroup } = form;
  const lines = workgroup / lanes;
  const type = vector(unit);
  const { line, own, rows } = laneOf(emitter, contract, form, place);
  const column = x.define(
    contract.columns.axis,
    `min(${place.firstColumn} + ${own} * ${unit}, ${place.columnEnd} - ${unit})`,
  );
  const sums = variables(emitter, form.rows, 1, type).flat();
  const k = parts.names.fresh(contract.depth.axis);
  writer.block(`for (var ${k} = ${line}; ${k} < ${place.depthEnd}; ${k} += ${lines})`, () => {
    x.scoped(() => {
      x.bind(contract.depth.axis, named(k, "i32"));
      const first = named(column, "i32");
      x.bind(contract.columns.axis, first);
      const values =
        unit === 1
          ? [x.value(contract.rhs)]
          : quadValues(x, contract.rhs, contract.columns.axis, first);
      const b = x.define("b", joined(values));
      rows.forEach((row, r) => {
        x.bind(contract.rows.axis, named(row, "i32"));
        const a = x.value(contract.lhs).text;
        writer.line(`${sums[r]!} = fma(${unit === 1 ? a : `${type}(${a})`}, ${b}, ${sums[r]!});`);
      });
    });
  });
  const partial = emitter.share("partial", `array<${type}, ${workgroup}>`);
  const results = emitter.share("results", `array<f32, ${form.rows * form.columns}>`);
  sums.forEach((sum, r) => {
    writer.line(`${partial}[lane] = ${sum};`);
    writer.line("workgroupBarrier();");
    writer.block(`if (${line} == 0)`, () => {
      const total = totalOf(emitter, lines, (i) => `${partial}[${i} * ${lanes} + ${own}]`);
      range(unit).forEach((i) => {
        const component = unit === 1 ? total : `${total}.${"xyzw"[i]!}`;
        writer.line(`${results}[${r * form.columns + i} + ${own} * ${unit}] = ${component};`);
      });
    });
    writer.line("workgroupBarrier();");
  });
  return (row, at) => `${results}[${row} * ${form.columns} + ${at}]`;
}

/** Runs the product's body for each sum, neighbours by one invocation. */
function emitResults(
  emitter: StatementEmitter,
  contract: Contract,
  form: LinesForm,
  place: Place,
  sum: Sum,
): void {
  const { x } = emitter;
  const count = neighbours(form);
  const perRow = form.columns / count;
  const element = x.parts.names.fresh("element");
  x.writer.block(
    `for (var ${element} = i32(lane); ${element} < ${form.rows * perRow}; ${element} += ${form.workgroup})`,
    () => {
      const row = x.define("r", `${element} / ${perRow}`);
      const m = x.define(contract.rows.axis, `${place.firstRow} + ${row}`);
      x.writer.block(`if (${m} < ${place.rowEnd})`, () =>
        x.scoped(() => {
          x.bind(contract.rows.axis, named(m, "i32"));
          const from = x.define("from", `${element} % ${perRow} * ${count}`);
          const first = x.define("first", `${place.firstColumn} + ${from}`);
          const at = { axis: contract.columns.axis, first, count, end: place.columnEnd };
          emitter.neighbours(at, (offset) => {
            const column = x.define("c", `${from} + (${offset})`);
            const product = x.define(contract.result, sum(row, column));
            x.bind(contract.result, named(product, "f32"));
            emitter.block(contract.body);
          });
        }),
      );
    },
  );
}
