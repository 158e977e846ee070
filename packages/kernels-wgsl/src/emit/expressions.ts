/**
 * Expressions of the kernel language as WGSL. In: an expression and what its names stand for. Out: a text, and statements before it:
 * loads are named where they stand, so that a later store does not change them; a `select` whose branches load becomes
 * an `if`; integers are folded; equal index arithmetic is written once.
 *
 * Float arithmetic rounds after every operation in the kernel language. WGSL lets a compiler contract, reorder and assume that
 * there is no NaN. So the result of an addition or product reaches the next operation through `exact`, which hides it.
 */
import type { Dim, Expr, FloatDType, Kernel, ScalarType } from "@millrace/graph";
import { InternalError, visitExpr } from "@millrace/graph";
import type { WgslCapabilities } from "../capabilities.ts";
import type { Storage } from "./bindings.ts";
import { isPacked } from "./bindings.ts";
import type { Library } from "./library.ts";
import type { Names } from "./names.ts";
import { foldInteger, scalarOp } from "./scalar-ops.ts";
import type { SizeTable } from "./sizes.ts";
import type { Value } from "./values.ts";
import { integerValue, literalValue, named } from "./values.ts";
import type { Writer } from "./writer.ts";

/** Longest text that is repeated rather than named. */
const longest: Readonly<Record<ScalarType, number>> = { i32: 24, u32: 60, f32: 80, bool: 60 };

export interface ShaderParts {
  readonly kernel: Kernel;
  readonly capabilities: WgslCapabilities;
  /** By index of the kernel's buffer. */
  readonly storages: readonly Storage[];
  readonly names: Names;
  readonly library: Library;
  readonly sizes: SizeTable;
  /** Parts of the language that the shader has to enable. */
  readonly extensions: Set<Extension>;
}

export type Extension =
  | "subgroups"
  | "subgroup_size_control"
  | "f16"
  | "chromium_experimental_subgroup_matrix";

/** An array of the kernel, which its workgroup shares. */
export interface SharedArray {
  readonly name: string;
  readonly dtype: "f32";
  readonly shape: readonly number[];
}

/** What a name of the kernel stands for: a value, or a variable of the shader. */
export type Meaning =
  | { readonly kind: "value"; readonly value: Value }
  | { readonly kind: "variable"; readonly name: string; readonly type: ScalarType };

export class Expressions {
  readonly parts: ShaderParts;
  readonly writer: Writer;
  #scope: ReadonlyMap<string, Meaning> = new Map();
  #arrays: ReadonlyMap<string, SharedArray> = new Map();

  constructor(parts: ShaderParts, writer: Writer) {
    this.parts = parts;
    this.writer = writer;
  }

  /** Runs `body`; the names it binds are forgotten afterwards. */
  scoped(body: () => void): void {
    const [outer, arrays] = [this.#scope, this.#arrays];
    body();
    this.#scope = outer;
    this.#arrays = arrays;
  }

  bind(name: string, value: Value): void {
    this.#scope = new Map([...this.#scope, [name, { kind: "value", value }]]);
  }

  bindVariable(name: string, variable: string, type: ScalarType): void {
    this.#scope = new Map([...this.#scope, [name, { kind: "variable", name: variable, type }]]);
  }

  bindArray(name: string, array: SharedArray): void {
    this.#arrays = new Map([...this.#arrays, [name, array]]);
  }

  /** An array of the kernel in workgroup memory; undefined for a buffer. */
  array(name: string): SharedArray | undefined {
    return this.#arrays.get(name);
  }

  meaning(name: string): Meaning {
    const meaning = this.#scope.get(name);
    if (!meaning) throw this.#wrong(`"${name}" is used where it has no value`);
    return meaning;
  }

  #wrong(what: string): InternalError {
    return new InternalError({ what, where: `kernel ${this.parts.kernel.name}` });
  }

  /** Names a text here. */
  define(name: string, text: string): string {
    const fresh = this.parts.names.fresh(name);
    this.writer.line(`let ${fresh} = ${text};`);
    return fresh;
  }

  /** Names a value here, for good. */
  hold(value: Value, name = "v"): Value {
    if (value.atom && !value.changing && !value.loose) return value;
    const pure = !value.changing;
    const known = pure ? this.writer.known(value.text) : undefined;
    const { quotient, remainder, positive } = value;
    const facts = {
      ...(quotient && { quotient }),
      ...(remainder && { remainder }),
      ...(positive && { positive }),
    };
    if (known) return { ...named(known, value.type), ...facts };
    const fresh = this.parts.names.fresh(name);
    this.writer.line(`let ${fresh} = ${this.settled(value)};`);
    if (pure) this.writer.remember(value.text, fresh);
    return { ...named(fresh, value.type), ...facts };
  }

