/**
 * Measured runs as a table: where the time goes, and how far each kernel is from what the machine can do. In: profiles, and the
 * machine's ceilings if they are known. Out: text. The roofline of a kernel is the time that its operations take at the product rate,
 * or its bytes at the read rate, whichever is longer; data that caches hold can be faster than that.
 */
import { gigaPerSecond, isProduct, stepTimes } from "./profile-rates.ts";
import type { RunProfile } from "./profile.ts";

/** What all threads, or the whole device, do at best. */
export interface Ceilings {
  /** Floating point operations a second. */
  readonly flops: number;
  /** Bytes read a second. */
  readonly bytes: number;
}

const added = ["calls", "threadMs", "ms", "flops", "bytes", "least"] as const;
/** `least` is the time of a thread at the ceilings, in milliseconds. */
type Sums = Record<(typeof added)[number], number>;

interface Row extends Sums {
  readonly kernel: string;
  readonly label: string;
  readonly product: boolean;
}

const mostRows = 30;

function rowsOf(runs: readonly RunProfile[], ceilings: Ceilings | undefined): readonly Row[] {
  const several = new Set(runs.map(({ program }) => program.name)).size > 1;
  const rows = new Map<string, Row>();
  for (const run of runs)
    for (const { program, step, work, threadMs, ms } of stepTimes(run)) {
      const { kernel, label } = program.steps[step]!;
      const { name } = program.kernels[kernel]!;
      const key = `${program.name}: ${name}`;
      let row = rows.get(key);
      if (!row) {
        const zero = { calls: 0, threadMs: 0, ms: 0, flops: 0, bytes: 0, least: 0 };
        row = { kernel: several ? key : name, label, product: isProduct(work), ...zero };
        rows.set(key, row);
      }
      const bytes = work.bytesRead + work.bytesWritten;
      row.calls++;
      row.threadMs += threadMs;
      row.ms += ms;
      row.flops += work.flops;
      row.bytes += bytes;
      if (ceilings)
        row.least +=
          1e3 * run.rows.length * Math.max(work.flops / ceilings.flops, bytes / ceilings.bytes);
    }
  return [...rows.values()].toSorted((a, b) => b.threadMs - a.threadMs);
}

const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, width - 1)}…`;

const percent = (part: number, whole: number): string =>
  whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : "";

const counted = (count: number, noun: string): string =>
  `${count} ${noun}${count === 1 ? "" : "s"}`;

function giga(amount: number, ms: number): string {
  const rate = gigaPerSecond(amount, ms);
  return amount > 0 ? rate.toFixed(rate < 1 ? 3 : 1) : "";
}

/** What a step computes, by its label or its kernel's name. */
const opOf = ({ kernel, label }: Row): string =>
  /\(([^()]*)\)$/.exec(label)?.[1] ?? (label || kernel);

/** Rows of one group as one. */
function merged(name: string, rows: readonly Row[]): Row {
  const add = (key: (typeof added)[number]): number => rows.reduce((sum, row) => sum + row[key], 0);
  const sums = Object.fromEntries(added.map((key) => [key, add(key)])) as Sums;
  return { kernel: name, label: "", product: rows.every(({ product }) => product), ...sums };
}

/** The tables by kernel and by op, the time that threads waited, and the share of products. */
export function rooflineTable(runs: readonly RunProfile[], ceilings?: Ceilings): string {
  const rows = rowsOf(runs, ceilings);
  const wall = runs.reduce((sum, { duration }) => sum + duration, 0);
  const total = runs.reduce((sum, run) => sum + run.duration * run.rows.length, 0);
  const busy = rows.reduce((sum, { threadMs }) => sum + threadMs, 0);
  const products = rows
    .filter(({ product }) => product)
    .reduce((sum, { threadMs }) => sum + threadMs, 0);
  const scale = total > 0 ? wall / total : 0;
  const cells = (row: Sums): readonly string[] => [
    String(row.calls),
    (row.threadMs * scale).toFixed(2),
    percent(row.threadMs, total),
    giga(row.flops, row.ms),
    giga(row.bytes, row.ms),
    ...(ceilings ? [percent(row.least, row.threadMs)] : []),
  ];
  const line = (name: string, columns: readonly string[], label: string): string =>
    `${cut(name, 40).padEnd(40)}${columns.map((text) => text.padStart(10)).join("")}  ${label}`.trimEnd();
  const head = ["calls", "ms", "share", "GFLOP/s", "GB/s", ...(ceilings ? ["roofline"] : [])];
  const shown = rows.slice(0, mostRows);
  const rest = rows.slice(mostRows);
  const ops = [...Map.groupBy(rows, opOf)]
    .map(([op, list]) => merged(op, list))
    .toSorted((x, y) => y.threadMs - x.threadMs);
  const rowNames = new Set(runs.flatMap((run) => run.rows));
  const [kind = "thread"] = [...rowNames].map((name) => name.split(" ")[0]);
  const idle = Math.max(0, total - busy);
  return [
    line("kernel", head, "scope of its first step"),
    ...shown.map((row) => line(row.kernel, cells(row), cut(row.label, 60))),
    ...(rest.length > 0
      ? [line(`${rest.length} further kernels`, cells(merged("", rest)), "")]
      : []),
    line("between steps", ["", (idle * scale).toFixed(2), percent(idle, total)], ""),
    line("all", ["", wall.toFixed(2), percent(total, total)], ""),
    "",
    line("op", head, ""),
    ...ops.map((row) => line(row.kernel, cells(row), "")),
    "",
    `${counted(runs.length, "run")} on ${counted(rowNames.size, kind)}; ms are the time of all of them together divided by their number`,
    ...(ceilings
      ? [
          `ceilings of this machine: ${giga(ceilings.flops, 1e3)} GFLOP/s, ${giga(ceilings.bytes, 1e3)} GB/s; roofline is the share of what they allow`,
        ]
      : []),
    `${percent(products, total) || "0 %"} of the time in products`,
    "",
  ].join("\n");
}
