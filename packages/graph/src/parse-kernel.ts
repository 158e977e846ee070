/**
 * Kernels from text. In: a reader at the head of a kernel, or at an expression with the names around it. Out: the kernel as it was
 * before printing. Types of expressions follow from literals and declared names; what is legal is `verify`'s matter.
 */
import type { Expr, ScalarOp, ScalarType } from "./expression.ts";
import { apply, axis, literal, load, local } from "./expression.ts";
import type { DType } from "./dtype.ts";
import { isDType, isFloat } from "./dtype.ts";
import type { Kernel, KernelBuffer, Range, Reduce, Statement } from "./kernel.ts";
import { left, right } from "./kernel.ts";
import type { TextReader } from "./parse-tokens.ts";
import { infixOps } from "./print-expression.ts";

/** What names mean at some place. */
interface Names {
  /** Buffers of the kernel, and arrays. */
  readonly buffers: Map<string, DType>;
  readonly values: Map<string, Expr>;
}

const unary = ["neg", "abs", "sign", "exp", "log", "sin", "cos", "tanh", "sqrt", "floor", "ceil"];
const conversions = ["to_f32", "to_i32", "to_u32", "to_bool", "bitcast_f32", "bitcast_u32"];

/** Number of operands of every operator that is written as a call. */
const callOps: ReadonlyMap<string, number> = new Map([
  ...[...unary, "round", "not", ...conversions].map((op): [string, number] => [op, 1]),
  ...["min", "max"].map((op): [string, number] => [op, 2]),
  ["select", 3],
]);

const infixBySymbol: ReadonlyMap<string, { readonly op: ScalarOp; readonly level: number }> =
  new Map([...infixOps].map(([op, { symbol, level }]) => [symbol, { op, level }]));

/** Reads `kernel name { … }`. */
export function readKernel(reader: TextReader): Kernel {
  reader.expect("kernel");
  const name = reader.name();
  reader.expect("{");
  reader.sizeLines();
  const buffers: KernelBuffer[] = [];
  const accesses = ["read", "write", "update"] as const;
  while (accesses.some((access) => reader.sees(access))) {
    const access = reader.word(accesses);
    const buffer = reader.name();
    reader.expect(":");
    buffers.push({ name: buffer, ...reader.type(), access });
  }
  const names: Names = {
    buffers: new Map(buffers.map((buffer) => [buffer.name, buffer.dtype])),
    values: new Map(),
  };
  const body = readBlock(reader, names);
  reader.expect("}");
  return { name, buffers, body };
}

const inner = ({ buffers, values }: Names): Names => ({
  buffers: new Map(buffers),
  values: new Map(values),
});

/** Statements up to a `}` or to the closing lines of a reduce, neither of which is taken. */
function readBlock(reader: TextReader, names: Names): Statement[] {
  return reader.nested(() => {
    const statements: Statement[] = [];
    while (!reader.sees("}") && !reader.sees("values"))
      statements.push(readStatement(reader, names));
    return statements;
  });
}

function readBraces(reader: TextReader, names: Names): Statement[] {
  reader.expect("{");
  const statements = readBlock(reader, names);
  reader.expect("}");
  return statements;
}

const words = [
  "parallel",
  "serial",
  "let",
  "variable",
  "array",
  "set",
  "store",
  "if",
  "reduce",
  "contract",
] as const;

function readStatement(reader: TextReader, names: Names): Statement {
  const word = reader.word(words);
  switch (word) {
    case "parallel":
    case "serial": {
      const range = readRange(reader, names);
      const inside = inner(names);
      declareAxis(inside, range);
      return { kind: "loop", range, order: word, body: readBraces(reader, inside) };
    }
    case "let":
    case "variable":
    case "set": {
      const name = reader.name();
      reader.expect("=");
      const value = readExpr(reader, names);
      if (word === "set") return { kind: "assign", name, value };
      names.values.set(name, local(name, value.type));
      return { kind: word, name, value };
    }
    case "array": {
      const name = reader.name();
      reader.expect(":");
      const { offset } = reader.next;
      const { dtype, shape } = reader.type();
      const sizes = shape.filter((dim) => typeof dim === "number");
      if (dtype !== "f32" || sizes.length !== shape.length)
        reader.fail("an array is of f32 and of sizes that are numbers", offset);
      names.buffers.set(name, dtype);
      return { kind: "array", name, dtype, shape: sizes };
    }
    case "store": {
      const buffer = reader.name();
      reader.expect("[");
      const index = reader.list("]", () => readExpr(reader, names));
      reader.expect("=");
      return { kind: "store", buffer, index, value: readExpr(reader, names) };
    }
    case "if": {
      const condition = readExpr(reader, names);
      return { kind: "if", condition, body: readBraces(reader, inner(names)) };
    }
    case "reduce":
      return readReduce(reader, names);
    case "contract": {
      const part = (name: string): Range => {
        reader.expect(name);
        return readRange(reader, names);
      };
      const rows = part("rows");
      reader.expect(",");
      const columns = part("columns");
      reader.expect(",");
      const depth = part("depth");
      const operands = inner(names);
      for (const range of [rows, columns, depth]) declareAxis(operands, range);
      reader.expect("lhs");
      const lhs = readExpr(reader, operands);
      reader.expect("rhs");
      const rhs = readExpr(reader, operands);
      reader.expect("result");
      const result = reader.name();
      const inside = inner(names);
      for (const range of [rows, columns]) declareAxis(inside, range);
      inside.values.set(result, local(result, "f32"));
      const body = readBraces(reader, inside);
      return { kind: "contract", rows, columns, depth, lhs, rhs, result, body };
    }
  }
}

