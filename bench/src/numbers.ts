/**
 * Numbers that every contestant makes for itself. In: a seed and a count. Out: the same values in [-1, 1) in every process
 * and language, so that no matrix has to travel between processes. Each value is a hash of its index, which
 * NumPy computes with the same bits (see `contestants/torch/values.py`).
 */

/** Mixes the bits of a word; the finisher of MurmurHash3 by Austin Appleby, in the public domain. */
export function mixBits(word: number): number {
  let h = word >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** `count` values in [-scale, scale). */
export function uniform(seed: number, count: number, scale = 1): Float32Array<ArrayBuffer> {
  const start = mixBits(seed + 0x9e3779b9);
  const values = new Float32Array(count);
  const unit = scale / 2 ** 23;
  for (let i = 0; i < count; i++) values[i] = ((mixBits(i ^ start) >>> 8) - 2 ** 23) * unit;
  return values;
}

/** `count` whole numbers in [0, below). */
export function integers(seed: number, count: number, below: number): Int32Array<ArrayBuffer> {
  const start = mixBits(seed + 0x9e3779b9);
  return Int32Array.from({ length: count }, (_, i) => (mixBits(i ^ start) >>> 8) % below);
}

/** A seed of a name. */
export function seedOf(name: string): number {
  let seed = 0;
  for (let i = 0; i < name.length; i++) seed = mixBits(seed ^ name.charCodeAt(i));
  return seed;
}

/** Elements that are compared between contestants. */
export const SAMPLES = 128;

/** Which elements of a result of `length` are compared: scattered, so that no row or column is left out. */
export function samplePositions(length: number): number[] {
  if (length <= SAMPLES) return Array.from({ length }, (_, i) => i);
  return Array.from({ length: SAMPLES }, (_, i) => mixBits(i + 1) % length);
}
