/**
 * Canonical text of every intermediate form. In: a graph, a kernel or a program. Out: text, one node or statement a line,
 * that `parse.ts` reads back to equal data. Data that `verify` would refuse prints too, since its error messages
 * show it, but may then not read back.
 */
import type { Graph, Node } from "./graph.ts";
import { valueName } from "./graph.ts";
import type { Kernel, Range, Statement } from "./kernel.ts";
import { expressionsOf, rangesOf, visitStatements } from "./kernel.ts";
import { visitExpr } from "./expression.ts";
import { printExpr } from "./print-expression.ts";
import type { Program, ProgramBuffer, Step } from "./program.ts";
import type { Dim, SizeSymbol } from "./shape.ts";
import { formatDim, formatType, symbolsOf } from "./shape.ts";
import { formatAttribute, formatElements, formatName, formatSize, formatTrail } from "./text.ts";

const indent = (lines: readonly string[]): string[] => lines.map((line) => `  ${line}`);

const block = (head: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [`${head} {}`] : [`${head} {`, ...indent(lines), "}"];

const text = (lines: readonly string[]): string => `${lines.join("\n")}\n`;

/** Text of a graph. */
export function printGraph(graph: Graph): string {
  return text(
    block(`graph ${formatName(graph.name)}`, [
      ...graph.sizes.map(formatSize),
      ...graph.nodes.map((node) => printNode(graph, node)),
      ...graph.outputs.map(
        ({ name, value }) => `output ${formatName(name)} = ${printRef(graph, value)}`,
      ),
      ...graph.updates.map(
        ({ name, value }) => `update ${formatName(name)} = ${printRef(graph, value)}`,
      ),
    ]),
  );
}

/** One node, such as `%2 = sum(%1) {axes: [0]}: f32[] // layers.0.norm`. */
export function printNode(graph: Graph, node: Node): string {
  const { id, op, attrs, inputs, outputs, scope, value } = node;
  const types = outputs.map(formatType).join(", ");
  return [
    `%${id} = ${formatName(op.name)}(${inputs.map((ref) => printRef(graph, ref)).join(", ")})`,
    Object.keys(attrs).length > 0 ? ` ${formatAttribute(attrs)}` : "",
    outputs.length === 1 ? `: ${types}` : `: (${types})`,
    value ? ` = ${formatElements(value)}` : "",
    formatTrail(scope),
  ].join("");
}

function printRef(graph: Graph, ref: { readonly node: number; readonly output: number }): string {
  return graph.nodes[ref.node] && (ref.output === 0 || graph.nodes[ref.node]!.outputs.length > 1)
    ? valueName(graph, ref)
    : `%${ref.node}.${ref.output}`;
}

/** Text of a kernel, with the bounds of its sizes. */
export function printKernel(kernel: Kernel): string {
  return text(kernelLines(kernel, kernelSizes(kernel).map(formatSize)));
}

function kernelLines(kernel: Kernel, header: readonly string[]): string[] {
  return block(`kernel ${formatName(kernel.name)}`, [
    ...header,
    ...kernel.buffers.map(
      (buffer) => `${buffer.access} ${formatName(buffer.name)}: ${formatType(buffer)}`,
    ),
    ...kernel.body.flatMap(printStatement),
  ]);
}

/** Every size a kernel mentions, by name. */
export function kernelSizes(kernel: Kernel): SizeSymbol[] {
  const sizes = new Map<string, SizeSymbol>();
  const add = (dim: Dim): void => {
    for (const symbol of symbolsOf(dim)) sizes.set(symbol.name, symbol);
  };
  for (const { shape } of kernel.buffers) shape.forEach(add);
  visitStatements(kernel.body, (statement) => {
    for (const range of rangesOf(statement)) add(range.extent);
    for (const expr of expressionsOf(statement))
      visitExpr(expr, (part) => {
        if (part.kind === "size") add(part.dim);
        if (part.kind === "axis") add(part.extent);
      });
  });
  return [...sizes.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function printRange({ axis, extent, start, end }: Range): string {
  return [
    `${formatName(axis)} < ${formatDim(extent)}`,
    start ? ` from ${printExpr(start)}` : "",
    end ? ` to ${printExpr(end)}` : "",
  ].join("");
}

/** Lines of one statement, its block included. */
export function printStatement(statement: Statement): string[] {
  const body = (statements: readonly Statement[]): string[] => statements.flatMap(printStatement);
  switch (statement.kind) {
    case "loop":
      return block(`${statement.order} ${printRange(statement.range)}`, body(statement.body));
    case "let":
    case "variable":
      return [`${statement.kind} ${formatName(statement.name)} = ${printExpr(statement.value)}`];
    case "array":
      return [`array ${formatName(statement.name)}: ${formatType(statement)}`];
    case "assign":
      return [`set ${formatName(statement.name)} = ${printExpr(statement.value)}`];
    case "store": {
      const index = statement.index.map(printExpr).join(", ");
      return [`store ${formatName(statement.buffer)}[${index}] = ${printExpr(statement.value)}`];
    }
    case "if":
      return block(`if ${printExpr(statement.condition)}`, body(statement.body));
    case "reduce": {
      const { ranges, results, identity, values, combine } = statement;
      const list = (exprs: typeof values): string => exprs.map(printExpr).join(", ");
      const names = results.map(({ name, type }) => `${formatName(name)}: ${type}`).join(", ");
      return block(`reduce ${names} over ${ranges.map(printRange).join(", ")}`, [
        ...body(statement.body),
        `values ${list(values)}`,
        `combine ${list(combine)}`,
        `identity ${list(identity)}`,
      ]);
    }
    case "contract": {
      const { rows, columns, depth, lhs, rhs, result } = statement;
      return [
        `contract rows ${printRange(rows)}, columns ${printRange(columns)}, depth ${printRange(depth)}`,
        `  lhs ${printExpr(lhs)}`,
        `  rhs ${printExpr(rhs)}`,
        ...block(`  result ${formatName(result)}`, body(statement.body)).map((line, i) =>
          i === 0 ? line : `  ${line}`,
        ),
      ];
    }
  }
}

/** Text of a program, its kernels included. */
export function printProgram(program: Program): string {
  return text(
    block(`program ${formatName(program.name)}`, [
      ...program.sizes.map(formatSize),
      `arena ${program.arenaBytes} bytes`,
      ...program.states.map(({ name, type }) => `state ${formatName(name)}: ${formatType(type)}`),
      ...program.buffers.map(printBuffer),
      ...(["input", "output"] as const).flatMap((kind) =>
        program[`${kind}s`].map(
          ({ name, type, buffer }) =>
            `${kind} ${formatName(name)}: ${formatType(type)} in $${buffer}`,
        ),
      ),
      ...program.kernels.flatMap((kernel) => kernelLines(kernel, [])),
      ...program.steps.map(printStep),
    ]),
  );
}

/** One buffer, such as `buffer $3: f32[T] at arena 4096`. */
export function printBuffer({ type, place }: ProgramBuffer, index: number): string {
  const head = `buffer $${index}: ${formatType(type)}`;
  switch (place.kind) {
    case "arena":
      return `${head} at arena ${place.offset}`;
    case "state":
      return `${head} at state ${formatName(place.name)}`;
    case "constant":
      return `${head} = ${formatElements(place.value)}`;
  }
}

/** One step, such as `step 2 ($0, $4) // layers.0.mlp`. */
export function printStep({ kernel, buffers, label }: Step): string {
  return `step ${kernel} (${buffers.map((buffer) => `$${buffer}`).join(", ")})${formatTrail(label)}`;
}
