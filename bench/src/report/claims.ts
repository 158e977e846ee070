/**
 * What the project promises of its speed. In: results. Out: each promise with what was measured. All of them are ratios within one
 * run, or times of the compiler; a promise whose cases are missing is said to be missing, not kept.
 */
import { rateOf } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import { webPeers } from "../contestants/names.ts";
import type { CaseResult, Measurement, Results } from "../measure/result.ts";
import { findMeasurement, isMeasured } from "../measure/result.ts";
import { median } from "../measure/statistics.ts";
import { formatNumber, shareOfCeiling, speedRatio } from "./table.ts";

export interface Verdict {
  readonly claim: string;
  readonly target: string;
  readonly measured: string;
  readonly kept: boolean | undefined;
}

/** Stands where there is no number. */
export const NOT_MEASURED = "not measured";

/** At least, or at most, so much; `stated` has no bound. */
type Bound = { readonly atLeast: number } | { readonly atMost: number } | "stated";

class Evidence {
  readonly #cases: readonly CaseResult[];

  constructor(results: Results) {
    this.#cases = Object.values(results).flatMap((group) => group.cases);
  }

  find(id: string): CaseResult | undefined {
    return this.#cases.find((result) => result.case.id === id);
  }

  /** Square f32 products from 512 up. */
  squares(): CaseResult[] {
    return this.#cases.filter(({ case: { task } }) => {
      if (task.kind !== "product" || task.weights !== "f32" || task.copies > 1) return false;
      return task.m >= 512 && task.m === task.k && task.k === task.n;
    });
  }

  ours(result: CaseResult | undefined, threads: number): Measurement | undefined {
    const found = result && findMeasurement(result, "millrace", threads);
    return isMeasured(found) ? found : undefined;
  }

  /** Share of the limit. */
  share(result: CaseResult | undefined, threads: number): number | undefined {
    const ours = this.ours(result, threads);
    return ours && shareOfCeiling(result!, ours)?.median;
  }

  /** How many times faster we are than the fastest of `peers`. */
  over(
    result: CaseResult | undefined,
    peers: readonly ContestantName[],
    threads: number,
  ): number | undefined {
    const ours = this.ours(result, threads);
    if (!ours || !result) return undefined;
    const ratios = peers
      .map((name) => findMeasurement(result, name, threads))
      .filter(isMeasured)
      .map((theirs) => speedRatio(ours, theirs).median);
    return ratios.length > 0 ? Math.min(...ratios) : undefined;
  }

  /** How many times as much more threads do, of us or of the limit. */
  scaling(result: CaseResult, threads: number, of: "millrace" | "ceiling"): number | undefined {
    const one = findMeasurement(result, of, 1);
    const many = findMeasurement(result, of, threads);
    if (!isMeasured(one) || !isMeasured(many)) return undefined;
    // Each thread of a limit does the same work again.
    const { amount: alone = 1 } = one.facts;
    const { amount: together = 1 } = many.facts;
    return (speedRatio(many, one).median * together) / alone;
  }

  /** Elements a second of a narrow matrix times a vector over those of the f32 one, each against the limit of its own rounds. */
  narrowGain(weights: string, threads: number): number | undefined {
    const memory = this.#cases.filter(({ case: { group } }) => group === "memory");
    const pick = (format: string): CaseResult | undefined =>
      memory.find(({ case: { task } }) => task.kind === "product" && task.weights === format);
    const [narrow, wide] = [pick(weights), pick("f32")];
    const [a, b] = [this.share(narrow, threads), this.share(wide, threads)];
    if (a === undefined || b === undefined) return undefined;
    const bytes = ({ case: { amount, task } }: CaseResult): number =>
      amount / (task.kind === "product" ? task.copies * task.k * task.n : 1);
    return a / bytes(narrow!) / (b / bytes(wide!));
  }

  milliseconds(id: string): number | undefined {
    const result = this.find(id);
    const ours = this.ours(result, 1);
    return ours && rateOf("ms", 1, median(ours.seconds));
  }
}

/** The case in which `of` is smallest, unless it is unknown in one of them. */
function worstOf(
  cases: readonly CaseResult[],
  of: (result: CaseResult) => number | undefined,
): { readonly result: CaseResult; readonly value: number } | undefined {
  const known = cases.flatMap((result) => {
    const value = of(result);
    return value === undefined ? [] : [{ result, value }];
  });
  if (known.length < cases.length) return undefined;
  return known.toSorted((a, b) => a.value - b.value)[0];
}

const threadCounts = [
  [1, "one thread"],
  [2, "two threads"],
] as const;

