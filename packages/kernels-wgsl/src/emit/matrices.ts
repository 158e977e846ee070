/**
 * Matrix products on subgroup matrices. In: a product whose operands f16 holds exactly, but for factors. Out: a workgroup that brings a
 * slice of both operands into its memory as f16 and whose subgroups multiply it matrix by matrix, adding in f32. Factors are
 * applied to sums of 128, in f32, and these added in f32.
 */
import type { Contract, Expr, Statement } from "@millrace/graph";
import { applyExpr, InternalError } from "@millrace/graph";
import { isSteady, Memories, quadAxis } from "../configure/accesses.ts";
import type { MatrixForm } from "../configure/matrices.ts";
import { exactOperand, scaleDepth } from "../configure/matrices.ts";
import type { Expressions } from "./expressions.ts";
import { quadValues } from "./quads.ts";
import type { StatementEmitter } from "./statements.ts";
import { agreedBounds, productOf } from "./tile.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

/** Elements from one row of a slice to the next: more than the depth, so that rows fall on several banks of the memory. */
const pitchOf = ({ tileDepth }: MatrixForm): number => tileDepth + 8;
const resultPitch = ({ tileColumns }: MatrixForm): number => tileColumns + 4;

const range = (count: number): readonly number[] => Array.from({ length: count }, (_, i) => i);

/** Names of the types, for all products of a shader. */
export function matrixTypes({ rows, columns, depth }: MatrixForm): readonly string[] {
  return [
    `alias Left = subgroup_matrix_left<f16, ${depth}, ${rows}>;`,
    `alias Right = subgroup_matrix_right<f16, ${columns}, ${depth}>;`,
    `alias Sum = subgroup_matrix_result<f32, ${columns}, ${rows}>;`,
  ];
}

interface Place {
  readonly row: string;
  readonly rowEnd: string;
  readonly column: string;
  readonly columnEnd: string;
  readonly depthEnd: string;
}

export function emitMatrices(
  x: Expressions,
  emitter: StatementEmitter,
  form: MatrixForm,
  body: readonly Statement[],
  points: readonly Value[],
): void {
  const contract = productOf(x, body);
  const { writer } = x;
  const { extensions, names } = x.parts;
  for (const name of ["f16", "subgroups", "chromium_experimental_subgroup_matrix"] as const)
    extensions.add(name);
  if (form.sized) extensions.add("subgroup_size_control");
  const rows = agreedBounds(x, emitter, contract.rows);
  const columns = agreedBounds(x, emitter, contract.columns);
  const depthEnd = agreedBounds(x, emitter, contract.depth).end;
  const [rowTile, columnTile] = points.slice(-2) as [Value, Value];
  const from = (start: string, tile: Value, size: number): string =>
    start === "0" ? `${tile.text} * ${size}` : `${start} + ${tile.text} * ${size}`;
  const row = x.define("first_row", from(rows.start, rowTile, form.tileRows));
  const column = x.define("first_column", from(columns.start, columnTile, form.tileColumns));
  const place: Place = { row, rowEnd: rows.end, column, columnEnd: columns.end, depthEnd };
  writer.block(`if (${row} < ${rows.end} && ${column} < ${columns.end})`, () => {
    const lhs = emitter.share("lhs_tile", `array<f16, ${form.tileRows * pitchOf(form)}>`);
    const rhs = emitter.share("rhs_tile", `array<f16, ${form.tileColumns * pitchOf(form)}>`);
    const result = emitter.share("result", `array<f32, ${form.tileRows * resultPitch(form)}>`);
    const across = form.tileColumns / form.subgroupColumns;
    const number = x.define("subgroup_number", "i32(subgroup)");
    const ownRow = x.define("own_row", `${number} / ${across} * ${form.subgroupRows}`);
    const ownColumn = x.define("own_column", `${number} % ${across} * ${form.subgroupColumns}`);
    const fours = (form.tileRows * form.tileColumns) / 4 / form.workgroup;
    const totals = range(fours).map((i) => {
      const total = names.fresh(`total_${i}`);
      writer.line(`var ${total} = vec4<f32>();`);
      return total;
    });
    const block = names.fresh("block");
    const step = form.scaled ? scaleDepth : 2 ** 30;
    writer.block(`for (var ${block} = 0; ${block} < ${depthEnd}; ${block} += ${step})`, () => {
      multiply(emitter, contract, form, place, { lhs, rhs, result, block, ownRow, ownColumn });
      writer.line("workgroupBarrier();");
      totals.forEach((total, i) =>
        addScaled(emitter, contract, form, place, { result, block, total, i }),
      );
      writer.line("workgroupBarrier();");
    });
    emitResults(emitter, contract, form, place, totals);
  });
}

