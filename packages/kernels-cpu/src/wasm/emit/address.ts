/**
 * From an element's multi-index to its byte address. In: index values and the buffer's strides. Out: an `Access`: a scalar
 * address, four neighbours, four at a fixed distance, or four anywhere.
 */
import { addPolynomials, constantPolynomial, isUniform, lanesOf, sumOf } from "./polynomial.ts";
import { multiplyPolynomials, polynomialOf } from "./polynomial.ts";
import type { Polynomial, Term } from "./polynomial.ts";
import type { Access, Value, ValueTable } from "./values.ts";

const isNatural = (term: Term): boolean =>
  term.coefficient > 0 && term.atoms.every((atom) => atom.natural);

/** A number, also one that is a distance from the first of several places. */
const isNumber = (term: Term): boolean => term.atoms.length === 0;

/**
 * The terms of an address that an access may have as its offset. An offset is added without wrapping, so what it is added to must not be
 * below zero: it is not where it consists of such terms, nor where it is the address that the first of several places has.
 */
function immediates(uniform: readonly Term[], firstIsRead: boolean): readonly Term[] {
  const numbers = uniform.filter(isNumber);
  if (uniform.every(isNatural)) return numbers;
  const isFirst = uniform.every((term) => term.atoms.every((atom) => !atom.ahead));
  return firstIsRead && isFirst ? numbers.filter((term) => term.ahead && term.coefficient > 0) : [];
}

/**
 * Finds the elements at `index` of a row-major array at `base` of a memory, with the given strides, counted in elements.
 * `firstIsRead`: where this is one of several places side by side, the first of them accesses its element, too.
 */
export function accessOf(
  table: ValueTable,
  { memory, base }: { readonly memory: number; readonly base: Value },
  firstIsRead: boolean,
  index: readonly Value[],
  strides: readonly Value[],
  width: number,
): Access {
  let flat: Polynomial = [];
  index.forEach((value, i) => {
    const stride = multiplyPolynomials(polynomialOf(strides[i]!), constantPolynomial(width))!;
    const scaled = multiplyPolynomials(polynomialOf(value), stride);
    flat = addPolynomials(flat, scaled!);
  });
  const varying = flat.filter((term) => !isUniform(term));
  const moving = flat.filter((term) => isUniform(term) && term.iota);
  const uniform = flat.filter((term) => isUniform(term) && !term.iota);
  const start: Polynomial = [{ coefficient: 1, atoms: [base], iota: false, ahead: false }];
  const offsets = varying.length === 0 ? immediates(uniform, firstIsRead) : [];
  const variable = uniform.filter((term) => !offsets.includes(term));
  const address = sumOf(table, addPolynomials(start, variable));
  const offset = offsets.reduce((sum, { coefficient }) => sum + coefficient, 0);
  const natural = firstIsRead || uniform.every(isNatural);
  const place = { memory, address, offset, natural };
  if (varying.length > 0)
    return {
      mode: "gather",
      ...place,
      offsets: lanesOf(table, addPolynomials(varying, moving)),
    };
  if (moving.length === 0) return { mode: "scalar", ...place };
  const stride = sumOf(
    table,
    moving.map(({ coefficient, atoms, ahead }) => ({ coefficient, atoms, iota: false, ahead })),
  );
  if (stride.kind === "constant" && stride.value === width) return { mode: "contiguous", ...place };
  return { mode: "strided", ...place, stride };
}
