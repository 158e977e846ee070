/**
 * Values of a random graph with what is known of their accuracy. In: how an op is built and how it passes errors on. Out: a
 * tensor, a bound of its elements' magnitude and a bound of how far two correct backends may differ in it.
 *
 * IEEE arithmetic, rounding, comparison, movement and integers are the same everywhere, so most values have error 0; those are
 * compared for equality, and only they may reach ops that jump (floor, compare, sort, convert to integer).
 */
import type { Dim, DType, FloatDType, Tensor } from "@millrace/graph";
import { isFloat, largestFinite, maxDim, shapeSize } from "@millrace/graph";
import { transcendentalUlps } from "../tolerance.ts";
import { seededTensor } from "./tensor.ts";

export interface Tracked {
  readonly tensor: Tensor;
  /** No element is larger than this, NaN aside; infinite if nothing is known. */
  readonly magnitude: number;
  /** Two correct results differ by at most this. */
  readonly error: number;
}

/** Most elements of a value in a random graph, so that the oracles are quick. */
export const largestValue = 4096;

/** Half a unit in the last place of 1, and the smallest positive value. */
const precision: Record<FloatDType, readonly [roundoff: number, smallest: number]> = {
  f32: [2 ** -24, 2 ** -149],
  f16: [2 ** -11, 2 ** -24],
  bf16: [2 ** -8, 2 ** -133],
  e4m3fn: [2 ** -4, 2 ** -9],
  e5m2: [2 ** -3, 2 ** -16],
};

/** Relative error of one f32 rounding. */
export const roundoff: number = precision.f32[0];
/** Relative error of a transcendental function. */
export const functionError: number = 2 * transcendentalUlps * roundoff;

export const elementsOf = (tensor: Tensor): number => maxDim(shapeSize(tensor.shape));

/**
 * The value, unless it is of no use: too large, or so inexact that a comparison would say nothing. Where there is an error,
 * rounding to the dtype may go to either neighbour.
 */
export function tracked(tensor: Tensor, magnitude: number, error = 0): Tracked | undefined {
  const { dtype } = tensor;
  if (elementsOf(tensor) > largestValue) return undefined;
  if (error === 0) {
    // Beyond the largest value there may be infinities, and NaN out of two of them.
    const finite = !isFloat(dtype) || magnitude <= largestFinite[dtype];
    return { tensor, magnitude: finite ? magnitude : Infinity, error };
  }
  if (!isFloat(dtype)) return undefined;
  const [half, smallest] = precision[dtype];
  const total = error + 2 * half * magnitude + smallest;
  const useful = magnitude <= largestFinite[dtype] / 4 && total <= 0.1 * Math.max(1, magnitude);
  return useful ? { tensor, magnitude, error: total } : undefined;
}

/** The sum of `count` values of one magnitude and error, accumulated in f32 in any order; exact for integers. */
export function trackedSum(
  tensor: Tensor,
  count: number,
  magnitude: number,
  error: number,
): Tracked | undefined {
  if (!isFloat(tensor.dtype)) return tracked(tensor, Infinity);
  const total = count * magnitude;
  return tracked(tensor, total, count * error + (count + 1) * roundoff * total + 2 ** -149);
}

/** Whether an op that jumps may take it. */
export const isExact = ({ error }: Tracked): boolean => error === 0;

/** Whether its elements are known to be at most `limit`. */
export const isBounded =
  (limit: number) =>
  ({ magnitude }: Tracked): boolean =>
    magnitude <= limit;

export const hasDType =
  (...dtypes: readonly DType[]) =>
  ({ tensor }: Tracked): boolean =>
    dtypes.includes(tensor.dtype);

export const isFloatValue = ({ tensor }: Tracked): boolean => isFloat(tensor.dtype);

/** Where an op's choices come from: a list of numbers, which shrinks well; zeros when it is used up. */
export class Draw {
  readonly pool: readonly Tracked[];
  readonly dtypes: readonly DType[];
  readonly #numbers: readonly number[];
  #at = 0;

  constructor(pool: readonly Tracked[], dtypes: readonly DType[], numbers: readonly number[]) {
    this.pool = pool;
    this.dtypes = dtypes;
    this.#numbers = numbers;
  }

  /** A number from 0 to below `count`. */
  below(count: number): number {
    return (this.#numbers[this.#at++] ?? 0) % count;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }

  /** A value that has all of these properties, if there is one; later ones more often. */
  value(...properties: readonly ((value: Tracked) => boolean)[]): Tracked | undefined {
    const fitting = this.pool.filter((value) => properties.every((has) => has(value)));
    if (fitting.length === 0) return undefined;
    const recent = fitting.slice(-4);
    return this.below(4) > 0 ? this.of(recent) : this.of(fitting);
  }
}

/** Makes a value out of others, or finds that it cannot. */
export type Recipe = (draw: Draw) => Tracked | undefined | readonly (Tracked | undefined)[];

export const hasRank =
  (least: number, most = 8) =>
  ({ tensor }: Tracked): boolean =>
    tensor.shape.length >= least && tensor.shape.length <= most;

export const isSmall = (elements: Dim): boolean => maxDim(elements) <= largestValue;

/** The same elements elsewhere. */
export function moved(x: Tracked, tensor: Tensor, filler = 0): Tracked | undefined {
  return tracked(tensor, Math.max(x.magnitude, filler), x.error);
}

/** A constant of small values. */
export function constant(
  draw: Draw,
  like: Tensor,
  shape: readonly number[],
  seed: number,
): Tracked {
  const dtype = isFloat(like.dtype) ? like.dtype : "f32";
  return {
    tensor: like.builder.constant(seededTensor(dtype, shape, seed + draw.below(8))),
    magnitude: 2,
    error: 0,
  };
}

/** A product of `x` and `y` summed over `depth` elements. */
export function contracted(
  tensor: Tensor,
  depth: number,
  x: Tracked,
  y: Tracked,
): Tracked | undefined {
  const error = x.error * (y.magnitude + y.error) + y.error * x.magnitude;
  return trackedSum(tensor, depth, x.magnitude * y.magnitude, error);
}
