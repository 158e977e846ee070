/**
 * Integer algebra of indices. In: expressions over axes and sizes, as index maps compose them. Out: shorter equal ones:
 * sums of products in one order, divisions and remainders resolved where the ranges of the axes allow, comparisons decided.
 * Exact for every value of the sizes within their bounds. Knows nothing of buffers.
 */
import type { Expr, ScalarOp } from "../expression.ts";
import { apply, integer, literal, sizeOf } from "../expression.ts";
import type { Dim } from "../shape.ts";
import {
  addDims,
  divideDims,
  formatDim,
  maxDim,
  minDim,
  multiplyDims,
  subtractDims,
} from "../shape.ts";

/** A sum of `coefficient * atom` and a constant. Atoms are axes, loads, locals, and what could not be resolved. */
interface Linear {
  readonly terms: ReadonlyMap<string, { readonly atom: Expr; readonly coefficient: Dim }>;
  readonly constant: Dim;
}

/** Canonical text of an expression: equal text, equal value. */
export function exprKey(expr: Expr): string {
  switch (expr.kind) {
    case "literal":
      return `${expr.value}${expr.type}`;
    case "axis":
    case "local":
      return expr.name;
    case "size":
      return `<${formatDim(expr.dim)}>`;
    case "load":
      return `${expr.buffer}[${expr.index.map(exprKey).join(",")}]`;
    case "apply":
      return `${expr.op}:${expr.type}(${expr.args.map(exprKey).join(",")})`;
    case "round":
      return `${expr.dtype}(${exprKey(expr.value)})`;
  }
}

const constantOf = (constant: Dim): Linear => ({ terms: new Map(), constant });

function scale(x: Linear, by: Dim): Linear {
  if (by === 0) return constantOf(0);
  const terms = new Map(
    [...x.terms].map(([key, { atom, coefficient }]) => [
      key,
      { atom, coefficient: multiplyDims(coefficient, by) },
    ]),
  );
  return { terms, constant: multiplyDims(x.constant, by) };
}

function sum(x: Linear, y: Linear): Linear {
  const terms = new Map(x.terms);
  for (const [key, term] of y.terms) {
    const coefficient = addDims(terms.get(key)?.coefficient ?? 0, term.coefficient);
    if (coefficient === 0) terms.delete(key);
    else terms.set(key, { atom: term.atom, coefficient });
  }
  return { terms, constant: addDims(x.constant, y.constant) };
}

/** Largest value as a dimension, when every term's sign and its atom's range are known. */
function upperBound({ terms, constant }: Linear): Dim | undefined {
  let bound = constant;
  for (const { atom, coefficient } of terms.values()) {
    if (maxDim(coefficient) <= 0 && isNatural(atom)) continue;
    const largest = minDim(coefficient) >= 0 ? largestOf(atom) : undefined;
    if (largest === undefined) return undefined;
    bound = addDims(bound, multiplyDims(coefficient, largest));
  }
  return bound;
}

function largestOf(atom: Expr): Dim | undefined {
  if (atom.kind === "axis") return subtractDims(atom.extent, 1);
  if (atom.kind === "apply" && atom.op === "rem" && isNatural(atom.args[0]!)) {
    const divisor = linearize(atom.args[1]!);
    return divisor.terms.size === 0 ? subtractDims(divisor.constant, 1) : undefined;
  }
  if (atom.kind === "apply" && atom.op === "div" && isNatural(atom.args[0]!)) {
    const numerator = upperBound(linearize(atom.args[0]!));
    const divisor = linearize(atom.args[1]!);
    if (numerator === undefined || divisor.terms.size > 0) return undefined;
    const quotient = divideDims(addDims(numerator, 1), divisor.constant);
    if (quotient !== undefined) return subtractDims(quotient, 1);
    const [n, d] = [maxDim(numerator), minDim(divisor.constant)];
    return d > 0 ? Math.floor(n / d) : undefined;
  }
  return undefined;
}

/** Never negative. */
function isNatural(expr: Expr): boolean {
  switch (expr.kind) {
    case "axis":
    case "size":
      return true;
    case "literal":
      return expr.value >= 0;
    case "apply":
      if (expr.op === "add" || expr.op === "mul" || expr.op === "div" || expr.op === "rem")
        return expr.args.every(isNatural);
      return false;
    default:
      return false;
  }
}

const isNaturalSum = ({ terms, constant }: Linear): boolean =>
  minDim(constant) >= 0 &&
  [...terms.values()].every(({ atom, coefficient }) => minDim(coefficient) >= 0 && isNatural(atom));

function linearize(expr: Expr): Linear {
  if (expr.kind === "literal") return constantOf(expr.value);
  if (expr.kind === "size") return constantOf(expr.dim);
  if (expr.kind === "apply") {
    const [x, y] = expr.args;
    switch (expr.op) {
      case "add":
        return sum(linearize(x!), linearize(y!));
      case "sub":
        return sum(linearize(x!), scale(linearize(y!), -1));
      case "neg":
        return scale(linearize(x!), -1);
      case "mul": {
        const [a, b] = [linearize(x!), linearize(y!)];
        if (a.terms.size === 0) return scale(b, a.constant);
        if (b.terms.size === 0) return scale(a, b.constant);
        return atomOf(apply("mul", rebuild(a), rebuild(b)));
      }
      case "div":
      case "rem":
        return divide(expr.op, linearize(x!), linearize(y!));
      default:
        return atomOf({ ...expr, args: expr.args.map(simplify) });
    }
  }
  return atomOf(expr.kind === "load" ? { ...expr, index: expr.index.map(simplify) } : expr);
}

