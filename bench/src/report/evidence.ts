/**
 * What results say about a promise. In: results. Out: findings: a median with its spread, and which case it is of where there were
 * several; undefined where something was not measured. Two cases are compared round by round, so only if they are of one family.
 */
import type { Case } from "../case.ts";
import { rateOf } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import type { CaseResult, Measurement, Results } from "../measure/result.ts";
import { findMeasurement, isMeasured } from "../measure/result.ts";
import type { Spread } from "../measure/statistics.ts";
import { ratioOf, scaled, spreadOf } from "../measure/statistics.ts";
import type { LimitName } from "./table.ts";
import { formatRatio, shareOfCeiling, speedRatio } from "./table.ts";

export interface Finding {
  readonly spread: Spread;
  /** What to know of it: the case and the peer where there were several. */
  readonly notes: readonly string[];
}

type Question = (result: CaseResult) => Finding | undefined;

const find = (spread: Spread | undefined): Finding | undefined => spread && { spread, notes: [] };

/** The one with the smallest median. */
const lowest = (findings: readonly Finding[]): Finding | undefined =>
  findings.toSorted((a, b) => a.spread.median - b.spread.median)[0];

const measuredAs = (
  result: CaseResult | undefined,
  contestant: ContestantName,
  threads: number,
): Measurement | undefined => {
  const found = result && findMeasurement(result, contestant, threads);
  return isMeasured(found) ? found : undefined;
};

/** Share of the limit. */
export const shareOf =
  (threads: number, limit: LimitName = "ceiling"): Question =>
  (result) => {
    const ours = measuredAs(result, "millrace", threads);
    return find(ours && shareOfCeiling(result, ours, limit));
  };

/** How many times faster we are than the fastest of `peers`. */
export const speedOver =
  (peers: readonly ContestantName[], threads: number): Question =>
  (result) => {
    const ours = measuredAs(result, "millrace", threads);
    return lowest(
      peers.flatMap((name) => {
        const theirs = measuredAs(result, name, threads);
        if (!ours || !theirs) return [];
        return [{ spread: speedRatio(ours, theirs), notes: peers.length > 1 ? [name] : [] }];
      }),
    );
  };

/** How many times as much two threads do as one. */
function scalingIn(result: CaseResult, contestant: ContestantName): Spread | undefined {
  const one = measuredAs(result, contestant, 1);
  const two = measuredAs(result, contestant, 2);
  if (!one || !two) return undefined;
  // Each thread of a limit does the same work again.
  const { amount: alone = 1 } = one.facts;
  const { amount: together = 1 } = two.facts;
  return scaled(speedRatio(two, one), together / alone);
}

/** How many times as much two threads of ours do as one; where two of the machine itself do less than twice as much, so do ours. */
export const scaling: Question = (result) => {
  const ours = scalingIn(result, "millrace");
  const limit = scalingIn(result, "ceiling");
  return ours && { spread: ours, notes: limit ? [`the limit itself ${formatRatio(limit)}`] : [] };
};

/** Our time, in milliseconds. */
export const milliseconds =
  (threads: number): Question =>
  (result) => {
    const ours = measuredAs(result, "millrace", threads);
    return find(ours && spreadOf(ours.seconds.map((seconds) => rateOf("ms", 1, seconds))));
  };

export class Evidence {
  readonly #cases: readonly CaseResult[];

  constructor(results: Results) {
    this.#cases = Object.values(results).flatMap((group) => group.cases);
  }

  /** What is asked of the one case. */
  of(id: string, question: Question): Finding | undefined {
    const result = this.#cases.find((each) => each.case.id === id);
    return result && question(result);
  }

  /** The answer with the smallest median of all cases that `choose` takes, unless one of them has none. */
  worst(choose: (measured: Case) => boolean, question: Question): Finding | undefined {
    const answers = this.#cases
      .filter((result) => choose(result.case))
      .map((result) => ({ label: result.case.label, found: question(result) }));
    const known = answers.flatMap(({ label, found }) =>
      found ? [{ ...found, notes: [label, ...found.notes] }] : [],
    );
    return known.length === answers.length ? lowest(known) : undefined;
  }

  /** Our time of a run of case `a` over that of case `b`, round by round. */
  timeOver(a: string, b: string, threads: number): Finding | undefined {
    const [first, second] = [a, b].map((id) => this.#cases.find((each) => each.case.id === id));
    const ours = [first, second].map((result) => measuredAs(result, "millrace", threads));
    if (!ours[0] || !ours[1] || first!.case.family !== second!.case.family) return undefined;
    return find(ratioOf(ours[0].seconds, ours[1].seconds));
  }

  /** How many times more elements of a matrix a second in one format than in f32, where memory limits. */
  gainOf(weights: string, threads: number): Finding | undefined {
    const idOf = (format: string): string => `product-1x2048x2048-${format}`;
    const over = this.timeOver(idOf("f32"), idOf(weights), threads);
    const elements = (format: string): number => {
      const task = this.#cases.find((each) => each.case.id === idOf(format))?.case.task;
      return task?.kind === "product" ? task.copies * task.k * task.n : NaN;
    };
    return over && find(scaled(over.spread, elements(weights) / elements("f32")));
  }
}
