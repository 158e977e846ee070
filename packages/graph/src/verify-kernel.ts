/**
 * What a legal kernel is. In: a kernel. Out: nothing, or an InternalError that prints the offending line. Backends rely on
 * these rules and do not check them again: names are unique along each path of blocks, every value is typed, and what
 * runs in no fixed order changes no variable outside.
 */
import { InternalError } from "./errors.ts";
import type { Expr } from "./expression.ts";
import { resultType, scalarType } from "./expression.ts";
import type { Kernel, KernelBuffer, PrivateArray, Range, Statement } from "./kernel.ts";
import { left, right } from "./kernel.ts";
import { kernelSizes, printStatement } from "./print.ts";
import { printExpr } from "./print-expression.ts";
import type { SizeSymbol } from "./shape.ts";
import { dimsEqual, formatDim, formatType } from "./shape.ts";
import { expectedOperands, operatorTakes } from "./verify-expression.ts";
import { dimProblem, symbolProblem } from "./verify-graph.ts";

interface Name {
  /** The axis or local that the name stands for. */
  readonly value: Expr & { kind: "axis" | "local" };
  /** Depth of unordered loops where a variable may be assigned; undefined for what never changes. */
  readonly assignable?: number;
}

interface Scope {
  readonly names: Map<string, Name>;
  /** Arrays, which loads and stores name like buffers. */
  readonly arrays: Map<string, KernelBuffer>;
  /** How many unordered loops enclose this place. */
  readonly unordered: number;
}

/** Throws an InternalError unless the kernel is legal. */
export function verifyKernel(
  kernel: Kernel,
  sizes: readonly SizeSymbol[] = kernelSizes(kernel),
): void {
  new KernelVerifier(kernel, sizes).verify();
}

class KernelVerifier {
  readonly #kernel: Kernel;
  readonly #sizes: ReadonlyMap<string, SizeSymbol>;
  readonly #buffers: ReadonlyMap<string, KernelBuffer>;
  /** The line at hand, for messages. */
  #statement: Statement | undefined;

  constructor(kernel: Kernel, sizes: readonly SizeSymbol[]) {
    this.#kernel = kernel;
    this.#sizes = new Map(sizes.map((symbol) => [symbol.name, symbol]));
    this.#buffers = new Map(kernel.buffers.map((buffer) => [buffer.name, buffer]));
  }

