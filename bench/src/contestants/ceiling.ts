/**
 * The machine's limits as a contestant: multiply-adds in registers, and reads from memory. In: a number of threads, each of
 * which does the same work at the same time. Out: the time of all of them; how much they did is the fact `amount`.
 */
import { isMainThread, Worker } from "node:worker_threads";
import type { CeilingKind, Task } from "../case.ts";
import { ceilingModule, FLOPS_PER_ROUND, READ_STEP } from "@millrace/kernels-cpu";
import { Absent } from "./contestant.ts";
import type { Contestant, Prepared } from "./contestant.ts";

const FMA_ROUNDS = 400_000;
/** More than any cache holds. */
const READ_BYTES = 2 ** 28;
const PAGE = 65536;

/** One thread's loop, and how much a run of it does. */
export function ceilingLoop(of: CeilingKind): {
  readonly run: () => number;
  readonly amount: number;
} {
  const bytes = of === "read" ? READ_BYTES : PAGE;
  const memory = new WebAssembly.Memory({ initial: bytes / PAGE });
  // Memory that was never written is one page of zeros, which a cache holds.
  new Uint8Array(memory.buffer).fill(1);
  const code = ceilingModule();
  if (!WebAssembly.validate(code)) throw new Absent("this engine has no relaxed SIMD");
  const instance = new WebAssembly.Instance(new WebAssembly.Module(code), { bench: { memory } });
  const loops = instance.exports as Record<CeilingKind, (a: number, b: number) => number>;
  return of === "fma"
    ? { run: () => loops.fma(FMA_ROUNDS, 0), amount: FMA_ROUNDS * FLOPS_PER_ROUND }
    : { run: () => loops.read(0, READ_BYTES), amount: READ_BYTES - (READ_BYTES % READ_STEP) };
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
  const counters = new Int32Array(new SharedArrayBuffer(8));
  const workers = await Promise.all(
    Array.from({ length: threads - 1 }, () => startWorker({ of: task.of, counters })),
  );
  const { run, amount } = ceilingLoop(task.of);
  let last = 0;
  return {
    run: () => {
      Atomics.store(counters, 1, 0);
      Atomics.add(counters, 0, 1);
      Atomics.notify(counters, 0);
      last = run();
      for (;;) {
        const done = Atomics.load(counters, 1);
        if (done >= workers.length) return;
        Atomics.wait(counters, 1, done);
      }
    },
    result: () => [last],
    facts: { amount: amount * threads },
    release: async () => {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

export async function enter(threads: number): Promise<Contestant> {
  if (!isMainThread) throw new Absent("a ceiling is started by the main thread");
  return { version: process.versions.v8, prepare: (task) => prepare(task, threads) };
}
