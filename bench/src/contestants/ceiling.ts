/**
 * The machine's limits as a contestant: multiply-adds in registers, and reads from memory, by the loop that is fastest here. In: a
 * number of threads, each of which does the same work at the same time. Out: the time of all of them; how much they did is the fact
 * `amount`, which loop it was the fact `loop`.
 */
import { isMainThread, Worker } from "node:worker_threads";
import type { CeilingKind, Task } from "../case.ts";
import { ceilingLoops, ceilingModule, FLOPS_PER_ROUND, READ_STEP } from "@millrace/kernels-cpu";
import { Absent } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";
import { fastest } from "./fastest.ts";

const FMA_ROUNDS = 400_000;
/** More than any cache holds. */
const READ_BYTES = 2 ** 28;
const PAGE = 65536;

/** One thread's loops that meet a limit, and how much a run of each does. */
export function loadCeiling(of: CeilingKind): {
  readonly loops: readonly (() => number)[];
  readonly amount: number;
} {
  const bytes = of === "read" ? READ_BYTES : PAGE;
  const memory = new WebAssembly.Memory({ initial: bytes / PAGE });
  // Memory that was never written is one page of zeros, which a cache holds.
  new Uint8Array(memory.buffer).fill(1);
  const code = ceilingModule();
  if (!WebAssembly.validate(code)) throw new Absent("this engine has no relaxed SIMD");
  const instance = new WebAssembly.Instance(new WebAssembly.Module(code), { bench: { memory } });
  const exported = instance.exports as Record<string, (a: number, b: number) => number>;
  const [first, second, amount] =
    of === "fma"
      ? [FMA_ROUNDS, 0, FMA_ROUNDS * FLOPS_PER_ROUND]
      : [0, READ_BYTES, READ_BYTES - (READ_BYTES % READ_STEP)];
  const loops = ceilingLoops[of].map((name) => () => exported[name]!(first, second));
  return { loops, amount };
}

async function startWorker(data: unknown): Promise<Worker> {
  const worker = new Worker(new URL("ceiling-worker.ts", import.meta.url), { workerData: data });
  await new Promise((resolve, reject) => {
    worker.once("online", resolve);
    worker.once("error", reject);
  });
  return worker;
}

async function prepare(task: Task, threads: number): Promise<Prepared> {
  if (task.kind !== "ceiling") throw new Absent("not a ceiling");
  const counters = new Int32Array(new SharedArrayBuffer(12));
  const workers = await Promise.all(
    Array.from({ length: threads - 1 }, () => startWorker({ of: task.of, counters })),
  );
  const { loops, amount } = loadCeiling(task.of);
  const way = (loop: () => number, index: number): Prepared => {
    let last = 0;
    return {
      run: () => {
        Atomics.store(counters, 2, index);
        Atomics.store(counters, 1, 0);
        Atomics.add(counters, 0, 1);
        Atomics.notify(counters, 0);
        last = loop();
        for (;;) {
          const done = Atomics.load(counters, 1);
          if (done >= workers.length) return;
          Atomics.wait(counters, 1, done);
        }
      },
      result: () => [last],
      facts: { amount: amount * threads, loop: index },
      release: () => undefined,
    };
  };
  const best = await fastest(loops.map((loop, index) => () => way(loop, index)));
  const release = async (): Promise<void> => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  };
  return { ...best, release };
}

export async function enter(threads: number): Promise<Contestant> {
  if (!isMainThread) throw new Absent("a ceiling is started by the main thread");
  return { version: process.versions.v8, prepare: (task) => prepare(task, threads) };
}
