/**
 * A GPU's results. In: an adapter, its ceilings and what was measured. Out: a Markdown table, with the shares of what the device
 * itself does at best, and the section of docs/performance.md, which says when no real GPU was behind it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Machine } from "../measure/result.ts";
import { replaceSection } from "../report/document.ts";
import { loadText, machineText } from "../report/machine.ts";
import { formatNumber } from "../report/table.ts";
import type { GpuCeilings } from "./ceilings.ts";
import type { GpuFailure, GpuMeasurement } from "./measure.ts";
import { isFailure } from "./measure.ts";

export interface GpuResults {
  readonly adapter: string;
  /** What the adapter says of its driver. */
  readonly driver: string;
  /** The processor plays the GPU. */
  readonly software: boolean;
  readonly machine: Machine;
  readonly quick: boolean;
  readonly rounds: number;
  readonly ceilings: GpuCeilings;
  readonly cases: readonly (GpuMeasurement | GpuFailure)[];
}

const giga = (perSecond: number): string => formatNumber(perSecond / 1e9);
const percent = (part: number, whole: number | undefined): string =>
  whole === undefined ? "" : `${Number(((100 * part) / whole).toPrecision(2))} %`;

function cells(result: GpuMeasurement, { f32, f16, copy }: GpuCeilings): readonly string[] {
  const { label, flops, bytes, ceiling, wallSeconds, kernelSeconds, dispatches } = result;
  const seconds = kernelSeconds ?? wallSeconds;
  const product = ceiling === "f16" ? (f16 ?? f32) : f32;
  return [
    label,
    kernelSeconds === undefined ? "" : formatNumber(1e3 * kernelSeconds),
    formatNumber(1e3 * wallSeconds),
    giga(flops / seconds),
    percent(flops / seconds, product),
    giga(bytes / seconds),
    percent(bytes / seconds, copy),
    dispatches === undefined ? "" : String(dispatches),
  ];
}

const columns = [
  "",
  "kernels, ms",
  "in all, ms",
  "GFLOP/s",
  "of the product ceiling",
  "GB/s",
  "of the copy ceiling",
  "steps",
];

export function gpuTable({ cases, ceilings }: GpuResults): string {
  const rows = cases.flatMap((result) => (isFailure(result) ? [] : [cells(result, ceilings)]));
  const line = (texts: readonly string[]): string => `| ${texts.join(" | ")} |`;
  const rule = columns.map((_, i) => (i === 0 ? "---" : "---:"));
  const failures = cases.flatMap((result) =>
    isFailure(result) ? [`- ${result.label}: ${result.reason}`] : [],
  );
  return [
    [line(columns), line(rule), ...rows.map(line)].join("\n"),
    ...(failures.length > 0 ? [`Not measured:\n\n${failures.join("\n")}`] : []),
  ].join("\n\n");
}

export function ceilingsText({ f32, f16, copy }: GpuCeilings): string {
  const half = f16 === undefined ? "no f16" : `${giga(f16)} GFLOP/s in f16`;
  return `Ceilings: ${giga(f32)} GFLOP/s in f32, ${half}, ${giga(copy)} GB/s copied.`;
}

/** What the numbers are worth. */
export function warningText({ adapter, software, quick }: GpuResults): string {
  if (software)
    return `**${adapter} is software: a processor plays the GPU. These numbers show that everything runs and say nothing of a GPU's speed. Millrace has not been measured on a real GPU.**`;
  return quick
    ? "**Small sizes: these numbers show that everything runs and say nothing of speed.**"
    : "";
}

export function gpuSection(results: GpuResults): string {
  const { adapter, driver, machine, rounds, ceilings } = results;
  const about = `${machine.date}: ${adapter}${driver && `; ${driver}`}. ${machineText(machine)} Medians of ${rounds} rounds. ${[loadText(machine), ceilingsText(ceilings)].join(" ").trim()}`;
  const parts = [warningText(results), about, gpuTable(results)];
  return parts.filter((part) => part !== "").join("\n\n");
}

const documentFile = new URL("../../../docs/performance.md", import.meta.url);

/** Rewrites the document's section. */
export function writeGpuSection(results: GpuResults): void {
  const document = readFileSync(documentFile, "utf8");
  writeFileSync(documentFile, replaceSection(document, "gpu", gpuSection(results)));
}
