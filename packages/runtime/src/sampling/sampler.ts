/**
 * Draws tokens. In: a distribution and a number from 0 to below 1. Out: a token. The numbers are a hash of the seed, the
 * token's position and what the draw is for, so a run is a function of its seed alone: there is no generator state, and
 * drafts that were thrown away change nothing later.
 */
import { AttributeError, threefry2x32 } from "@millrace/graph";

/** What a draw is for; each purpose has its own numbers. */
export type Purpose = "token" | "draft" | "accept";

const streams: Record<Purpose, number> = { token: 0, draft: 1, accept: 2 };

/** A number from 0 to below 1 for a position and a purpose. */
export type Uniform = (position: number, purpose: Purpose) => number;

/** Draws of a seed. */
export function seededUniform(seed: number): Uniform {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new AttributeError({
      what: `the seed is ${seed}`,
      where: "sampling",
      hint: "Give a whole number from 0.",
    });
  const key0 = seed >>> 0;
  const key1 = Math.floor(seed / 2 ** 32) >>> 0;
  return (position, purpose) => {
    const [high, low] = threefry2x32(key0, key1, position, streams[purpose]);
    // 53 bits, as many as a double from 0 to 1 has.
    return ((high >>> 5) * 2 ** 26 + (low >>> 6)) * 2 ** -53;
  };
}

/** The token at `uniform` of the way through the distribution; never one of probability 0. */
export function drawToken(probabilities: Float64Array, uniform: number): number {
  const total = probabilities.reduce((sum, probability) => sum + probability, 0);
  const target = uniform * total;
  let sum = 0;
  let last = -1;
  for (let token = 0; token < probabilities.length; token++) {
    const probability = probabilities[token]!;
    if (!(probability > 0)) continue;
    sum += probability;
    last = token;
    if (sum > target) return token;
  }
  // Rounding may lift the target to the whole sum.
  return last;
}
