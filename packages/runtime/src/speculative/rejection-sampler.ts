/**
 * Which drafts stay. In: drafted tokens with the distributions they were drawn from, and the model's distribution at each
 * of those positions and the next. Out: how many are accepted and the token after them. Every token has the model's
 * distribution exactly; at temperature 0, where all of it is on one token, that makes them the very tokens of plain
 * decoding. Source: "Fast inference from transformers via speculative decoding", arXiv 2211.17192.
 */
import { normalize } from "../sampling/logits-processors.ts";
import { drawToken } from "../sampling/sampler.ts";
import type { Uniform } from "../sampling/sampler.ts";

/** A drafted token and the distribution it was drawn from. */
export interface Draft {
  readonly token: number;
  readonly probabilities: Float64Array;
}

export interface Verdict {
  /** How many drafts stay, counted from the first. */
  readonly accepted: number;
  /** The token after them: drawn anew where a draft was rejected, one more where none was. */
  readonly token: number;
}

/** min(1, p/q): the chance that a token drawn from `drafted` may stay. */
export function acceptanceProbability(
  target: Float64Array,
  drafted: Float64Array,
  token: number,
): number {
  return Math.min(1, target[token]! / drafted[token]!);
}

/** What to draw from after a rejection: max(0, p - q), normalised. */
export function residual(target: Float64Array, drafted: Float64Array): Float64Array {
  const rest = target.map((p, token) => Math.max(0, p - drafted[token]!));
  // Equal distributions reject nothing; rounding may, and then any token of the target will do.
  return rest.some((weight) => weight > 0) ? normalize(rest) : target;
}

/**
 * Goes through the drafts in order. `targetAt(i)` is the model's distribution where draft i stands, and that after all drafts
 * for i one past the last; it is asked only as far as drafts are accepted. `position` is where the first draft stands.
 */
export async function verifyDrafts(
  drafts: readonly Draft[],
  targetAt: (index: number) => Promise<Float64Array>,
  position: number,
  uniform: Uniform,
): Promise<Verdict> {
  for (const [i, { token, probabilities }] of drafts.entries()) {
    const target = await targetAt(i);
    const chance = acceptanceProbability(target, probabilities, token);
    if (uniform(position + i, "accept") < chance) continue;
    const rest = residual(target, probabilities);
    return { accepted: i, token: drawToken(rest, uniform(position + i, "token")) };
  }
  const target = await targetAt(drafts.length);
  const next = uniform(position + drafts.length, "token");
  return { accepted: drafts.length, token: drawToken(target, next) };
}
