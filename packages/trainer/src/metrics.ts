/**
 * What a training step measured, kept and shown. In: one record per step. Out: a line of `metrics.jsonl`, the records
 * of such text, and the line a person watches. Knows no files (see `metrics-file.ts`) and no model.
 */

/** One line of `metrics.jsonl`. Losses are means in nats per token. */
export interface MetricsRecord {
  /** Steps finished, this one included. */
  readonly step: number;
  /** Next-token loss of the main model. */
  readonly loss: number;
  /** Multi-token prediction loss, where there is a module. */
  readonly mtpLoss?: number | undefined;
  /** Sequence-wise balance loss, its factor included. */
  readonly balanceLoss?: number | undefined;
  /** Global gradient norm before clipping. */
  readonly gradNorm?: number | undefined;
  readonly learningRate?: number | undefined;
  readonly tokensPerSecond?: number | undefined;
  /** Largest of `maxVioPerLayer`. */
  readonly maxVio?: number | undefined;
  /** max(load) / mean(load) - 1 per mixture-of-experts layer, the module's last. */
  readonly maxVioPerLayer?: readonly number[] | undefined;
  readonly heldOutLoss?: number | undefined;
  readonly heldOutMtpLoss?: number | undefined;
  readonly heldOutBitsPerByte?: number | undefined;
  /** MaxVio of the loads summed over the held-out text, the largest over the layers. */
  readonly maxVioGlobal?: number | undefined;
}

/** max(load) / mean(load) - 1; 0 when nothing was routed. */
export function maxViolation(loads: ArrayLike<number>): number {
  let max = 0;
  let sum = 0;
  for (let i = 0; i < loads.length; i++) {
    const load = loads[i] as number;
    max = Math.max(max, load);
    sum += load;
  }
  return sum === 0 ? 0 : (max * loads.length) / sum - 1;
}

/** One line, line end included. Numbers that JSON has no word for become null. */
export function formatMetricsLine(record: MetricsRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** The records of `text`; a line that is torn or is no record is left out. */
export function parseMetrics(text: string): readonly MetricsRecord[] {
  return metricsLines(text).flatMap((line) => (line.record ? [line.record] : []));
}

/** How many characters of `text` hold records up to `step`, so that the rest can be cut off. */
export function metricsLengthAtStep(text: string, step: number): number {
  let end = 0;
  for (const line of metricsLines(text)) {
    if (!line.record || line.record.step > step) break;
    end = line.end;
  }
  return end;
}

function metricsLines(text: string): { end: number; record: MetricsRecord | undefined }[] {
  const lines: { end: number; record: MetricsRecord | undefined }[] = [];
  for (let start = 0; start < text.length;) {
    const lineEnd = text.indexOf("\n", start);
    // Without its line end, a line may be half of one: "step":12 could have been "step":120.
    if (lineEnd < 0) break;
    lines.push({ end: lineEnd + 1, record: parseRecord(text.slice(start, lineEnd)) });
    start = lineEnd + 1;
  }
  return lines;
}

function parseRecord(line: string): MetricsRecord | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value !== "object" || value === null) return undefined;
    const record = value as Record<string, unknown>;
    if (!Number.isSafeInteger(record["step"])) return undefined;
    // Not-a-number was written as null and is read as what it was.
    for (const key of Object.keys(record)) if (record[key] === null) record[key] = Number.NaN;
    if (typeof record["loss"] !== "number") return undefined;
    return record as unknown as MetricsRecord;
  } catch {
    return undefined;
  }
}

/** The line a person watches: `step 120/2000  loss 3.214  mtp 3.801  41.2k tok/s  MaxVio 0.31  12 m 04 s left`. */
export function formatProgress(
  record: MetricsRecord,
  run: { readonly totalSteps: number; readonly secondsLeft?: number | undefined },
): string {
  const width = String(run.totalSteps).length;
  const parts = [
    `step ${String(record.step).padStart(width)}/${run.totalSteps}`,
    `loss ${record.loss.toFixed(4)}`,
  ];
  if (record.mtpLoss !== undefined) parts.push(`mtp ${record.mtpLoss.toFixed(4)}`);
  if (record.heldOutBitsPerByte !== undefined)
    parts.push(`held-out ${record.heldOutBitsPerByte.toFixed(3)} bits/byte`);
  if (record.tokensPerSecond !== undefined)
    parts.push(`${formatCount(record.tokensPerSecond)} tok/s`);
  if (record.maxVio !== undefined) parts.push(`MaxVio ${record.maxVio.toFixed(2)}`);
  if (run.secondsLeft !== undefined) parts.push(`${formatDuration(run.secondsLeft)} left`);
  return parts.join("  ");
}

/** `950`, `41.2k`, `3.40M`. */
export function formatCount(value: number): string {
  if (!Number.isFinite(value)) return "?";
  if (value < 1000) return value.toFixed(0);
  if (value < 1e6) return `${(value / 1e3).toFixed(1)}k`;
  return `${(value / 1e6).toFixed(2)}M`;
}

/** `9 s`, `3 m 07 s`, `2 h 05 m`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "?";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} m`;
}

/** The part of a terminal stream that progress needs; `process.stderr` is one. */
export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** Shows records as they come: one line that updates on a terminal, else a line every `every` steps. */
export interface ProgressLine {
  show(record: MetricsRecord): void;
  /** A message of its own, above the updating line. */
  note(text: string): void;
  /** Ends the updating line. */
  finish(): void;
}

export function createProgressLine(options: {
  readonly stream: ProgressStream;
  readonly totalSteps: number;
  /** Steps that were finished before this process began. */
  readonly firstStep?: number | undefined;
  /** Without a terminal, show every this many steps; a twentieth of the run unless told. */
  readonly every?: number | undefined;
  /** Milliseconds, for the time left; the caller's clock. */
  readonly now: () => number;
}): ProgressLine {
  const { stream, totalSteps, now } = options;
  const firstStep = options.firstStep ?? 0;
  const every = options.every ?? Math.max(1, Math.floor(totalSteps / 20));
  const begun = now();
  let shown = false;
  let lastDraw = Number.NEGATIVE_INFINITY;
  const clear = (): void => {
    if (shown) stream.write("\r\u001b[K");
    shown = false;
  };
  return {
    show(record) {
      const done = record.step - firstStep;
      const perStep = done > 0 ? (now() - begun) / 1000 / done : undefined;
      const line = formatProgress(record, {
        totalSteps,
        secondsLeft: perStep === undefined ? undefined : perStep * (totalSteps - record.step),
      });
      const last = record.step >= totalSteps;
      if (stream.isTTY !== true) {
        if (record.step % every === 0 || done === 1 || last) stream.write(`${line}\n`);
        return;
      }
      // Ten drawings a second are enough for the eye.
      if (!last && now() - lastDraw < 100) return;
      lastDraw = now();
      // A line that wraps cannot be overwritten.
      // A terminal that has not been given a size says 0.
      const columns = stream.columns || 80;
      stream.write(`\r${line.slice(0, Math.max(0, columns - 1))}\u001b[K`);
      shown = true;
    },
    note(text) {
      clear();
      stream.write(`${text}\n`);
    },
    finish() {
      if (shown) stream.write("\n");
      shown = false;
    },
  };
}