function atomOf(atom: Expr): Linear {
  if (atom.kind === "literal" || atom.kind === "size") return linearize(atom);
  if (atom.kind === "axis" && atom.extent === 1) return constantOf(0);
  return { terms: new Map([[exprKey(atom), { atom, coefficient: 1 }]]), constant: 0 };
}

/** `x div d` or `x rem d`: what d divides leaves the remainder; the rest leaves the quotient if it is below d. */
function divide(op: "div" | "rem", x: Linear, d: Linear): Linear {
  const unresolved = (): Linear => {
    const [a, b] = [rebuild(x), rebuild(d)];
    const folded = foldIntegers(op, a, b);
    return folded === undefined
      ? {
          terms: new Map([
            [`${op}(${exprKey(a)},${exprKey(b)})`, { atom: apply(op, a, b), coefficient: 1 }],
          ]),
          constant: 0,
        }
      : constantOf(folded);
  };
  const divisor = d.constant;
  if (d.terms.size > 0 || minDim(divisor) <= 0 || !isNaturalSum(x)) return unresolved();
  if (divisor === 1) return op === "div" ? x : constantOf(0);
  let quotient = constantOf(0);
  let rest = constantOf(0);
  const place = (part: Linear, coefficient: Dim, one: Linear): void => {
    const divided = divideDims(coefficient, divisor);
    if (divided === undefined) rest = sum(rest, part);
    else quotient = sum(quotient, scale(one, divided));
  };
  for (const [key, { atom, coefficient }] of x.terms) {
    const one: Linear = { terms: new Map([[key, { atom, coefficient: 1 }]]), constant: 0 };
    place(scale(one, coefficient), coefficient, one);
  }
  place(constantOf(x.constant), x.constant, constantOf(1));
  const bound = upperBound(rest);
  const below = bound !== undefined && minDim(subtractDims(subtractDims(divisor, 1), bound)) >= 0;
  if (below) return op === "div" ? quotient : rest;
  if (op === "rem" && quotient.terms.size + (quotient.constant === 0 ? 0 : 1) > 0)
    return divide("rem", rest, d);
  return unresolved();
}

function foldIntegers(op: "div" | "rem", a: Expr, b: Expr): number | undefined {
  if (a.kind !== "literal" || b.kind !== "literal") return undefined;
  if (b.value === 0) return 0;
  return op === "div" ? Math.trunc(a.value / b.value) : a.value % b.value;
}

function rebuild({ terms, constant }: Linear): Expr {
  let result: Expr | undefined;
  for (const key of [...terms.keys()].toSorted()) {
    const { atom, coefficient } = terms.get(key)!;
    const term = coefficient === 1 ? atom : apply("mul", atom, sizeOf(coefficient));
    result = result ? apply("add", result, term) : term;
  }
  if (!result) return sizeOf(constant);
  if (constant === 0) return result;
  return typeof constant === "number" && constant < 0
    ? apply("sub", result, integer(-constant))
    : apply("add", result, sizeOf(constant));
}

const never: Partial<Record<ScalarOp, ScalarOp>> = { ge: "lt", gt: "le", eq: "ne" };

/** Decides a comparison of integers from the ranges of its axes. */
function decide(op: ScalarOp, x: Expr, y: Expr): boolean | undefined {
  const difference = sum(linearize(y), scale(linearize(x), -1)); // y - x
  const reverse = scale(difference, -1);
  const atLeast = (value: Linear, least: number): boolean => {
    const bound = upperBound(scale(value, -1));
    return bound !== undefined && maxDim(bound) <= -least;
  };
  switch (op) {
    case "lt":
      return atLeast(difference, 1) ? true : atLeast(reverse, 0) ? false : undefined;
    case "le":
      return atLeast(difference, 0) ? true : atLeast(reverse, 1) ? false : undefined;
    case "ge":
    case "gt": {
      const opposite = decide(never[op]!, x, y);
      return opposite === undefined ? undefined : !opposite;
    }
    case "eq":
      if (atLeast(difference, 1) || atLeast(reverse, 1)) return false;
      return difference.terms.size === 0 && difference.constant === 0 ? true : undefined;
    default:
      return undefined;
  }
}

/** An equal expression with its integer parts in shortest form. */
export function simplify(expr: Expr): Expr {
  switch (expr.kind) {
    case "load":
      return { ...expr, index: expr.index.map(simplify) };
    case "round":
      return { ...expr, value: simplify(expr.value) };
    case "apply": {
      const [x, y] = expr.args;
      if (expr.type === "i32" && /^(add|sub|neg|mul|div|rem)$/.test(expr.op))
        return rebuild(linearize(expr));
      if (expr.type === "bool" && x!.type === "i32" && y) {
        const decided = decide(expr.op, x!, y);
        if (decided !== undefined) return literal(decided ? 1 : 0, "bool");
      }
      const args = expr.args.map(simplify);
      if (expr.op === "select" && args[0]!.kind === "literal")
        return args[0]!.value ? args[1]! : args[2]!;
      return { ...expr, args };
    }
    default:
      return expr.kind === "axis" && expr.extent === 1 ? integer(0) : expr;
  }
}
