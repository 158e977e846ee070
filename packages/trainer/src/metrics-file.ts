/**
 * `metrics.jsonl` on disk; Node only. In: records. Out: one line each, appended as they come; on resume the lines past
 * the resumed step (and a torn last one) are cut off, so that the file reads as if the run had never stopped.
 */
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";

import { CheckpointError } from "@millrace/graph";
import { fileError } from "@millrace/model-v3/node";

import {
  formatMetricsLine,
  type MetricsRecord,
  metricsLengthAtStep,
  parseMetrics,
} from "./metrics.ts";

/** An open `metrics.jsonl`. */
export interface MetricsFile {
  /** Records that were there before, up to the resumed step. */
  readonly earlier: readonly MetricsRecord[];
  append(record: MetricsRecord): void;
  close(): void;
}

/** Opens `path` for appending after the records up to `step`; 0 starts anew. */
export function openMetricsFile(path: string, step: number): MetricsFile {
  try {
    const before = step > 0 ? readIfThere(path) : Buffer.alloc(0);
    const text = before.toString("utf8");
    const kept = text.slice(0, metricsLengthAtStep(text, step));
    const file = openSync(path, "a");
    truncateSync(path, Buffer.byteLength(kept));
    return {
      earlier: parseMetrics(kept),
      append(record) {
        // One write of one whole line: what a kill can tear is at most the last line.
        const line = Buffer.from(formatMetricsLine(record));
        try {
          for (let done = 0; done < line.length;) done += writeSync(file, line, done);
        } catch (cause) {
          throw fileError(cause, "writing the metrics", path);
        }
      },
      close() {
        closeSync(file);
      },
    };
  } catch (cause) {
    throw new CheckpointError({
      what: `the metrics file cannot be written (${(cause as NodeJS.ErrnoException).code ?? "unknown"})`,
      where: path,
      hint: "Check that the directory exists and may be written.",
      cause,
    });
  }
}

/** The records of a finished or running training. */
export function readMetricsFile(path: string): readonly MetricsRecord[] {
  return parseMetrics(readIfThere(path).toString("utf8"));
}

function readIfThere(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw cause;
  }
}
