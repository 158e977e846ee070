/**
 * Results as Markdown. In: one group's cases. Out: a table with a row for each case and number of threads: our rate, its share
 * of the machine's limit, and each peer's rate with how many times faster we are. Why a peer is missing stands below.
 */
import { rateOf } from "../case.ts";
import type { Case, Unit } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import { contestantNames, isLimit } from "../contestants/names.ts";
import type { CaseResult, GroupResult, Measurement } from "../measure/result.ts";
import { findMeasurement, isMeasured } from "../measure/result.ts";
import type { Spread } from "../measure/statistics.ts";
import { median, ratioOf } from "../measure/statistics.ts";

/** Three significant digits, and whole numbers from a hundred on. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}

const twoDigits = (value: number): string =>
  value >= 10 ? formatNumber(value) : String(Number(value.toFixed(2)));

/** How many times faster we are, and between what: `2.1× (2–2.2)`. */
export function formatRatio({ median: middle, low, high }: Spread): string {
  return `${twoDigits(middle)}× (${twoDigits(low)}–${twoDigits(high)})`;
}

/** A share of a limit: `78 % (76–79)`. */
export function formatShare({ median: middle, low, high }: Spread): string {
  const percent = (value: number): string => formatNumber(Math.round(value * 100));
  return `${percent(middle)} % (${percent(low)}–${percent(high)})`;
}

/** Our speed over another's, round by round; times are turned over, so that more is better always. */
export function speedRatio(ours: Measurement, theirs: Measurement): Spread {
  return ratioOf(theirs.seconds, ours.seconds);
}

/** The machine's limits: in registers as wide as the engine makes them, and in those that WebAssembly has by itself. */
export type LimitName = "ceiling" | "ceiling-128";

/** Which part of the machine's limit a measurement reaches, by the limit measured in the same rounds. */
export function shareOfCeiling(
  result: CaseResult,
  measurement: Measurement,
  limitName: LimitName = "ceiling",
): Spread | undefined {
  const ceiling = findMeasurement(result, limitName, measurement.threads);
  const need = result.case.ceiling;
  if (!need || !isMeasured(ceiling) || !isMeasured(measurement)) return undefined;
  const { amount = 0 } = ceiling.facts;
  const limit = ceiling.seconds.map((seconds) => (need.amount * seconds) / amount);
  return ratioOf(limit, measurement.seconds);
}

/** The machine's limit in the case's own unit, so that it can stand beside the rates. */
function ceilingRate({ case: { unit, amount, ceiling } }: CaseResult, limit: Measurement): number {
  const seconds = (median(limit.seconds) * ceiling!.amount) / (limit.facts["amount"] ?? 0);
  return rateOf(unit, amount, seconds);
}

const rate = ({ unit, amount }: Case, measurement: Measurement): string =>
  formatNumber(rateOf(unit, amount, median(measurement.seconds)));

/** Threads of any measurement, ascending. */
function threadCounts(cases: readonly CaseResult[]): number[] {
  const counts = cases.flatMap(({ measurements }) => measurements.map(({ threads }) => threads));
  return [...new Set(counts)].toSorted((a, b) => a - b);
}

/** Contestants that were measured somewhere in the group. */
function measuredOf(cases: readonly CaseResult[]): ContestantName[] {
  const measured = new Set(
    cases.flatMap(({ measurements }) => measurements.filter(isMeasured)).map((m) => m.contestant),
  );
  return contestantNames.filter((name) => measured.has(name));
}

/** Header and rows; columns of numbers are right-aligned. */
function layOut(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  const rule = header.map((_, i) => (i === 0 ? "---" : "--:"));
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}

const unitNames: Readonly<Record<Unit, string>> = {
  "GFLOP/s": "GFLOP/s",
  "GB/s": "GB/s",
  "tokens/s": "tokens/s",
  ms: "ms",
};

const limitHeads: Readonly<Record<LimitName, string>> = {
  ceiling: "limit",
  "ceiling-128": "limit in 128 bits",
};
const limitNames = Object.keys(limitHeads) as LimitName[];

/** The table of one group. */
export function groupTable({ cases }: GroupResult): string {
  const measured = measuredOf(cases);
  const peers = measured.filter((name) => name !== "millrace" && !isLimit(name));
  const threads = threadCounts(cases);
  const limits = limitNames.filter((name) => measured.includes(name));
  const units = [...new Set(cases.map(({ case: { unit } }) => unitNames[unit]))];
  const header = [
    units.join(", "),
    "threads",
    ...limits.map((name) => limitHeads[name]),
    "Millrace",
    ...(limits.length > 0 ? ["of the limit"] : []),
    ...peers,
  ];
  const rows = cases.flatMap((result) => threads.map((count) => row(result, count, peers, limits)));
  return layOut(header, rows);
}

const NONE = "–";

function row(
  result: CaseResult,
  threads: number,
  peers: readonly ContestantName[],
  limits: readonly LimitName[],
): string[] {
  const ours = findMeasurement(result, "millrace", threads);
  const share = ours && shareOfCeiling(result, ours);
  return [
    result.case.label,
    String(threads),
    ...limits.map((name) => {
      const limit = findMeasurement(result, name, threads);
      return isMeasured(limit) && result.case.ceiling
        ? formatNumber(ceilingRate(result, limit))
        : NONE;
    }),
    isMeasured(ours) ? rate(result.case, ours) : NONE,
    ...(limits.length > 0 ? [share ? formatShare(share) : NONE] : []),
    ...peers.map((name) => {
      const theirs = findMeasurement(result, name, threads);
      if (!isMeasured(theirs)) return NONE;
      const own = rate(result.case, theirs);
      return isMeasured(ours) ? `${own}; ${formatRatio(speedRatio(ours, theirs))}` : own;
    }),
  ];
}

/** First line of a reason; the rest is for the JSON file. */
const firstLine = (reason: string): string => reason.split("\n", 1)[0]!.trim();

/** Why cells are empty: one line for each contestant and reason, with how often. */
export function absenceNotes({ cases }: GroupResult): string[] {
  const counts = new Map<
    string,
    { readonly name: string; readonly reason: string; cells: number }
  >();
  for (const { measurements } of cases)
    for (const { contestant, status, reason } of measurements) {
      if (status === "measured") continue;
      const text = status === "absent" ? firstLine(reason) : `${status}: ${firstLine(reason)}`;
      const key = `${contestant}\n${text}`;
      const known = counts.get(key) ?? { name: contestant, reason: text, cells: 0 };
      known.cells++;
      counts.set(key, known);
    }
  return [...counts.values()].map(
    ({ name, reason, cells }) =>
      `- ${name}: ${reason} (${cells} ${cells === 1 ? "cell" : "cells"})`,
  );
}

/** Versions of everyone who was measured. */
export function versionsOf(groups: readonly GroupResult[]): string[] {
  const versions = new Map<string, string>();
  for (const { cases } of groups)
    for (const { measurements } of cases)
      for (const { contestant, version } of measurements)
        if (version !== "" && !isLimit(contestant)) versions.set(contestant, version);
  return contestantNames.flatMap((name) => {
    const version = versions.get(name);
    return version === undefined ? [] : [`${name} ${version}`];
  });
}
