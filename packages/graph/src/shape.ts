/**
 * Sizes and shapes. In: numbers and named sizes with bounds. Out: polynomials in those sizes, in one canonical
 * form, so that equal sizes print alike. A size is at least its symbol's `min` and at most its `max`; memory is
 * planned for the maximum. Knows nothing of dtypes or tensors.
 */
import type { DType } from "./dtype.ts";
import { InputError, ShapeError } from "./errors.ts";

/** A size that is fixed only when a program runs, such as `T` tokens of this call. */
export interface SizeSymbol {
  readonly name: string;
  readonly min: number;
  readonly max: number;
}

/** `coefficient` times the product of `symbols` (sorted by name; a repeated symbol is a power). */
interface Term {
  readonly coefficient: number;
  readonly symbols: readonly SizeSymbol[];
}

/** A polynomial with at least one symbol in it; constants are plain numbers. */
export interface SymbolicDim {
  readonly terms: readonly Term[];
}

export type Dim = number | SymbolicDim;
export type Shape = readonly Dim[];

/** What is known of a tensor before running: element type and shape, row-major. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** Declares a named size with inclusive bounds. */
export function size(name: string, min: number, max: number): SymbolicDim {
  if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name) || !(min >= 0 && min <= max))
    throw new ShapeError({
      what: `size "${name}" with bounds ${min} to ${max} is not valid`,
      hint: "Name it with letters and digits, and give 0 <= min <= max.",
    });
  return { terms: [{ coefficient: 1, symbols: [{ name, min, max }] }] };
}

const termsOf = (dim: Dim): readonly Term[] =>
  typeof dim === "number" ? (dim === 0 ? [] : [{ coefficient: dim, symbols: [] }]) : dim.terms;

const termKey = (term: Term): string => term.symbols.map((s) => s.name).join("*");

function canonical(terms: readonly Term[]): Dim {
  const merged = new Map<string, Term>();
  for (const term of terms) {
    const key = termKey(term);
    const coefficient = (merged.get(key)?.coefficient ?? 0) + term.coefficient;
    merged.set(key, { coefficient, symbols: term.symbols });
  }
  const kept = [...merged.entries()]
    .filter(([, term]) => term.coefficient !== 0)
    .toSorted(
      ([a, left], [b, right]) =>
        right.symbols.length - left.symbols.length || (a < b ? -1 : a > b ? 1 : 0),
    )
    .map(([, term]) => term);
  if (kept.length === 0) return 0;
  if (kept.length === 1 && kept[0]!.symbols.length === 0) return kept[0]!.coefficient;
  return { terms: kept };
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  return canonical([...termsOf(a), ...termsOf(b)]);
}

export function multiplyDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b;
  const byName = (x: SizeSymbol, y: SizeSymbol): number => (x.name < y.name ? -1 : 1);
  return canonical(
    termsOf(a).flatMap((x) =>
      termsOf(b).map((y) => ({
        coefficient: x.coefficient * y.coefficient,
        symbols: [...x.symbols, ...y.symbols].toSorted(byName),
      })),
    ),
  );
}

export function subtractDims(a: Dim, b: Dim): Dim {
  return addDims(a, multiplyDims(b, -1));
}

/** `a / b` when it is exact for every value of the symbols (b a number or a single term), else undefined. */
export function divideDims(a: Dim, b: Dim): Dim | undefined {
  const divisor = termsOf(b);
  if (divisor.length !== 1) return dimsEqual(a, b) && divisor.length > 0 ? 1 : undefined;
  const { coefficient, symbols } = divisor[0]!;
  const quotients: Term[] = [];
  for (const term of termsOf(a)) {
    const rest = [...term.symbols];
    for (const symbol of symbols) {
      const at = rest.findIndex((s) => s.name === symbol.name);
      if (at < 0) return undefined;
      rest.splice(at, 1);
    }
    if (term.coefficient % coefficient !== 0) return undefined;
    quotients.push({ coefficient: term.coefficient / coefficient, symbols: rest });
  }
  return canonical(quotients);
}

