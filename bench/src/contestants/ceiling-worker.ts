/**
 * One more thread of a ceiling. In: a shared pair of counters (rounds asked for, threads done) and what to do. Out: the
 * second counter goes up by one each round.
 */
import { workerData } from "node:worker_threads";
import type { CeilingKind } from "../case.ts";
import { ceilingLoop } from "./ceiling.ts";

const { of, counters } = workerData as { of: CeilingKind; counters: Int32Array<SharedArrayBuffer> };
const { run } = ceilingLoop(of);
for (let round = 0; ; round++) {
  Atomics.wait(counters, 0, round);
  run();
  Atomics.add(counters, 1, 1);
  Atomics.notify(counters, 1);
}