/** Every promise, in the order in which it was made. */
export function judge(results: Results): Verdict[] {
  const evidence = new Evidence(results);
  const squares = evidence.squares();
  const verdicts: Verdict[] = [];
  const add = (
    claim: string,
    bound: Bound,
    value: number | undefined,
    unit = "×",
    beside = "",
  ): void => {
    const show = (amount: number): string =>
      unit === "%" ? `${Math.round(amount * 100)} %` : `${formatNumber(amount)}${unit}`;
    const isLimit = bound !== "stated";
    const target = !isLimit
      ? "stated"
      : "atLeast" in bound
        ? `at least ${show(bound.atLeast)}`
        : `at most ${show(bound.atMost)}`;
    const kept =
      value === undefined || !isLimit
        ? undefined
        : "atLeast" in bound
          ? value >= bound.atLeast
          : value <= bound.atMost;
    verdicts.push({
      claim,
      target,
      measured: value === undefined ? NOT_MEASURED : `${show(value)}${beside}`,
      kept,
    });
  };
  const worst = (of: (result: CaseResult) => number | undefined): number | undefined =>
    worstOf(squares, of)?.value;

  const square = "f32 square products from 512 up";
  const share = worst((result) => evidence.share(result, 1));
  add(`${square}, one thread, of the multiply-add limit`, { atLeast: 0.75 }, share, "%");
  const best = worst((result) => evidence.over(result, webPeers, 1));
  add(`${square}, over the fastest of ${webPeers.join(", ")}`, { atLeast: 1.8 }, best);
  const scaling = worstOf(squares, (result) => evidence.scaling(result, 2, "millrace"));
  // Where two threads of the machine itself do less than twice as much as one, so do ours.
  const limit = scaling && evidence.scaling(scaling.result, 2, "ceiling");
  const beside = limit === undefined ? "" : ` (the limit itself: ${formatNumber(limit)}×)`;
  add(`${square}, two threads over one`, { atLeast: 1.9 }, scaling?.value, "×", beside);

  const vector = evidence.find("product-1x2048x2048-f32");
  const vectorShare = evidence.share(vector, 1);
  add(
    "matrix times vector from memory, f32, of read bandwidth",
    { atLeast: 0.8 },
    vectorShare,
    "%",
  );
  for (const [weights, gain] of [
    ["bf16", 1.8],
    ["e4m3fn", 3],
    ["int8", 3],
    ["int4", 5],
  ] as const)
    add(`the same in ${weights}, over f32`, { atLeast: gain }, evidence.narrowGain(weights, 1));

  const v3 = evidence.find("train-v3");
  const dense = evidence.find("train-dense");
  const step = "training step of the V3 small shape";
  for (const [threads, count] of threadCounts) {
    const name = `${step}, ${count}`;
    const over = (peer: ContestantName): number | undefined => evidence.over(v3, [peer], threads);
    add(`${name}, of the multiply-add limit`, { atLeast: 0.5 }, evidence.share(v3, threads), "%");
    add(`${name}, over PyTorch as installed`, { atLeast: 1 }, over("pytorch"));
    add(`${name}, over PyTorch with AVX-512`, { atLeast: 0.8 }, over("pytorch-avx512"));
    const ratio = evidence.over(dense, ["jax-js"], threads);
    add(`training step of a dense model, ${count}, over jax-js`, { atLeast: 3 }, ratio);
  }

  const decode = evidence.find("decode-f32");
  for (const [threads, count] of threadCounts) {
    const name = `decoding a billion bytes of f32, ${count}, of read bandwidth`;
    add(name, { atLeast: 0.7 }, evidence.share(decode, threads), "%");
  }
  for (const weights of ["f16", "int8", "int4"] as const)
    for (const [threads, count] of threadCounts) {
      const ratio = evidence.over(evidence.find(`decode-${weights}`), ["llama.cpp"], threads);
      add(`decoding in ${weights}, ${count}, over llama.cpp`, "stated", ratio);
    }

  const milliseconds = (id: string): number | undefined => evidence.milliseconds(id);
  add(
    "a graph of 2,000 nodes, declared to instantiated",
    { atMost: 2000 },
    milliseconds("compile-nodes"),
    " ms",
  );
  add(
    "the second start of the same plan",
    { atMost: 200 },
    milliseconds("compile-nodes-again"),
    " ms",
  );
  const few = milliseconds("compile-few-layers");
  const many = milliseconds("compile-many-layers");
  const layers = few !== undefined && many !== undefined ? many / few : undefined;
  add("compiling 61 layers, over 12", { atMost: 5 }, layers);
  return verdicts;
}

const words = (kept: boolean | undefined): string =>
  kept === undefined ? "" : kept ? "yes" : "no";

/** The promises as a table. */
export function claimsTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(
    ({ claim, target, measured, kept }) =>
      `| ${claim} | ${target} | ${measured} | ${words(kept)} |`,
  );
  return ["| promise | target | measured | kept |", "| --- | --: | --: | --- |", ...rows].join(
    "\n",
  );
}
