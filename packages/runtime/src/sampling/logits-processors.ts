/**
 * What stands between logits and a choice. In: the logits of one position and how to sample. Out: the probability of every
 * token, in f64, summing to one. Order: temperature, top-k, top-p, min-p, each over what the one before kept, as in
 * Hugging Face's generate. Speculative decoding compares two such distributions, so nothing else may touch them.
 */
import { AttributeError, CheckpointError } from "@millrace/graph";

/** How a token is chosen. */
export interface SamplingOptions {
  /** 0 (the default) takes the likeliest token; 1 samples as the model says. */
  readonly temperature?: number | undefined;
  /** Only the k likeliest tokens; ties at the edge go to the lower ids. */
  readonly topK?: number | undefined;
  /** Only the likeliest tokens that together hold this share. */
  readonly topP?: number | undefined;
  /** Only tokens at least this fraction as likely as the likeliest. */
  readonly minP?: number | undefined;
}

/** Rejects options outside their domain. */
export function checkSampling({ temperature, topK, topP, minP }: SamplingOptions): void {
  const check = (name: string, value: number | undefined, holds: boolean, domain: string): void => {
    if (value === undefined || holds) return;
    throw new AttributeError({
      what: `${name} is ${value}`,
      where: "sampling",
      hint: `Give ${domain}.`,
    });
  };
  const between = (value = Number.NaN, low: number, high: number): boolean =>
    value >= low && value <= high;
  check("temperature", temperature, between(temperature, 0, Number.MAX_VALUE), "a number from 0");
  check("topK", topK, Number.isSafeInteger(topK) && (topK ?? 0) >= 1, "a whole number from 1");
  check("topP", topP, between(topP, Number.MIN_VALUE, 1), "a number above 0 and at most 1");
  check("minP", minP, between(minP, 0, 1), "a number from 0 to 1");
}

/** The likeliest token; of equal ones the lowest id. NaN counts as least. */
export function likeliest(logits: ArrayLike<number>): number {
  let best = -1;
  for (let i = 0; i < logits.length; i++)
    if (logits[i]! > (best < 0 ? -Infinity : logits[best]!)) best = i;
  if (best < 0 || logits[best] === Infinity)
    throw new CheckpointError({
      what: "the model's logits are not finite",
      where: "sampling",
      hint: "Check that config.json belongs to the weights, and the weights for NaN or infinity.",
    });
  return best;
}

/** The distribution a token is drawn from. At temperature 0 all of it is on the likeliest token. */
export function distribution(logits: ArrayLike<number>, options: SamplingOptions): Float64Array {
  const { temperature = 0, topK, topP = 1, minP = 0 } = options;
  const best = likeliest(logits);
  const probabilities = new Float64Array(logits.length);
  if (temperature === 0) {
    probabilities[best] = 1;
    return probabilities;
  }
  const kept = topK === undefined || topK >= logits.length ? () => true : topKeeper(logits, topK);
  const largest = logits[best]!;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i]!;
    // The difference first: it is at most 0, so a tiny temperature gives exp(-Infinity), not NaN.
    if (logit > -Infinity && kept(i)) probabilities[i] = Math.exp((logit - largest) / temperature);
  }
  if (topP < 1) keepTopP(probabilities, logits, topP);
  if (minP > 0) {
    const least = minP * probabilities[best]!;
    for (let i = 0; i < probabilities.length; i++)
      if (probabilities[i]! < least) probabilities[i] = 0;
  }
  return normalize(probabilities);
}

/** Divides by the sum, in place. */
export function normalize(weights: Float64Array): Float64Array {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  for (let i = 0; i < weights.length; i++) weights[i] = weights[i]! / total;
  return weights;
}

/** The `k` largest values, ascending; NaN counts as least, and so does what is missing where there are fewer. */
function topValues(values: ArrayLike<number>, k: number): Float64Array {
  // Only what is above the k-th largest so far can move it, so few of many values are ever sorted.
  const held = new Float64Array(2 * k).fill(-Infinity);
  let count = 0;
  let edge = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(value > edge)) continue;
    held[count++] = value;
    if (count < held.length) continue;
    held.sort().copyWithin(0, k);
    count = k;
    edge = held[0]!;
  }
  return held.fill(-Infinity, count).sort().subarray(k);
}

/** Says of each index, asked in ascending order and once, whether it is among the k largest. */
function topKeeper(logits: ArrayLike<number>, k: number): (index: number) => boolean {
  const edge = topValues(logits, k)[0]!;
  let ties = k;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > edge) ties--;
  return (index) => {
    const logit = logits[index]!;
    if (logit === edge) return ties-- > 0;
    return logit > edge;
  };
}

/** How many of the likeliest tokens are looked at first; each time that they are too few, so many times as many. */
const FRONT = 1024;
const GROWTH = 16;

/** How many of the largest weights together hold `share`. */
function countHolding(weights: Float64Array, share: number): number {
  for (let size = FRONT; ; size *= GROWTH) {
    const front = topValues(weights, Math.min(size, weights.length));
    let held = 0;
    let count = 0;
    while (count < front.length && held < share) held += front[front.length - ++count]!;
    if (held >= share || front.length === weights.length) return count;
  }
}

/** Zeroes all but the shortest run of likeliest tokens that holds `share`, in place. */
function keepTopP(weights: Float64Array, logits: ArrayLike<number>, share: number): void {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // By logits, which differ even where temperature has made the weights equal.
  const candidates = weights.map((weight, i) => (weight > 0 ? logits[i]! : -Infinity));
  const kept = topKeeper(candidates, countHolding(weights, share * total));
  for (let i = 0; i < weights.length; i++) if (!kept(i)) weights[i] = 0;
}
