/**
 * One more thread of a ceiling. In: three shared numbers (rounds asked for, threads done, which loop) and what limit it is. Out: the
 * second number goes up by one each round.
 */
import { workerData } from "node:worker_threads";
import type { CeilingKind } from "../case.ts";
import { loadCeiling } from "./ceiling.ts";

const { of, counters } = workerData as { of: CeilingKind; counters: Int32Array<SharedArrayBuffer> };
const { loops } = loadCeiling(of);
for (let round = 0; ; round++) {
  Atomics.wait(counters, 0, round);
  loops[Atomics.load(counters, 2)]!();
  Atomics.add(counters, 1, 1);
  Atomics.notify(counters, 1);
}
