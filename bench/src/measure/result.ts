/**
 * What a run of the bench found. In: nothing. Out: the records that are written as JSON and that tables are made of.
 */
import type { Case, Group } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";

/** One contestant at one case with so many threads. */
export interface Measurement {
  readonly contestant: ContestantName;
  readonly threads: number;
  /** `differs`: its result is not that of the reference, so it was not timed. */
  readonly status: "measured" | "absent" | "failed" | "differs";
  readonly version: string;
  /** Why there are no times. */
  readonly reason: string;
  /** Of one run, for each round. */
  readonly seconds: readonly number[];
  /** Difference from the reference, relative; null where nothing was compared. */
  readonly difference: number | null;
  readonly facts: Readonly<Record<string, number>>;
}

export interface CaseResult {
  readonly case: Case;
  readonly measurements: readonly Measurement[];
}

/** The machine and the moment. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly caches: string;
  readonly features: readonly string[];
  readonly system: string;
  readonly node: string;
  readonly engine: string;
  /** Load average over the last minute before the run: other work on the machine makes all of it doubtful. */
  readonly load: number;
  readonly date: string;
}

/** One group's results, as they stand in the JSON file. */
export interface GroupResult {
  readonly group: Group;
  readonly machine: Machine;
  readonly rounds: number;
  readonly seconds: number;
  readonly quick: boolean;
  readonly cases: readonly CaseResult[];
}

export type Results = Partial<Record<Group, GroupResult>>;

export function findMeasurement(
  result: CaseResult,
  contestant: ContestantName,
  threads: number,
): Measurement | undefined {
  return result.measurements.find(
    (each) => each.contestant === contestant && each.threads === threads,
  );
}

/** Whether it has times to compare. */
export function isMeasured(measurement: Measurement | undefined): measurement is Measurement {
  return measurement?.status === "measured" && measurement.seconds.length > 0;
}
