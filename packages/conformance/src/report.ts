/**
 * Compares tensors and says how they differ. In: what came out and what should have. Out: nothing, or a ConformanceError
 * with the number of differing elements, the first of them by coordinate, and both of its values.
 */
import type { HostTensor } from "@millrace/graph";
import { MillraceError, loadElement } from "@millrace/graph";
import type { Tolerance } from "./tolerance.ts";
import { exact, withinTolerance } from "./tolerance.ts";

/** A law that an op, kernel or backend does not obey. */
export class ConformanceError extends MillraceError {
  readonly code = "conformance";
}

/** What differs between two tensors, as a sentence without a full stop; undefined if nothing does. */
export function mismatch(
  actual: HostTensor,
  expected: HostTensor,
  tolerance: Tolerance = exact,
): string | undefined {
  const typeText = ({ dtype, shape }: HostTensor): string => `${dtype}[${shape.join(", ")}]`;
  if (typeText(actual) !== typeText(expected) || actual.data.length !== expected.data.length)
    return `got ${typeText(actual)} of ${actual.data.length} elements, expected ${typeText(expected)}`;
  const { dtype } = expected;
  const differing: number[] = [];
  let worst = 0;
  for (let i = 0; i < expected.data.length; i++) {
    const a = loadElement(dtype, actual.data, i);
    const b = loadElement(dtype, expected.data, i);
    if (withinTolerance(dtype, a, b, tolerance)) continue;
    differing.push(i);
    worst = Math.max(worst, Math.abs(a - b));
  }
  const first = differing[0];
  if (first === undefined) return undefined;
  const value = (tensor: HostTensor): number => loadElement(dtype, tensor.data, first);
  return [
    `${differing.length} of ${expected.data.length} elements of ${typeText(expected)} differ`,
    `first at [${coordinate(first, expected.shape).join(", ")}]: got ${value(actual)}, expected ${value(expected)}`,
    `allowed ${tolerance.absolute} and ${tolerance.ulps} ulp, largest difference ${worst}`,
  ].join("; ");
}

/** Coordinates of row-major element `index`. */
export function coordinate(index: number, shape: readonly number[]): number[] {
  const at: number[] = [];
  let rest = index;
  for (const size of shape.toReversed()) {
    at.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return at;
}

type Named = Readonly<Record<string, HostTensor>>;

export interface Comparison {
  /** What is compared, such as `wasm, fused`. */
  readonly what: string;
  readonly where?: string;
  /** By tensor name; equality where none is given. */
  readonly tolerances?: Readonly<Record<string, Tolerance>>;
  readonly hint?: string;
}

/** Throws a ConformanceError unless both hold the same names with values that agree. */
export function expectSameValues(
  actual: Named,
  expected: Named,
  { what, where, tolerances = {}, hint }: Comparison,
): void {
  const names = new Set([...Object.keys(actual), ...Object.keys(expected)]);
  for (const name of names) {
    const [a, b] = [actual[name], expected[name]];
    const difference =
      a && b ? mismatch(a, b, tolerances[name]) : `is ${a ? "there and should not be" : "missing"}`;
    if (difference !== undefined)
      throw new ConformanceError({ what: `${what}: "${name}" ${difference}`, where, hint });
  }
}

/** Throws a ConformanceError unless both hold the same bits, which a second run must. */
export function expectSameBits(actual: Named, expected: Named, what: string, where: string): void {
  for (const [name, tensor] of Object.entries(expected)) {
    const bytes = bytesOf(tensor);
    const other = bytesOf(actual[name]!);
    const at = bytes.findIndex((byte, i) => byte !== other[i]);
    if (at >= 0 || bytes.length !== other.length)
      throw new ConformanceError({
        what: `${what}: "${name}" differs in byte ${at}`,
        where,
        hint: "The same program, inputs and states must give the same bits.",
      });
  }
}

const bytesOf = ({ data }: HostTensor): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
