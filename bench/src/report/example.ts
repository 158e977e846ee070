/**
 * Made-up results for tests of the report. In: what matters to a test. Out: a group with one case.
 */
import type { Case, Group } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import type { GroupResult, Machine, Measurement } from "../measure/result.ts";

export const exampleMachine: Machine = {
  processor: "Example 9000",
  cores: 2,
  memoryGiB: 8,
  caches: "L1 32K",
  features: ["avx2"],
  system: "linux 6.1 x64",
  node: "v24.0.0",
  engine: "V8 13.6",
  load: 0,
  date: "2026-11-22",
};

export function exampleMeasurement(
  contestant: ContestantName,
  seconds: readonly number[],
  changes: Partial<Measurement> = {},
): Measurement {
  return {
    contestant,
    threads: 1,
    status: "measured",
    version: "1.0.0",
    reason: "",
    seconds,
    difference: 0,
    facts: {},
    ...changes,
  };
}

/** A product of 1e9 operations, unless told otherwise. */
export function exampleCase(changes: Partial<Case> = {}): Case {
  return {
    id: "product",
    group: "products",
    family: "product",
    label: "512³",
    task: { kind: "product", m: 512, k: 512, n: 512, layout: "kn", weights: "f32", copies: 1 },
    unit: "GFLOP/s",
    amount: 1e9,
    ceiling: { kind: "fma", amount: 1e9 },
    tolerance: 1e-4,
    peerTolerance: 1e-4,
    ...changes,
  };
}

export function exampleGroup(
  measurements: readonly Measurement[],
  changes: Partial<Case> = {},
): GroupResult {
  const measured = exampleCase(changes);
  const group: Group = measured.group;
  return {
    group,
    machine: exampleMachine,
    rounds: 3,
    seconds: 0.4,
    quick: false,
    cases: [{ case: measured, measurements }],
  };
}