  verify(): void {
    if (this.#buffers.size !== this.#kernel.buffers.length)
      this.#wrong("two buffers have one name");
    for (const buffer of this.#kernel.buffers)
      for (const dim of buffer.shape) {
        const problem = dimProblem(dim, this.#sizes);
        if (problem) this.#wrong(`${problem} in buffer ${buffer.name}: ${formatType(buffer)}`);
      }
    this.#block(this.#kernel.body, { names: new Map(), arrays: new Map(), unordered: 0 });
  }

  #wrong(what: string): never {
    const line = this.#statement && printStatement(this.#statement)[0]!.replace(/ \{(\})?$/, "");
    throw new InternalError({
      what: line === undefined ? what : `${what}: ${line}`,
      where: `kernel ${this.#kernel.name}`,
    });
  }

  #block(statements: readonly Statement[], outer: Scope): void {
    const scope = this.#inside(outer, 0);
    for (const statement of statements) {
      this.#statement = statement;
      this.#check(statement, scope);
    }
  }

  #check(statement: Statement, scope: Scope): void {
    switch (statement.kind) {
      case "loop": {
        const parallel = statement.order === "parallel" ? 1 : 0;
        const inside = this.#inside(scope, parallel);
        this.#range(statement.range, scope, inside);
        return this.#block(statement.body, inside);
      }
      case "let":
      case "variable": {
        const { name, value } = statement;
        this.#expr(value, scope);
        const assignable = statement.kind === "variable" ? { assignable: scope.unordered } : {};
        return this.#declare(scope, {
          value: { kind: "local", type: value.type, name },
          ...assignable,
        });
      }
      case "array":
        return this.#array(statement, scope);
      case "assign": {
        const target = scope.names.get(statement.name);
        if (target?.assignable === undefined)
          return this.#wrong(`"${statement.name}" is not a variable here`);
        if (target.assignable !== scope.unordered)
          this.#wrong(`"${statement.name}" is changed inside a loop of no fixed order`);
        this.#expr(statement.value, scope);
        return this.#expectType(statement.value, target.value.type);
      }
      case "store":
        return this.#store(statement, scope);
      case "if":
        this.#expr(statement.condition, scope);
        this.#expectType(statement.condition, "bool");
        return this.#block(statement.body, this.#inside(scope, 0));
      case "reduce":
        return this.#reduce(statement, scope);
      case "contract": {
        const { rows, columns, depth, lhs, rhs, result } = statement;
        const operand = (range: Range, value: Expr): void => {
          const inside = this.#inside(scope, 1);
          this.#range(range, scope, inside);
          this.#range(depth, scope, inside);
          this.#expr(value, inside);
          this.#expectType(value, "f32");
        };
        operand(rows, lhs);
        operand(columns, rhs);
        const inside = this.#inside(scope, 1);
        this.#range(rows, scope, inside);
        this.#range(columns, scope, inside);
        this.#declare(inside, { value: { kind: "local", type: "f32", name: result } });
        return this.#block(statement.body, inside);
      }
    }
  }

  #inside(scope: Scope, unordered: number): Scope {
    return {
      names: new Map(scope.names),
      arrays: new Map(scope.arrays),
      unordered: scope.unordered + unordered,
    };
  }

  #declare(scope: Scope, name: Name): void {
    if (scope.names.has(name.value.name)) this.#wrong(`"${name.value.name}" is declared already`);
    scope.names.set(name.value.name, name);
  }

  /** Checks a range whose bounds see `outer`, and declares its axis in `inside`. */
  #range({ axis, extent, start, end }: Range, outer: Scope, inside: Scope): void {
    const problem = dimProblem(extent, this.#sizes);
    if (problem) this.#wrong(`${problem} as extent of ${axis}`);
    for (const bound of [start, end])
      if (bound) {
        this.#expr(bound, outer);
        this.#expectType(bound, "i32");
      }
    this.#declare(inside, { value: { kind: "axis", type: "i32", name: axis, extent } });
  }

  #store(statement: Statement & { kind: "store" }, scope: Scope): void {
    const { buffer: name, index, value } = statement;
    const buffer = this.#bufferOf(name, scope);
    if (buffer.access === "read") this.#wrong(`"${name}" is only read`);
    this.#index(buffer, index, scope);
    this.#expr(value, scope);
    this.#expectType(value, scalarType(buffer.dtype));
  }

  #reduce(statement: Statement & { kind: "reduce" }, scope: Scope): void {
    const { ranges, results, identity, values, combine, body } = statement;
    const arity = results.length;
    if (arity === 0 || [identity, values, combine].some((tuple) => tuple.length !== arity))
      this.#wrong(
        `a reduction of ${arity} components has ${values.length} values, ${combine.length} combinations and ${identity.length} identities`,
      );
    if (ranges.length === 0) this.#wrong("a reduction has no range");
    const inside = this.#inside(scope, 1);
    for (const range of ranges) this.#range(range, { ...inside }, inside);
    for (const part of body) {
      if (part.kind !== "let") this.#wrong(`a reduction's body holds a ${part.kind}`);
      this.#check(part, inside);
    }
    // The combination sees its operands only, so that a backend can make a function of it.
    const operands: Scope = {
      names: new Map(),
      arrays: new Map(),
      unordered: scope.unordered + 1,
    };
    results.forEach(({ type }, i) => {
      for (const name of [left(i), right(i)])
        this.#declare(operands, { value: { kind: "local", type, name } });
    });
    const tuples: [readonly Expr[], Scope][] = [
      [identity, scope],
      [values, inside],
      [combine, operands],
    ];
    for (const [tuple, names] of tuples)
      tuple.forEach((expr, i) => {
        this.#expr(expr, names);
        this.#expectType(expr, results[i]!.type);
      });
    for (const { name, type } of results)
      this.#declare(scope, { value: { kind: "local", type, name } });
  }

  #array({ name, dtype, shape }: PrivateArray, scope: Scope): void {
    if (this.#buffers.has(name) || scope.arrays.has(name) || scope.names.has(name))
      this.#wrong(`"${name}" is declared already`);
    if (dtype !== "f32" || !shape.every((size) => Number.isInteger(size) && size > 0))
      this.#wrong(`an array is of f32 and of sizes from 1 up`);
    scope.arrays.set(name, { name, dtype, shape, access: "update" });
  }

  #bufferOf(name: string, scope: Scope): KernelBuffer {
    return (
      scope.arrays.get(name) ??
      this.#buffers.get(name) ??
      this.#wrong(`there is no buffer "${name}"`)
    );
  }

  #index(buffer: KernelBuffer, index: readonly Expr[], scope: Scope): void {
    if (index.length !== buffer.shape.length)
      this.#wrong(`${index.length} indices into ${buffer.name}, which is ${formatType(buffer)}`);
    for (const expr of index) {
      this.#expr(expr, scope);
      this.#expectType(expr, "i32");
    }
  }

  #expectType(expr: Expr, type: Expr["type"]): void {
    if (expr.type !== type) this.#wrong(`${printExpr(expr)} is ${expr.type}, expected ${type}`);
  }

  #expr(expr: Expr, scope: Scope, seen: Set<Expr> = new Set()): void {
    // Expressions may share parts; each part is looked at once.
    if (seen.has(expr)) return;
    seen.add(expr);
    switch (expr.kind) {
      case "literal": {
        const problem = literalProblem(expr);
        if (problem) this.#wrong(problem);
        return;
      }
      case "axis":
      case "local": {
        const value = scope.names.get(expr.name)?.value;
        if (value?.kind !== expr.kind || value.type !== expr.type)
          return this.#wrong(`${expr.kind} "${expr.name}" of ${expr.type} is not in scope`);
        if (expr.kind === "axis" && value.kind === "axis" && !dimsEqual(expr.extent, value.extent))
          this.#wrong(
            `axis "${expr.name}" is used with extent ${formatDim(expr.extent)}, declared with ${formatDim(value.extent)}`,
          );
        return;
      }
      case "size": {
        // A difference of sizes may be negative as a value, unlike the size of an axis.
        const problem = symbolProblem(expr.dim, this.#sizes);
        if (problem) this.#wrong(problem);
        return;
      }
      case "load": {
        const buffer = this.#bufferOf(expr.buffer, scope);
        if (buffer.access === "write") this.#wrong(`"${expr.buffer}" is only written`);
        if (expr.type !== scalarType(buffer.dtype))
          this.#wrong(`${printExpr(expr)} of ${formatType(buffer)} is loaded as ${expr.type}`);
        return this.#index(buffer, expr.index, scope);
      }
      case "round":
        this.#expr(expr.value, scope, seen);
        return this.#expectType(expr.value, "f32");
      case "apply": {
        for (const arg of expr.args) this.#expr(arg, scope, seen);
        const types = expr.args.map((arg) => arg.type);
        if (!operatorTakes(expr.op, types))
          this.#wrong(
            `${expr.op} takes ${expectedOperands(expr.op)}, got ${types.join(", ") || "nothing"} in ${printExpr(expr)}`,
          );
        if (expr.type !== resultType(expr.op, types.at(-1)!))
          this.#wrong(`${printExpr(expr)} is marked ${expr.type}`);
      }
    }
  }
}

function literalProblem({ type, value }: Expr & { kind: "literal" }): string | undefined {
  const fits =
    type === "f32" ||
    (Number.isInteger(value) &&
      (type === "i32"
        ? value >= -(2 ** 31) && value < 2 ** 31
        : value >= 0 && value < (type === "u32" ? 2 ** 32 : 2)));
  return fits ? undefined : `${value} is not a literal of ${type}`;
}
