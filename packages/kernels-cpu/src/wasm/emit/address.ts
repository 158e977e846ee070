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

/**
 * Finds the elements at `index` of a row-major array at `base` of a memory, with the given strides, counted in elements.
 */
export function accessOf(
  table: ValueTable,
  { memory, base }: { readonly memory: number; readonly base: Value },
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
  const start: Polynomial = [{ coefficient: 1, atoms: [base], iota: false }];
  const constant = uniform.find((term) => term.atoms.length === 0)?.coefficient ?? 0;
  // An immediate offset is added without wrapping, so what it is added to must not be below zero.
  const immediate = varying.length === 0 && constant >= 0 && uniform.every(isNatural);
  const variable = immediate ? uniform.filter((term) => term.atoms.length > 0) : uniform;
  const address = sumOf(table, addPolynomials(start, variable));
  const offset = immediate ? constant : 0;
  if (varying.length > 0)
    return {
      mode: "gather",
      memory,
      address,
      offset,
      offsets: lanesOf(table, addPolynomials(varying, moving)),
    };
  if (moving.length === 0) return { mode: "scalar", memory, address, offset };
  const stride = sumOf(
    table,
    moving.map(({ coefficient, atoms }) => ({ coefficient, atoms, iota: false })),
  );
  if (stride.kind === "constant" && stride.value === width)
    return { mode: "contiguous", memory, address, offset };
  return { mode: "strided", memory, address, offset, stride };
}
