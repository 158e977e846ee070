/**
 * What the project promises of its speed. In: results. Out: each promise with what was measured and how it spread; the median decides
 * whether it is kept. All of them are ratios within the rounds of one run, or times of the compiler; a promise whose cases are missing
 * is said to be missing, not kept.
 */
import type { Case } from "../case.ts";
import { webPeers } from "../contestants/names.ts";
import type { Results } from "../measure/result.ts";
import type { Finding } from "./evidence.ts";
import { Evidence, milliseconds, scaling, shareOf, speedOver } from "./evidence.ts";
import { formatNumber } from "./table.ts";

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
type Unit = "×" | "%" | " ms";

/**
 * What shares of the multiply-add limit are of, and which of them are promised: promises are of registers of 128 bits, which are all that
 * WebAssembly has by itself; an engine that joins them in pairs raises the limit to nearly twice that.
 */
const multiplyAddLimits = [
  { limit: "ceiling", words: "of the multiply-add limit", isPromised: false },
  { limit: "ceiling-128", words: "of the limit in 128 bits", isPromised: true },
] as const;

const threadCounts = [
  [1, "one thread"],
  [2, "two threads"],
] as const;

/** A number as it is shown, without and with its unit. */
const digits = (value: number, unit: Unit): string =>
  unit === "%" ? formatNumber(Math.round(value * 100)) : formatNumber(value);
const withUnit = (value: number, unit: Unit): string =>
  `${digits(value, unit)}${unit === "%" ? " %" : unit}`;

function targetText(bound: Bound, unit: Unit): string {
  if (bound === "stated") return bound;
  return "atLeast" in bound
    ? `at least ${withUnit(bound.atLeast, unit)}`
    : `at most ${withUnit(bound.atMost, unit)}`;
}

/** `81 % (75–86), 768³`. */
function findingText({ spread, notes }: Finding, unit: Unit): string {
  const { median, low, high } = spread;
  const between = `(${digits(low, unit)}–${digits(high, unit)})`;
  return [`${withUnit(median, unit)} ${between}`, ...notes].join(", ");
}

function isKept(bound: Bound, value: number): boolean | undefined {
  if (bound === "stated") return undefined;
  return "atLeast" in bound ? value >= bound.atLeast : value <= bound.atMost;
}

/** Square f32 products from 512 up. */
function isSquare({ task }: Case): boolean {
  if (task.kind !== "product" || task.weights !== "f32" || task.copies > 1) return false;
  return task.m >= 512 && task.m === task.k && task.k === task.n;
}

/** Every promise, in the order in which it was made. */
export function judge(results: Results): Verdict[] {
  const evidence = new Evidence(results);
  const verdicts: Verdict[] = [];
  const add = (claim: string, bound: Bound, found: Finding | undefined, unit: Unit = "×"): void => {
    verdicts.push({
      claim,
      target: targetText(bound, unit),
      measured: found ? findingText(found, unit) : NOT_MEASURED,
      kept: found && isKept(bound, found.spread.median),
    });
  };

  const square = "f32 square products from 512 up";
  for (const { limit, words, isPromised } of multiplyAddLimits) {
    const share = evidence.worst(isSquare, shareOf(1, limit));
    add(`${square}, one thread, ${words}`, isPromised ? { atLeast: 0.75 } : "stated", share, "%");
  }
  const best = evidence.worst(isSquare, speedOver(webPeers, 1));
  add(`${square}, over the fastest of ${webPeers.join(", ")}`, { atLeast: 1.8 }, best);
  const sameOption = evidence.worst(isSquare, speedOver(["tfjs-256"], 1));
  add(`${square}, over tfjs with the engine's flag`, "stated", sameOption);
  const twoOverOne = evidence.worst(isSquare, scaling);
  add(`${square}, two threads over one`, { atLeast: 1.9 }, twoOverOne);

  for (const [threads, count] of threadCounts) {
    const vector = `matrix times vector from memory, ${count}`;
    const read = evidence.of("product-1x2048x2048-f32", shareOf(threads));
    add(`${vector}, f32, of read bandwidth`, { atLeast: 0.8 }, read, "%");
    for (const [weights, atLeast] of [
      ["bf16", 1.8],
      ["e4m3fn", 3],
      ["int8", 3],
      ["int4", 5],
    ] as const)
      add(`${vector}, ${weights} over f32`, { atLeast }, evidence.gainOf(weights, threads));
  }

  for (const [threads, count] of threadCounts) {
    const v3 = `training step of the V3 small shape, ${count}`;
    for (const { limit, words, isPromised } of multiplyAddLimits) {
      const ofLimit = evidence.of("train-v3", shareOf(threads, limit));
      add(`${v3}, ${words}`, isPromised ? { atLeast: 0.5 } : "stated", ofLimit, "%");
    }
    const asInstalled = evidence.of("train-v3", speedOver(["pytorch"], threads));
    add(`${v3}, over PyTorch as installed`, { atLeast: 1 }, asInstalled);
    const wide = evidence.of("train-v3", speedOver(["pytorch-avx512"], threads));
    add(`${v3}, over PyTorch with AVX-512`, { atLeast: 0.8 }, wide);
    const overJax = evidence.of("train-dense", speedOver(["jax-js"], threads));
    add(`training step of a dense model, ${count}, over jax-js`, { atLeast: 3 }, overJax);
  }

  for (const [threads, count] of threadCounts) {
    const name = `decoding a billion bytes of f32, ${count}, of read bandwidth`;
    add(name, { atLeast: 0.7 }, evidence.of("decode-f32", shareOf(threads)), "%");
  }
  for (const weights of ["f16", "int8", "int4"] as const)
    for (const [threads, count] of threadCounts) {
      const ratio = evidence.of(`decode-${weights}`, speedOver(["llama.cpp"], threads));
      add(`decoding in ${weights}, ${count}, over llama.cpp`, "stated", ratio);
    }

  const nodes = evidence.of("compile-nodes", milliseconds(1));
  add("a graph of 2,000 nodes, declared to instantiated", { atMost: 2000 }, nodes, " ms");
  const again = evidence.of("compile-nodes-again", milliseconds(1));
  add("the second start of the same plan", { atMost: 200 }, again, " ms");
  const layers = evidence.timeOver("compile-many-layers", "compile-few-layers", 1);
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
