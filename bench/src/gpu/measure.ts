/**
 * One case on a GPU. In: a case and a backend. Out: how long a run takes, by the device's own clock where it has one, or why there is
 * no time: a result that is wrong is not timed.
 */
import type { Backend, HostTensor, Profiler } from "@millrace/graph";
import {
  convert,
  declare,
  hostTensor,
  linear,
  MillraceError,
  profiledBackend,
  toNumbers,
} from "@millrace/graph";
import { prepareTask } from "../contestants/millrace/prepare.ts";
import { overStates } from "../contestants/millrace/program.ts";
import type { Prepared } from "../contestants/contestant.ts";
import { differenceOf } from "../measure/agreement.ts";
import { median } from "../measure/statistics.ts";
import { samplePositions, uniform } from "../numbers.ts";
import { referenceSample } from "../operands.ts";
import type { GpuCase, GpuTask, HalfTask } from "./cases.ts";

export interface GpuMeasurement {
  readonly id: string;
  readonly label: string;
  readonly flops: number;
  readonly bytes: number;
  readonly ceiling: "f32" | "f16";
  /** Of one run, from its call to its result. */
  readonly wallSeconds: number;
  /** Of one run's kernels by timestamps, from the first's beginning to the last's end; undefined where there are none. */
  readonly kernelSeconds: number | undefined;
  /** Of one run. */
  readonly dispatches: number | undefined;
}

export interface GpuFailure {
  readonly id: string;
  readonly label: string;
  readonly reason: string;
}

export const isFailure = (result: GpuMeasurement | GpuFailure): result is GpuFailure =>
  "reason" in result;

/** Adds up what the runs of one call were measured to take. */
class Clock implements Profiler {
  running = false;
  seconds = 0;
  dispatches = 0;

  wants(): boolean {
    return this.running;
  }

  record({ duration, program }: Parameters<Profiler["record"]>[0]): void {
    this.seconds += duration / 1e3;
    this.dispatches += program.steps.length;
  }
}

const halfOperands = ({
  m,
  k,
  n,
}: HalfTask): { readonly x: HostTensor; readonly w: HostTensor } => {
  const values = (seed: number, rows: number): HostTensor =>
    hostTensor("f16", [rows, k], uniform(seed, rows * k, Math.sqrt(3 / k)));
  return { x: values(1, m), w: values(2, n) };
};

function prepareHalf(task: HalfTask, backend: Backend): Promise<Prepared> {
  const { m, k, n } = task;
  const graph = declare("half", (b) => {
    const product = linear(b.state("x", "f16", [m, k]), b.state("w", "f16", [n, k]));
    b.update(b.state("y", "f16", [m, n]), convert(product, "f16"));
    return {};
  });
  return overStates(graph, backend, { ...halfOperands(task) }, ["y"]);
}

const prepare = (task: GpuTask, backend: Backend): Promise<Prepared> =>
  task.kind === "half" ? prepareHalf(task, backend) : prepareTask(task, backend);

/** The sampled elements of the product in double precision. */
function halfSample(task: HalfTask, length: number): readonly number[] {
  const { k, n } = task;
  const { x, w } = halfOperands(task);
  const [left, right] = [toNumbers(x), toNumbers(w)];
  return samplePositions(length).map((at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let d = 0; d < k; d++) sum += left[row * k + d]! * right[column * k + d]!;
    return sum;
  });
}

/** What is wrong with a result; undefined if nothing is. */
function problemOf({ task, tolerance }: GpuCase, result: ArrayLike<number>): string | undefined {
  const values = Array.from(result);
  const wrong = values.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) return `element ${wrong} of the result is ${values[wrong]}`;
  if (values.every((value) => value === 0)) return "the result is zero";
  const reference =
    task.kind === "half" ? halfSample(task, values.length) : referenceSample(task, values.length);
  if (!reference) return undefined;
  const sample = samplePositions(values.length).map((position) => values[position]!);
  const difference = differenceOf(sample, reference);
  return difference <= tolerance ? undefined : `the result differs by ${difference.toPrecision(2)}`;
}

export interface GpuTiming {
  readonly rounds: number;
  /** Of each round, at least. */
  readonly seconds: number;
}

export async function measureGpuCase(
  measured: GpuCase,
  backend: Backend,
  hasClock: boolean,
  { rounds, seconds }: GpuTiming,
): Promise<GpuMeasurement | GpuFailure> {
  const { id, label, flops, ceiling } = measured;
  const clock = new Clock();
  let prepared: Prepared | undefined;
  try {
    prepared = await prepare(measured.task, profiledBackend(backend, clock));
    await prepared.run();
    const reason = problemOf(measured, await prepared.result());
    if (reason !== undefined) return { id, label, reason };
    const walls: number[] = [];
    const kernels: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const start = performance.now();
      let runs = 0;
      while (runs === 0 || performance.now() - start < 1e3 * seconds) {
        await prepared.run();
        runs++;
      }
      walls.push((performance.now() - start) / 1e3 / runs);
      if (!hasClock) continue;
      clock.running = true;
      clock.seconds = 0;
      clock.dispatches = 0;
      await prepared.run();
      clock.running = false;
      kernels.push(clock.seconds);
    }
    return {
      id,
      label,
      flops,
      bytes: measured.bytes ?? prepared.facts?.["states"] ?? 0,
      ceiling,
      wallSeconds: median(walls),
      kernelSeconds: hasClock ? median(kernels) : undefined,
      dispatches: hasClock ? clock.dispatches : undefined,
    };
  } catch (error) {
    if (!(error instanceof MillraceError)) throw error;
    return { id, label, reason: error.message };
  } finally {
    await prepared?.release();
  }
}
