/**
 * Drafts tokens with the first MTP module. In: the hidden states that the main model gave for the newest tokens, each with
 * the token after it. Out: drafts for the positions that follow. The module's own cache is corrected on the way: rows that
 * earlier drafts wrote are written again from true hidden states.
 *
 * The first draft takes the main model's hidden state, as in training. Later ones take the module's own, after its
 * `shared_head.norm` (before it, where the configuration hands over residual streams): that is the vector which the shared
 * head reads to predict the same token that it would read the main model's from, so it stands in for it. The vector before
 * the norm has another scale than anything the module was trained on.
 */
import type { ModelRunner } from "../model-runner.ts";
import { rowOf } from "../model-runner.ts";
import { distribution } from "../sampling/logits-processors.ts";
import type { SamplingOptions } from "../sampling/logits-processors.ts";
import { drawToken } from "../sampling/sampler.ts";
import type { Uniform } from "../sampling/sampler.ts";
import type { Draft } from "./rejection-sampler.ts";

/** Positions from `start` on that the main model has seen and the module has not. */
export interface News {
  readonly start: number;
  /** Hidden states of the positions, flat. */
  readonly hidden: Float32Array;
  /** The token after each of them. */
  readonly nextIds: readonly number[];
}

/** Brings the module's cache up to date and drafts `count` tokens, at least one. */
export async function proposeDrafts(
  runner: ModelRunner,
  news: News,
  count: number,
  sampling: SamplingOptions,
  uniform: Uniform,
): Promise<Draft[]> {
  const { start, nextIds } = news;
  let pass = await runner.draft(news.hidden, nextIds, start);
  let last = start + nextIds.length - 1;
  const drafts: Draft[] = [];
  for (;;) {
    const row = pass.count - 1;
    const probabilities = distribution(rowOf(pass.logits, row, runner.vocabSize), sampling);
    // Position `last` and the token after it predict the one after that.
    const token = drawToken(probabilities, uniform(last + 2, "draft"));
    drafts.push({ token, probabilities });
    if (drafts.length === count) return drafts;
    last++;
    pass = await runner.draft(rowOf(pass.hidden, row, runner.hiddenSize), [token], last);
  }
}
