/**
 * What the emitters of statements share while one kernel's function is written: names in scope, buffers, sizes, and
 * how expressions become values. In: a kernel and its parameters. Out: values and accesses. It knows no statement;
 * each family has its own file, and they reach each other through `block`.
 */
import type {
  DType,
  Dim,
  Expr,
  Kernel,
  PrivateArray,
  ScalarOp,
  ScalarType,
  Shape,
  Statement,
} from "@millrace/graph";
import {
  byteWidth,
  elementCount,
  InternalError,
  multiplyDims,
  visitStatements,
} from "@millrace/graph";
import type { Choice } from "../configure/configure.ts";
import { mergeIndex } from "../configure/merge-index.ts";
import { accessOf } from "./address.ts";
import { computeOver } from "./compute.ts";
import { Emission } from "./emission.ts";
import type { FunctionBuilder, Local } from "./function-builder.ts";
import type { Library } from "./library.ts";
import type { Bounds } from "./loop.ts";
import { isUniform, polynomialOf, sumOf } from "./polynomial.ts";
import type { Team } from "./team.ts";
import type { Access, Value } from "./values.ts";
import { ValueTable } from "./values.ts";

/** What a name stands for: a value, or a variable that is read anew each time. */
export type Meaning =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "variable"; readonly local: Local; readonly type: ScalarType };

/** Memory that products pack into and arrays lie in: what the threads share, then `bytes` for each, one after the other. */
export interface Scratch {
  /** Address of what they share: the right side of a product that they pack together. */
  readonly shared: number;
  readonly address: number;
  readonly bytes: number;
  /** Where a thread's arrays begin, counted from the beginning of its memory. */
  readonly arrays: number;
}

export type Names = ReadonlyMap<string, Meaning>;

/** What a kernel's function is emitted from. */
export interface KernelInput {
  readonly f: FunctionBuilder;
  readonly library: Library;
  readonly kernel: Kernel;
  readonly choices: ReadonlyMap<Statement, Choice>;
  /** Parameters that hold the buffers' addresses, in the kernel's order. */
  readonly buffers: readonly Local[];
  /** Numbers of the memories that the buffers lie in. Scratch is in memory 0. */
  readonly memories: readonly number[];
  /** Parameters that hold the sizes, by name. */
  readonly sizes: ReadonlyMap<string, Local>;
  /** Address of the memory that products pack their operands into; in a team, of the first thread's. */
  readonly scratch: Scratch;
  /** The threads that run the module; undefined in a module for one. */
  readonly team: Team | undefined;
  /** Products use fused multiply-add. */
  readonly relaxed: boolean;
}

interface Buffer {
  readonly index: number;
  readonly dtype: DType;
  readonly shape: Shape;
  readonly memory: number;
  readonly base: Value;
  readonly strides: readonly Value[];
  readonly volatile: boolean;
}

/** Arrays of a block one after the other, in bytes from the first, and how many bytes they take. */
export function placeArrays(body: readonly Statement[]): {
  readonly places: ReadonlyMap<PrivateArray, number>;
  readonly bytes: number;
} {
  const places = new Map<PrivateArray, number>();
  let bytes = 0;
  visitStatements(body, (statement) => {
    if (statement.kind !== "array") return;
    places.set(statement, bytes);
    bytes += Math.ceil((elementCount(statement.shape) * byteWidth(statement.dtype)) / 64) * 64;
  });
  return { places, bytes };
}

/** The state of one kernel's emission. */
export class KernelEmitter {
  readonly e: Emission;
  readonly f: FunctionBuilder;
  readonly table: ValueTable = new ValueTable();
  readonly input: KernelInput;
  /** What this thread runs of divided loops, asked for in front of the loop. */
  readonly stretches: Map<Statement, () => Bounds> = new Map();
  /** True inside a loop that runs four iterations at once. */
  lanes = false;
  readonly #buffers: Map<string, Buffer> = new Map();
  readonly #sizes: Map<string, Value> = new Map();
  readonly #statement: (k: KernelEmitter, statement: Statement) => void;
  readonly #aligned: Set<Value> = new Set();
  readonly #dtypes: readonly DType[];
  readonly #arrays: ReadonlyMap<PrivateArray, number>;
  #names: Map<string, Meaning> = new Map();
  #guarded = false;
  #scratch: Value | undefined;

  /** `statement` emits one statement, whatever its kind. */
  constructor(input: KernelInput, statement: (k: KernelEmitter, statement: Statement) => void) {
    const { f, kernel } = input;
    this.input = input;
    this.f = f;
    this.#statement = statement;
    this.#arrays = placeArrays(kernel.body).places;
    // Loads name buffers by number; arrays are counted on from them.
    this.#dtypes = [...kernel.buffers, ...this.#arrays.keys()].map(({ dtype }) => dtype);
    this.e = new Emission(f, input.library, this.table, computeOver(this.#dtypes));
    for (const [name, local] of input.sizes)
      this.#sizes.set(name, this.table.local(local, "i32", 0, { natural: true }));
    kernel.buffers.forEach(({ name, dtype, shape, access }, index) => {
      let stride: Dim = 1;
      const strides = shape.toReversed().map((dim) => {
        const value = this.dim(stride);
        stride = multiplyDims(stride, dim);
        return value;
      });
      const base = this.table.local(input.buffers[index]!, "i32", 0, { natural: true });
      this.#buffers.set(name, {
        index,
        dtype,
        shape,
        memory: input.memories[index]!,
        base,
        strides: strides.toReversed(),
        volatile: access !== "read",
      });
    });
  }

