/**
 * Measured runs as a trace for chrome://tracing and Perfetto. In: profiles. Out: JSON text: complete events, a row for the runs and one for
 * each thread or queue, times in microseconds from the first event. Source: the Trace Event Format of the Chromium project.
 */
import { evaluateDim } from "../shape.ts";
import { gigaPerSecond, isProduct, stepTimes } from "./profile-rates.ts";
import type { RunProfile } from "./profile.ts";

/** A buffer's type in this run, such as `f32[4, 256]`. */
function shapesOf({ program, sizes }: RunProfile, kernel: number): readonly string[] {
  return program.kernels[kernel]!.buffers.map(
    ({ access, dtype, shape }) =>
      `${access} ${dtype}[${shape.map((dim) => evaluateDim(dim, sizes)).join(", ")}]`,
  );
}

interface Span {
  readonly start: number;
  readonly duration: number;
}

/** The whole trace. */
export function chromeTrace(runs: readonly RunProfile[]): string {
  const origin = runs.reduce((least, { start }) => Math.min(least, start), Infinity);
  const micros = (ms: number): number => Math.round(ms * 1e6) / 1e3;
  const rows = ["runs", ...new Set(runs.flatMap((run) => run.rows))];
  /** A complete event. */
  const event = (name: string, cat: string, row: string, span: Span, args: object): object => {
    const [ts, dur] = [micros(span.start - origin), micros(span.duration)];
    return { name, cat, ph: "X", pid: 1, tid: rows.indexOf(row), ts, dur, args };
  };
  const names = rows.map((name, tid) => {
    return { name: "thread_name", ph: "M", pid: 1, tid, args: { name } };
  });
  const events = runs.flatMap((run, i) => {
    const { program } = run;
    const shapes = program.kernels.map((_, kernel) => shapesOf(run, kernel));
    const sizes = Object.fromEntries(run.sizes);
    const steps = stepTimes(run).flatMap(({ step, work, events: own, ms }) => {
      const { kernel, label } = program.steps[step]!;
      const args = {
        step,
        scope: label,
        "GFLOP/s": Number(gigaPerSecond(work.flops, ms).toFixed(3)),
        "GB/s": Number(gigaPerSecond(work.bytesRead + work.bytesWritten, ms).toFixed(3)),
        shapes: shapes[kernel]!,
      };
      const { name } = program.kernels[kernel]!;
      const kind = isProduct(work) ? "product" : "other";
      return own.map((each) => event(name, kind, run.rows[each.row]!, each, args));
    });
    return [event(program.name, "run", "runs", run, { run: i, sizes }), ...steps];
  });
  const lines = [...names, ...events].map((each) => JSON.stringify(each));
  return `{"displayTimeUnit":"ms","traceEvents":[\n${lines.join(",\n")}\n]}\n`;
}
