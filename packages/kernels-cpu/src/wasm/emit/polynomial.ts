/**
 * Sums of products of values: the form in which an address shows how it moves from lane to lane. In: integer values.
 * Out: terms `coefficient × atom × atom …`, equal terms merged. The lane number itself is the atom `iota`.
 */
import type { Value, ValueTable } from "./values.ts";

/** A product; `iota` says whether the lane number 0–3 is a factor. */
export interface Term {
  readonly coefficient: number;
  /** Sorted by id; a repeated atom is a power. */
  readonly atoms: readonly Value[];
  readonly iota: boolean;
  /** Has a distance from the first place as a factor: without such terms it is what the first place has. */
  readonly ahead: boolean;
}

export type Polynomial = readonly Term[];

const keyOf = ({ iota, ahead, atoms }: Term): string =>
  `${iota} ${ahead} ${atoms.map((atom) => atom.id).join(" ")}`;

const plain = (coefficient: number, ...atoms: readonly Value[]): Term => ({
  coefficient,
  atoms,
  iota: false,
  ahead: false,
});

function merge(terms: readonly Term[]): Polynomial {
  const merged = new Map<string, Term>();
  for (const term of terms) {
    const key = keyOf(term);
    const coefficient = (merged.get(key)?.coefficient ?? 0) + term.coefficient;
    merged.set(key, { ...term, coefficient });
  }
  return [...merged.values()].filter((term) => term.coefficient !== 0);
}

export function addPolynomials(a: Polynomial, b: Polynomial): Polynomial {
  return merge([...a, ...b]);
}

export function constantPolynomial(value: number): Polynomial {
  return value === 0 ? [] : [plain(value)];
}

/** The product, unless the lane number would appear twice in a term. */
export function multiplyPolynomials(a: Polynomial, b: Polynomial): Polynomial | undefined {
  const terms: Term[] = [];
  for (const x of a)
    for (const y of b) {
      if (x.iota && y.iota) return undefined;
      terms.push({
        coefficient: x.coefficient * y.coefficient,
        atoms: [...x.atoms, ...y.atoms].toSorted((p, q) => p.id - q.id),
        iota: x.iota || y.iota,
        ahead: x.ahead || y.ahead,
      });
    }
  return merge(terms);
}

/** Takes sums, differences and products of i32 values apart. */
export function polynomialOf(value: Value): Polynomial {
  const atom: Polynomial = [plain(1, value)];
  switch (value.kind) {
    case "constant":
      return constantPolynomial(value.value);
    case "distance":
      return [{ ...plain(value.value), ahead: true }];
    case "lanes":
      return addPolynomials(polynomialOf(value.base), [{ ...plain(1), iota: true }]);
    case "splat":
      return polynomialOf(value.of);
    case "apply": {
      if (value.type !== "i32") return atom;
      const [a, b] = value.args;
      if (value.op === "add") return addPolynomials(polynomialOf(a!), polynomialOf(b!));
      if (value.op === "sub" || value.op === "neg") {
        const minus = constantPolynomial(-1);
        const negative = multiplyPolynomials(polynomialOf(value.op === "neg" ? a! : b!), minus)!;
        return value.op === "neg" ? negative : addPolynomials(polynomialOf(a!), negative);
      }
      if (value.op === "mul")
        return multiplyPolynomials(polynomialOf(a!), polynomialOf(b!)) ?? atom;
      return atom;
    }
    default:
      return atom;
  }
}

/** A term's atoms are scalars. */
export const isUniform = (term: Term): boolean => term.atoms.every((atom) => !atom.vector);

const termDepth = (term: Term): number =>
  term.atoms.reduce((depth, atom) => Math.max(depth, atom.depth), 0);

/**
 * The value of a polynomial without lane numbers. Terms of outer loops are added first and factors of outer loops
 * multiplied first, so that each partial result can be computed outside the loops it does not depend on.
 */
export function sumOf(table: ValueTable, polynomial: Polynomial): Value {
  const terms = polynomial.toSorted((a, b) => termDepth(a) - termDepth(b));
  let sum: Value | undefined;
  for (const { coefficient, atoms, ahead } of terms) {
    let product = ahead ? table.distance(coefficient) : table.integer(coefficient);
    for (const atom of atoms.toSorted((a, b) => a.depth - b.depth))
      product = table.apply("mul", [product, atom]);
    sum = sum ? table.apply("add", [sum, product]) : product;
  }
  return sum ?? table.integer(0);
}

/** The value of any polynomial as four lanes. */
export function lanesOf(table: ValueTable, polynomial: Polynomial): Value {
  const iota = table.lanes(table.integer(0));
  let sum: Value | undefined;
  for (const term of polynomial) {
    let product = term.ahead ? table.distance(term.coefficient) : table.integer(term.coefficient);
    for (const atom of term.atoms) product = table.apply("mul", [product, atom]);
    if (term.iota) product = table.apply("mul", [product, iota]);
    sum = sum ? table.apply("add", [sum, product]) : product;
  }
  return table.splat(sum ?? table.integer(0));
}
