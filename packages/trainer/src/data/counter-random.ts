/**
 * Random numbers as functions of a counter. In: a seed and any number of counters. Out: 32 well-mixed bits, or
 * the image of an index under a permutation. There is no generator state, so a resumed run needs none either.
 * Mixing constants: the finaliser of MurmurHash3 (public domain); the permutation is a balanced Feistel network.
 */
import { AttributeError } from "@millrace/graph";

function finalize(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 32 bits that depend on the seed and on every counter. */
export function counterBits(seed: number, ...counters: readonly number[]): number {
  let h = 0x9e3779b9;
  for (const value of [seed, ...counters]) {
    // Two words per value, so that seeds and steps past 2^32 still count.
    h = finalize(h ^ (value >>> 0));
    h = finalize((h + 0x9e3779b9) ^ (Math.floor(value / 0x1_0000_0000) >>> 0));
  }
  return h;
}

/** Where `index` goes in the `key`-th permutation of 0 … size-1. */
export function permuteIndex(index: number, size: number, key: number): number {
  if (!Number.isSafeInteger(size) || size < 1 || size > 2 ** 48)
    throw new AttributeError({
      what: `permutation of ${size} elements`,
      where: "permuteIndex",
      hint: "Pass a size from 1 to 2^48.",
    });
  if (!Number.isSafeInteger(index) || index < 0 || index >= size)
    throw new AttributeError({
      what: `index ${index} outside a permutation of ${size} elements`,
      where: "permuteIndex",
    });
  // A Feistel network permutes 0 … 4^halfBits-1; walking its cycle until the value is below `size` permutes 0 … size-1.
  let halfBits = 1;
  while (4 ** halfBits < size) halfBits++;
  const half = 2 ** halfBits;
  let value = index;
  do {
    let left = Math.floor(value / half);
    let right = value % half;
    for (let round = 0; round < 4; round++) {
      const mixed = (left ^ (counterBits(key, round, right) % half)) >>> 0;
      left = right;
      right = mixed;
    }
    value = left * half + right;
  } while (value >= size);
  return value;
}