  /** Puts an array's name in scope, with its place in this thread's memory. */
  bindArray(array: PrivateArray): void {
    const { name, dtype, shape } = array;
    const index = this.input.kernel.buffers.length + [...this.#arrays.keys()].indexOf(array);
    const start = this.table.integer(this.input.scratch.arrays + this.#arrays.get(array)!);
    const strides = shape.map((_, i) =>
      this.table.integer(shape.slice(i + 1).reduce((product, size) => product * size, 1)),
    );
    const base = this.table.apply("add", [this.scratch(), start]);
    this.#buffers.set(name, { index, dtype, shape, memory: 0, base, strides, volatile: true });
  }

  /** Address of this thread's memory for products and arrays; asked for first outside of all loops. */
  scratch(): Value {
    if (this.#scratch) return this.#scratch;
    const { f, input } = this;
    const { address, bytes } = input.scratch;
    if (!input.team) return (this.#scratch = this.table.integer(address));
    f.globalGet(input.team.thread);
    f.i32(bytes);
    f.op("i32.mul");
    f.i32(address);
    f.op("i32.add");
    this.#scratch = this.table.local(f.save("i32"), "i32", 0, { natural: true });
    return this.#scratch;
  }

  /** A size's value in this run. */
  dim(dim: Dim): Value {
    if (typeof dim === "number") return this.table.integer(dim);
    let sum: Value = this.table.integer(0);
    for (const { coefficient, symbols } of dim.terms) {
      let product: Value = this.table.integer(coefficient);
      for (const symbol of symbols) {
        const value = this.#sizes.get(symbol.name);
        if (!value) throw new InternalError({ what: `the size ${symbol.name} is unknown` });
        product = this.table.apply("mul", [product, value]);
      }
      sum = this.table.apply("add", [sum, product]);
    }
    return sum;
  }

  /** The names in scope, for a loop that emits its body twice. */
  get names(): Names {
    return this.#names;
  }

  bind(name: string, value: Value): void {
    this.#names.set(name, { kind: "value", value });
  }

  bindVariable(name: string, local: Local, type: ScalarType): void {
    this.#names.set(name, { kind: "variable", local, type });
  }

  meaning(name: string): Meaning {
    const meaning = this.#names.get(name);
    if (!meaning)
      throw new InternalError({
        what: `the name ${name} is not in scope`,
        where: `kernel ${this.input.kernel.name}`,
      });
    return meaning;
  }

  /** Runs `body`; names bound in it are gone afterwards. */
  scoped<T>(body: () => T): T {
    const names = this.#names;
    this.#names = new Map(names);
    const result = body();
    this.#names = names;
    return result;
  }

  /** A scope that is entered again and again: what is bound in it stays. */
  scope(): (body: () => void) => void {
    const own = new Map(this.#names);
    return (body) => {
      const names = this.#names;
      this.#names = own;
      body();
      this.#names = names;
    };
  }

  /** Emits one statement in the present scope. */
  statement(statement: Statement): void {
    this.#statement(this, statement);
  }

  /** Emits the statements of a block in a scope of their own; `then` may use the names they bind. */
  block(statements: readonly Statement[], then?: () => void): void {
    this.scoped(() => {
      for (const statement of statements) this.#statement(this, statement);
      then?.();
    });
  }

  /** The value of a loop counter, from inside the loop. */
  counter(index: Local): Value {
    return this.table.local(index, "i32", this.e.depth, { natural: true });
  }

  /** The value of an axis that is in scope. */
  axis(name: string): Value {
    const meaning = this.meaning(name);
    if (meaning.kind === "value") return meaning.value;
    throw new InternalError({ what: `the axis ${name} is a variable` });
  }

  /** Says that a value is a multiple of 4 whenever it is used. */
  markAligned(value: Value): void {
    this.#aligned.add(value);
  }

  /** Names the four axis values from `base` on, in a place that is `distance` ahead of the first of several. */
  bindLanes(axis: string, base: Value, distance = 0): void {
    this.bind(
      axis,
      this.table.lanes(this.table.apply("add", [base, this.table.distance(distance)])),
    );
  }

  /** Runs `body`, whose code one of several places side by side may skip while another does not. */
  guarded(body: () => void): void {
    const outer = this.#guarded;
    this.#guarded = true;
    body();
    this.#guarded = outer;
  }

  #isAligned(value: Value): boolean {
    return polynomialOf(value).every(
      ({ coefficient, atoms }) =>
        coefficient % 4 === 0 || atoms.some((atom) => this.#aligned.has(atom)),
    );
  }

  /**
   * `x / d` and `x % d` where x runs over four neighbours from a multiple of 4 and d is a multiple of 4: no
   * quotient changes within the four, so the division is scalar and the remainders are neighbours again.
   */
  #alignedDivision(op: "div" | "rem", dividend: Value, divisor: Value): Value | undefined {
    if (!dividend.vector || divisor.kind !== "constant") return undefined;
    if (divisor.value <= 0 || divisor.value % 4 !== 0) return undefined;
    const start = this.#alignedStart(dividend);
    // Below zero a truncated quotient changes within the four.
    if (!start?.natural) return undefined;
    const scalar = this.table.apply(op, [start, divisor]);
    return op === "div" ? scalar : this.table.lanes(scalar);
  }

  /**
   * `x < c`, `x >= c` where x runs over four neighbours from a multiple of 4 and c is a multiple of 4: all four agree.
   */
  #alignedComparison(op: ScalarOp, x: Value, c: Value): Value | undefined {
    if (!x.vector || x.type !== "i32" || c.kind !== "constant") return undefined;
    // x <= 3 and x > 3 are x < 4 and x >= 4.
    const strict = op === "lt" || op === "ge";
    if (!strict && op !== "le" && op !== "gt") return undefined;
    const limit = strict ? c.value : c.value + 1;
    const start = this.#alignedStart(x);
    if (limit % 4 !== 0 || !start) return undefined;
    const scalar = strict ? op : op === "le" ? "lt" : "ge";
    return this.table.apply(scalar, [start, this.table.integer(limit)]);
  }

  /** The first of four neighbours, if it is a multiple of 4. */
  #alignedStart(value: Value): Value | undefined {
    const polynomial = polynomialOf(value);
    const moving = polynomial.filter((term) => term.iota);
    if (!polynomial.every(isUniform) || moving.length !== 1) return undefined;
    if (moving[0]!.coefficient !== 1 || moving[0]!.atoms.length > 0) return undefined;
    const start = sumOf(
      this.table,
      polynomial.filter((term) => !term.iota),
    );
    return this.#isAligned(start) ? start : undefined;
  }

  #arguments(op: ScalarOp, exprs: readonly Expr[]): readonly Value[] {
    const values: Value[] = [];
    exprs.forEach((expr, i) => {
      const ask = (): unknown => values.push(this.value(expr));
      if (op === "select" && i > 0) this.guarded(ask);
      else ask();
    });
    return values;
  }

  /** An expression in the present scope. */
  value(expr: Expr): Value {
    switch (expr.kind) {
      case "literal":
        return this.table.constant(expr.value, expr.type);
      case "size":
        return this.dim(expr.dim);
      case "axis":
      case "local": {
        const meaning = this.meaning(expr.name);
        if (meaning.kind === "value") return meaning.value;
        return this.table.local(meaning.local, meaning.type, this.e.depth, { volatile: true });
      }
      case "load": {
        const { index, volatile } = this.buffer(expr.buffer);
        return this.table.load(index, expr.type, this.access(expr.buffer, expr.index), volatile);
      }
      case "apply": {
        const args = this.#arguments(expr.op, expr.args);
        if ((expr.op === "div" || expr.op === "rem") && expr.type === "i32") {
          const simple = this.#alignedDivision(expr.op, args[0]!, args[1]!);
          if (simple) return simple;
        }
        const even = args.length === 2 && this.#alignedComparison(expr.op, args[0]!, args[1]!);
        if (even) return even;
        return this.table.apply(expr.op, args);
      }
      case "round":
        return expr.dtype === "f32"
          ? this.value(expr.value)
          : this.table.round(this.value(expr.value), expr.dtype);
    }
  }

  /** The dtype of a buffer or array, by its number. */
  dtypeOf(index: number): DType {
    return this.#dtypes[index]!;
  }

  buffer(name: string): Buffer {
    const buffer = this.#buffers.get(name);
    if (!buffer)
      throw new InternalError({
        what: `the buffer ${name} is unknown`,
        where: `kernel ${this.input.kernel.name}`,
      });
    return buffer;
  }

  /** Where an element of a buffer, or one per lane, is found. */
  access(name: string, index: readonly Expr[]): Access {
    const { memory, base, strides, dtype, shape } = this.buffer(name);
    const parts = mergeIndex(index, shape);
    const values = parts.map((part) => this.value(part.index));
    const steps = parts.map((part) => strides[part.dimension]!);
    return accessOf(this.table, { memory, base }, !this.#guarded, values, steps, byteWidth(dtype));
  }

  /** A loop bound: a number, or a local that holds it. */
  bound(value: Value): number | Local {
    return value.kind === "constant" ? value.value : this.e.hold(value);
  }
}