/** Sums of a stretch of the depth, into workgroup memory. */
function multiply(
  emitter: StatementEmitter,
  contract: Contract,
  form: MatrixForm,
  place: Place,
  at: { readonly [name in "lhs" | "rhs" | "result" | "block" | "ownRow" | "ownColumn"]: string },
): void {
  const { x } = emitter;
  const { writer, parts } = x;
  const down = range(form.subgroupRows / form.rows);
  const across = range(form.subgroupColumns / form.columns);
  const sums = down.map((i) =>
    across.map((j) => {
      const sum = parts.names.fresh(`sum_${i}_${j}`);
      writer.line(`var ${sum} = Sum();`);
      return sum;
    }),
  );
  const last = form.scaled
    ? x.define("block_end", `min(${at.block} + ${scaleDepth}, ${place.depthEnd})`)
    : place.depthEnd;
  const slice = parts.names.fresh("slice");
  const pitch = pitchOf(form);
  writer.block(
    `for (var ${slice} = ${at.block}; ${slice} < ${last}; ${slice} += ${form.tileDepth})`,
    () => {
      bring(emitter, contract, form, {
        side: "lhs",
        tile: at.lhs,
        slice,
        first: place.row,
        end: place.rowEnd,
        last,
      });
      bring(emitter, contract, form, {
        side: "rhs",
        tile: at.rhs,
        slice,
        first: place.column,
        end: place.columnEnd,
        last,
      });
      writer.line("workgroupBarrier();");
      const k = parts.names.fresh("k");
      writer.block(
        `for (var ${k} = 0; ${k} < ${emitter.rolled(form.tileDepth)}; ${k} += ${form.depth})`,
        () => {
          const matrix = (tile: string, own: string, many: number): string =>
            `(&${tile}, u32((${own} + ${many}) * ${pitch} + ${k}), ${pitch}u)`;
          const left = down.map((i) =>
            x.define(
              "a",
              `subgroupMatrixLoad<Left, row_major>${matrix(at.lhs, at.ownRow, i * form.rows)}`,
            ),
          );
          // Columns lie in memory one after the other, along the depth.
          const right = across.map((j) =>
            x.define(
              "b",
              `subgroupMatrixLoad<Right, col_major>${matrix(at.rhs, at.ownColumn, j * form.columns)}`,
            ),
          );
          sums.forEach((line, i) =>
            line.forEach((sum, j) =>
              writer.line(
                `${sum} = subgroupMatrixMultiplyAccumulate(${left[i]!}, ${right[j]!}, ${sum});`,
              ),
            ),
          );
        },
      );
      writer.line("workgroupBarrier();");
    },
  );
  const wide = resultPitch(form);
  sums.forEach((line, i) =>
    line.forEach((sum, j) =>
      writer.line(
        `subgroupMatrixStore<row_major>(&${at.result}, u32((${at.ownRow} + ${i * form.rows}) * ${wide} + ${at.ownColumn} + ${j * form.columns}), ${sum}, ${wide}u);`,
      ),
    ),
  );
}

interface Slice {
  readonly side: "lhs" | "rhs";
  readonly tile: string;
  readonly slice: string;
  readonly first: string;
  readonly end: string;
  readonly last: string;
}

function operandOf(
  { x }: StatementEmitter,
  contract: Contract,
  side: "lhs" | "rhs",
): { exact: Expr; factor: Expr | undefined } {
  const sharing = x.parts.storages.map(({ binding }) => binding.members[0]!);
  const memories = new Memories(x.parts.kernel, sharing);
  const operand = exactOperand(contract[side], contract.depth.axis, memories);
  if (!operand)
    throw new InternalError({
      what: "an operand is not what f16 holds",
      where: `kernel ${x.parts.kernel.name}`,
    });
  const [first, ...others] = operand.factors;
  const factor =
    first && others.reduce((product, other) => applyExpr("mul", product, other), first);
  return { exact: operand.exact, factor };
}

/** A slice of an operand as f16, by rows (or columns); what is out of range counts as zero. */
function bring(emitter: StatementEmitter, contract: Contract, form: MatrixForm, part: Slice): void {
  const { x } = emitter;
  const { writer, parts } = x;
  const { side, tile, slice, first, end, last } = part;
  const axis = (side === "lhs" ? contract.rows : contract.columns).axis;
  const depth = contract.depth.axis;
  const size = side === "lhs" ? form.tileRows : form.tileColumns;
  const { exact } = operandOf(emitter, contract, side);
  const sharing = parts.storages.map(({ binding }) => binding.members[0]!);
  const { along, unit } = quadAxis(
    { ...contract, [side]: exact },
    side,
    new Memories(parts.kernel, sharing),
  );
  // Four at once along the depth, or across it.
  const [deep, wide] = unit === 1 ? [1, 1] : along === "depth" ? [unit, 1] : [1, unit];
  const inner = along === "depth" ? form.tileDepth / deep : size / wide;
  const count = (size * form.tileDepth) / (deep * wide);
  const element = parts.names.fresh("element");
  writer.block(
    `for (var ${element} = i32(lane); ${element} < ${count}; ${element} += ${form.workgroup})`,
    () =>
      x.scoped(() => {
        const low = x.define("low", `${element} % ${inner}`);
        const high = x.define("high", `${element} / ${inner}`);
        const [row, k] = along === "depth" ? [high, low] : [low, high];
        const local = x.define("row", wide > 1 ? `${row} * ${wide}` : row);
        const step = x.define("step", deep > 1 ? `${k} * ${deep}` : k);
        const at = x.define(axis, `${first} + ${local}`);
        const from = x.define(depth, `${slice} + ${step}`);
        const value = parts.names.fresh("value");
        const type = unit === 1 ? "f16" : `vec${unit}<f16>`;
        writer.line(`var ${value} = ${type}();`);
        writer.block(`if (${at} < ${end} && ${from} < ${last})`, () =>
          x.scoped(() => {
            x.bind(axis, named(at, "i32"));
            x.bind(depth, named(from, "i32"));
            const values =
              unit === 1
                ? [x.value(exact)]
                : along === "depth"
                  ? quadValues(x, exact, depth, named(from, "i32"))
                  : quadValues(x, exact, axis, named(at, "i32"));
            // Exact: these are values of f16.
            writer.line(
              `${value} = ${type}(${values.map(({ text }) => `f16(${text})`).join(", ")});`,
            );
          }),
        );
        for (let i = 0; i < unit; i++) {
          const [r, d] = [wide > 1 ? i : 0, deep > 1 ? i : 0];
          writer.line(
            `${tile}[(${local} + ${r}) * ${pitchOf(form)} + ${step} + ${d}] = ${unit === 1 ? value : `${value}.${"xyzw"[i]!}`};`,
          );
        }
      }),
  );
}