function readReduce(reader: TextReader, names: Names): Reduce {
  const results: { readonly name: string; readonly type: ScalarType }[] = [];
  do {
    const name = reader.name();
    reader.expect(":");
    results.push({ name, type: reader.word(["f32", "i32", "u32", "bool"]) });
  } while (reader.accept(","));
  reader.expect("over");
  const inside = inner(names);
  const ranges: Range[] = [];
  do {
    const range = readRange(reader, inside);
    declareAxis(inside, range);
    ranges.push(range);
  } while (reader.accept(","));
  reader.expect("{");
  const body = readBlock(reader, inside);
  const tuple = (word: string, scope: Names): Expr[] => {
    reader.expect(word);
    const exprs: Expr[] = [];
    do exprs.push(readExpr(reader, scope));
    while (reader.accept(","));
    return exprs;
  };
  const values = tuple("values", inside);
  const operands = inner(names);
  results.forEach(({ type }, i) => {
    for (const name of [left(i), right(i)]) operands.values.set(name, local(name, type));
  });
  const combine = tuple("combine", operands);
  const identity = tuple("identity", names);
  reader.expect("}");
  for (const { name, type } of results) names.values.set(name, local(name, type));
  return { kind: "reduce", ranges, results, identity, body, values, combine };
}

function declareAxis(names: Names, range: Range): void {
  names.values.set(range.axis, axis(range.axis, range.extent));
}

function readRange(reader: TextReader, names: Names): Range {
  const name = reader.name();
  reader.expect("<");
  const extent = reader.dim();
  const start = reader.accept("from") ? readExpr(reader, names) : undefined;
  const end = reader.accept("to") ? readExpr(reader, names) : undefined;
  return { axis: name, extent, ...(start && { start }), ...(end && { end }) };
}

/** Reads an expression whose operators bind at least as tightly as `level`. */
function readExpr(reader: TextReader, names: Names, level = 0): Expr {
  let expr = reader.nested(() => readOperand(reader, names));
  for (;;) {
    const { kind, text } = reader.next;
    const infix = kind === "symbol" ? infixBySymbol.get(text) : undefined;
    if (!infix || infix.level < level) return expr;
    reader.take();
    const operand = reader.nested(() => readExpr(reader, names, infix.level + 1));
    expr = apply(infix.op, expr, operand);
  }
}

function readOperand(reader: TextReader, names: Names): Expr {
  if (reader.accept("(")) {
    const expr = readExpr(reader, names);
    reader.expect(")");
    return expr;
  }
  const { kind, text, offset } = reader.next;
  if (reader.accept("true")) return literal(1, "bool");
  if (reader.accept("false")) return literal(0, "bool");
  if (kind === "number" && text.endsWith("u")) {
    reader.take();
    return literal(Number(text.slice(0, -1)), "u32");
  }
  if (reader.sees("-") || kind === "number" || reader.sees("inf") || reader.sees("nan")) {
    const sign = reader.sees("-") ? reader.take() : undefined;
    const type = /^\d+$/.test(reader.next.text) ? "i32" : "f32";
    const value = reader.number();
    return literal(sign ? -value : value, type);
  }
  const name = reader.name();
  if (reader.accept("[")) {
    const dtype = names.buffers.get(name);
    if (!dtype) reader.fail(`there is no buffer "${name}"`, offset);
    const index = reader.list("]", () => readExpr(reader, names));
    return load(name, index, dtype);
  }
  if (kind === "name" && reader.accept("(")) return readCall(reader, names, name, offset);
  const value = names.values.get(name);
  if (!value) reader.fail(`"${name}" is not declared here`, offset);
  return value;
}

function readCall(reader: TextReader, names: Names, name: string, offset: number): Expr {
  if (name === "size") {
    const dim = reader.dim();
    reader.expect(")");
    return { kind: "size", type: "i32", dim };
  }
  const args = reader.list(")", () => readExpr(reader, names));
  const dtype = name.slice("round_".length);
  const rounds = name.startsWith("round_") && isDType(dtype) && isFloat(dtype);
  const count = rounds ? 1 : callOps.get(name);
  if (count === undefined) reader.fail(`there is no scalar op "${name}"`, offset);
  if (args.length !== count)
    reader.fail(`${name} takes ${count} operands, found ${args.length}`, offset);
  if (rounds) return { kind: "round", type: "f32", dtype, value: args[0]! };
  return apply(name as ScalarOp, ...args);
}