export function dimsEqual(a: Dim, b: Dim): boolean {
  return a === b || formatDim(a) === formatDim(b);
}

export function shapesEqual(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dimsEqual(dim, b[i]!));
}

/** Number of elements. */
export function shapeSize(shape: Shape): Dim {
  return shape.reduce<Dim>((product, dim) => multiplyDims(product, dim), 1);
}

/** Largest value within the symbols' bounds. */
export function maxDim(dim: Dim): number {
  if (typeof dim === "number") return dim;
  return dim.terms.reduce(
    (sum, { coefficient, symbols }) =>
      sum +
      symbols.reduce((product, s) => product * (coefficient > 0 ? s.max : s.min), coefficient),
    0,
  );
}

/** Smallest value within the symbols' bounds. */
export function minDim(dim: Dim): number {
  return typeof dim === "number" ? dim : -maxDim(multiplyDims(dim, -1));
}

/** Value for given sizes. */
export function evaluateDim(dim: Dim, sizes: ReadonlyMap<string, number>): number {
  if (typeof dim === "number") return dim;
  let sum = 0;
  for (const { coefficient, symbols } of dim.terms) {
    let product = coefficient;
    for (const symbol of symbols) {
      const value = sizes.get(symbol.name);
      if (value === undefined)
        throw new InputError({
          what: `size "${symbol.name}" has no value`,
          where: `dimension ${formatDim(dim)}`,
          hint: `Pass it, for example run(inputs, { ${symbol.name}: 16 }).`,
        });
      product *= value;
    }
    sum += product;
  }
  return sum;
}

/** The symbols in a dimension, in order of first appearance. */
export function symbolsOf(dim: Dim): SizeSymbol[] {
  const seen = new Map<string, SizeSymbol>();
  for (const term of termsOf(dim)) for (const s of term.symbols) seen.set(s.name, s);
  return [...seen.values()];
}

/** Canonical text, such as `2*T*K+T+1`. */
export function formatDim(dim: Dim): string {
  if (typeof dim === "number") return String(dim);
  return dim.terms
    .map(({ coefficient, symbols }, i) => {
      const names = symbols.map((s) => s.name);
      const magnitude = Math.abs(coefficient);
      const factors = magnitude === 1 && names.length > 0 ? names : [magnitude, ...names];
      const sign = coefficient < 0 ? "-" : i > 0 ? "+" : "";
      return sign + factors.join("*");
    })
    .join("");
}

/** Reads what `formatDim` wrote; `symbols` gives the bounds of each name. */
export function parseDim(text: string, symbols: ReadonlyMap<string, SizeSymbol>): Dim {
  const invalid = (): never => {
    throw new ShapeError({
      what: `"${text}" is not a dimension`,
      hint: "Write a sum of products of integers and declared sizes, such as 2*T+1.",
    });
  };
  if (!/^-?[A-Za-z0-9_*]+([+-][A-Za-z0-9_*]+)*$/.test(text)) invalid();
  let sum: Dim = 0;
  for (const [, sign, product] of text.matchAll(/([+-]?)([^+-]+)/g)) {
    let value: Dim = sign === "-" ? -1 : 1;
    for (const factor of product!.split("*")) {
      const symbol = symbols.get(factor);
      if (/^\d+$/.test(factor)) value = multiplyDims(value, Number(factor));
      else if (symbol)
        value = multiplyDims(value, { terms: [{ coefficient: 1, symbols: [symbol] }] });
      else invalid();
    }
    sum = addDims(sum, value);
  }
  return sum;
}

/** `[B, 64]`. */
export function formatShape(shape: Shape): string {
  return `[${shape.map(formatDim).join(", ")}]`;
}

/** `f32[B, 64]`. */
export function formatType(type: TensorType): string {
  return `${type.dtype}${formatShape(type.shape)}`;
}