/** Row and first column, within the workgroup, of the i-th four of this invocation. */
function fourAt(x: Expressions, form: MatrixForm, i: number | string): readonly [string, string] {
  const perRow = form.tileColumns / 4;
  const element = x.define("element", `i32(lane) + ${i} * ${form.workgroup}`);
  return [x.define("r", `${element} / ${perRow}`), x.define("c", `${element} % ${perRow} * 4`)];
}

/** Adds four sums, times their factors, to what this invocation has. */
function addScaled(
  emitter: StatementEmitter,
  contract: Contract,
  form: MatrixForm,
  place: Place,
  {
    result,
    block,
    total,
    i,
  }: {
    readonly result: string;
    readonly block: string;
    readonly total: string;
    readonly i: number;
  },
): void {
  const { x } = emitter;
  const { writer } = x;
  writer.block("", () =>
    x.scoped(() => {
      const [r, c] = fourAt(x, form, i);
      const at = x.define("at", `${r} * ${resultPitch(form)} + ${c}`);
      const sums = range(4).map((place4) => `${result}[${at} + ${place4}]`);
      let four = `vec4<f32>(${sums.join(", ")})`;
      const [left, right] = (["lhs", "rhs"] as const).map(
        (side) => operandOf(emitter, contract, side).factor,
      );
      x.bind(contract.depth.axis, named(block, "i32"));
      // Beyond the end, the last ones are as good as any: nothing is stored there.
      if (left) {
        x.bind(
          contract.rows.axis,
          named(
            x.define(contract.rows.axis, `min(${place.row} + ${r}, ${place.rowEnd} - 1)`),
            "i32",
          ),
        );
        four = `${four} * (${x.value(left).text})`;
      }
      if (right) {
        const { axis, start } = contract.columns;
        // A factor of a block of columns is one for all four.
        const count = start === undefined && isSteady(right, axis) ? 1 : 4;
        const factors = range(count).map((place4) => {
          const column = `min(${place.column} + ${c} + ${place4}, ${place.columnEnd} - 1)`;
          x.bind(axis, named(x.define(axis, column), "i32"));
          return x.define("factor", x.value(right).text);
        });
        four = `${four} * vec4<f32>(${factors.join(", ")})`;
      }
      writer.line(`${total} += ${four};`);
    }),
  );
}

/** Runs the product's body for each sum of this invocation. */
function emitResults(
  emitter: StatementEmitter,
  contract: Contract,
  form: MatrixForm,
  place: Place,
  totals: readonly string[],
): void {
  const { x } = emitter;
  const { writer, parts } = x;
  const results = parts.names.fresh("totals");
  writer.line(`var ${results} = array<vec4<f32>, ${totals.length}>(${totals.join(", ")});`);
  const i = parts.names.fresh("i");
  writer.block(`for (var ${i} = 0; ${i} < ${emitter.rolled(totals.length)}; ${i}++)`, () => {
    const [r, c] = fourAt(x, form, i);
    const m = x.define(contract.rows.axis, `${place.row} + ${r}`);
    writer.block(`if (${m} < ${place.rowEnd})`, () =>
      x.scoped(() => {
        x.bind(contract.rows.axis, named(m, "i32"));
        const first = x.define("first", `${place.column} + ${c}`);
        const line = x.define("line", `${results}[${i}]`);
        const four = { axis: contract.columns.axis, first, count: 4, end: place.columnEnd };
        emitter.neighbours(four, (offset) => {
          x.bind(contract.result, named(x.define(contract.result, `${line}[${offset}]`), "f32"));
          emitter.block(contract.body);
        });
      }),
    );
  });
}