  /** Names an address or a condition if it is long. */
  #short(value: Value): Value {
    return value.atom || value.text.length <= longest[value.type] ? value : this.hold(value);
  }

  exact(text: string): string {
    return `${this.parts.library.use("exact")}(${text})`;
  }

  dim(dim: Dim): Value {
    if (typeof dim === "number") return integerValue(dim);
    // A size may be 0 only where nothing is computed.
    return { ...named(this.parts.sizes.text(dim), "i32"), positive: true };
  }

  /**
   * The length of an axis; `place` says whose. Where compiling takes longer than running, it is read at run time even if it
   * is known: kernels that differ in nothing else are then one shader, and no loop is unrolled.
   */
  extent(dim: Dim, place: string): Value {
    const { capabilities, sizes } = this.parts;
    if (typeof dim === "number" && dim > 1 && capabilities.rolled)
      return { ...named(sizes.hidden(dim, place), "i32"), positive: true };
    return this.dim(dim);
  }

  value(expr: Expr): Value {
    switch (expr.kind) {
      case "literal":
        return literalValue(
          expr.value,
          expr.type,
          (bits) => `${this.parts.library.use("from_bits")}(${bits})`,
        );
      case "size":
        return this.dim(expr.dim);
      case "axis":
      case "local": {
        const meaning = this.meaning(expr.name);
        if (meaning.kind === "value") return meaning.value;
        return { ...named(meaning.name, meaning.type), changing: true };
      }
      case "load": {
        const at = this.offset(expr.buffer, expr.index);
        const array = this.array(expr.buffer);
        const text = array ? `${array.name}[${at.text}]` : this.storage(expr.buffer).load(at.text);
        const fresh = this.parts.names.fresh("x");
        this.writer.line(`let ${fresh} = ${text};`);
        return named(fresh, expr.type);
      }
      case "round": {
        const value = this.value(expr.value);
        if (expr.dtype === "f32") return value;
        return this.#short(this.rounded(value, expr.dtype));
      }
      case "apply":
        if (expr.op === "select") return this.#select(expr);
        return this.#short(
          this.combine(
            expr.op,
            expr.args.map((arg) => this.value(arg)),
            expr.type,
          ),
        );
    }
  }

  /** The nearest value of a narrow format. */
  rounded(value: Value, dtype: FloatDType): Value {
    if (dtype === "f32") return value;
    return {
      text: `${this.parts.library.use(`round_${dtype}`)}(${value.text})`,
      type: "f32",
      atom: false,
      ...(value.changing && { changing: true }),
    };
  }

  /** Applies an operator to values. */
  combine(op: Parameters<typeof scalarOp>[0], given: readonly Value[], type: ScalarType): Value {
    const operand = given[0]!.type;
    if (operand === "i32") {
      const folded = this.#foldIndex(op, given);
      if (folded) return folded;
    }
    const write = scalarOp(op, operand);
    if (!write) throw this.#wrong(`operator ${op} is not defined on ${operand}`);
    // An expression of constants alone is computed by the WGSL compiler, which refuses overflow and infinities.
    const args = given.every(({ constant }) => constant !== undefined)
      ? given.map((value) => this.#runtime(value))
      : operand === "f32"
        ? this.#separate(op, given)
        : given;
    const text = write(
      args.map((arg) => arg.text),
      this.parts.library,
    );
    const loose =
      type === "f32" &&
      (op === "select" ? given.some((arg) => arg.loose) : arithmetic.has(op) && operand === "f32");
    return {
      text,
      type,
      atom: false,
      ...(given.some(({ changing }) => changing) && { changing: true }),
      ...(loose && { loose: true }),
    };
  }

  #runtime(value: Value): Value {
    const fresh = this.parts.names.fresh("c");
    this.writer.line(`let ${fresh} = ${value.text};`);
    const { constant: _, ...rest } = value;
    const name = { ...rest, text: fresh };
    return value.type === "f32" ? { ...name, text: this.exact(fresh) } : name;
  }

  /** Keeps a compiler from simplifying x - x, x * 0 and operations on results of operations. */
  #separate(op: string, args: readonly Value[]): readonly Value[] {
    const hidden = (value: Value): Value => ({
      ...value,
      text: this.exact(value.text),
      atom: false,
    });
    return args.map((value, i) => {
      const repeated = i > 0 && value.text === args[0]!.text && !symmetric.has(op);
      const zero = value.constant === 0 && (op === "mul" || op === "div");
      return (value.loose && !functions.has(op)) || repeated || zero ? hidden(value) : value;
    });
  }

  /** Index arithmetic on constants, and (x / d) * d + x % d. */
  #foldIndex(op: string, args: readonly Value[]): Value | undefined {
    const [x, y] = args;
    if (!y) return undefined;
    if (x!.constant !== undefined && y.constant !== undefined) {
      const folded = foldInteger(op as "add", x!.constant, y.constant);
      return folded === undefined ? undefined : literalValue(folded, "i32", String);
    }
    const changing = x!.changing || y.changing ? { changing: true } : {};
    const made = (text: string, more: Partial<Value> = {}): Value => ({
      text,
      type: "i32",
      atom: false,
      ...changing,
      ...more,
    });
    switch (op) {
      case "add":
        if (x!.constant === 0) return y;
        if (y.constant === 0) return x;
        if (y.constant !== undefined && y.constant < 0)
          return made(`(${x!.text} - ${-y.constant})`);
        return undefined;
      case "sub":
        return y.constant === 0 ? x : undefined;
      case "mul":
        if (x!.constant === 1) return y;
        if (y.constant === 1) return x;
        return x!.constant === 0 || y.constant === 0 ? integerValue(0) : undefined;
      case "div":
      case "rem": {
        const simple = (y.constant ?? 0) > 0 || y.positive;
        if (!simple) return y.constant === 0 ? integerValue(0) : undefined;
        if (y.constant === 1) return op === "div" ? x : integerValue(0);
        const held = this.#short(x!);
        const parts = [held.text, y.text] as const;
        return op === "div"
          ? made(`(${held.text} / ${y.text})`, { quotient: parts })
          : made(`(${held.text} % ${y.text})`, { remainder: parts });
      }
      default:
        return undefined;
    }
  }

  #select(expr: Expr & { kind: "apply" }): Value {
    const [when, x, y] = expr.args as [Expr, Expr, Expr];
    const condition = this.value(when);
    if (condition.constant !== undefined) return this.value(condition.constant === 0 ? y : x);
    if (!isCostly(x) && !isCostly(y))
      return this.combine(
        "select",
        [this.#short(condition), this.value(x), this.value(y)],
        expr.type,
      );
    const fresh = this.parts.names.fresh("s");
    this.writer.line(`var ${fresh}: ${expr.type};`);
    const assign = (branch: Expr) => (): void => {
      this.writer.line(`${fresh} = ${this.settled(this.value(branch))};`);
    };
    this.writer.branch(condition.text, assign(x), assign(y));
    return named(fresh, expr.type);
  }

  /** The text of a value that leaves the expression it was made in. */
  settled(value: Value): string {
    return value.loose ? this.exact(value.text) : value.text;
  }

  storage(buffer: string): Storage {
    return this.parts.storages[this.bufferIndex(buffer)]!;
  }

  bufferIndex(buffer: string): number {
    const index = this.parts.kernel.buffers.findIndex(({ name }) => name === buffer);
    if (index < 0) throw this.#wrong(`there is no buffer "${buffer}"`);
    return index;
  }

  /** Row-major position of an element, as a name or a short text. */
  offset(buffer: string, index: readonly Expr[]): Value {
    const array = this.array(buffer);
    const { shape, dtype } = array ?? this.parts.kernel.buffers[this.bufferIndex(buffer)]!;
    let at: Value = integerValue(0);
    index.forEach((expr, axis) => {
      const part = this.value(expr);
      const extent = axis === 0 ? integerValue(1) : this.extent(shape[axis]!, `${buffer} ${axis}`);
      const { quotient } = at;
      const { remainder } = part;
      if (
        quotient &&
        remainder &&
        quotient[0] === remainder[0] &&
        quotient[1] === remainder[1] &&
        extent.text === remainder[1]
      ) {
        at = named(remainder[0], "i32");
        return;
      }
      at = this.combine("add", [this.combine("mul", [at, extent], "i32"), part], "i32");
    });
    if (array) return this.#short(at);
    const { binding, vectors } = this.storage(buffer);
    const packed = isPacked(dtype, this.parts.capabilities);
    const plain = !packed && dtype !== "i64" && binding.parts === 1 && !vectors;
    return plain ? this.#short(at) : this.hold(at, "at");
  }
}

const arithmetic: ReadonlySet<string> = new Set(["add", "sub", "mul", "div", "neg"]);
/** Operators that nothing is known of when both operands are the same. */
const symmetric: ReadonlySet<string> = new Set(["add", "mul", "min", "max"]);
/** Operators whose operands may be merged with what made them: their results are compared with a tolerance. */
const functions: ReadonlySet<string> = new Set(["exp", "log", "sin", "cos", "tanh"]);

/** Worth a branch: a load may be out of range in the branch that is not taken, a function costs. */
function isCostly(expr: Expr): boolean {
  let costly = false;
  visitExpr(expr, (part) => {
    costly ||= part.kind === "load" || (part.kind === "apply" && functions.has(part.op));
  });
  return costly;
}
