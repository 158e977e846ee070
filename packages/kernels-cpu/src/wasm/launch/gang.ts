/**
 * The threads of a backend. In: programs and sizes. Out: runs, one at a time, each by all threads in step. The threads start with the
 * first run and stop a while after the last store they worked for is gone. If one fails, or ends, the others give up and
 * the run is rejected; after an end the next run starts new threads. Knows no kernels: what is computed is in the module.
 */
import { DeviceError } from "@millrace/graph";
import type { Imports } from "./clock.ts";
import { abortTeam, beginRun, gaveUp } from "./control.ts";
import type { Order, Report } from "./messages.ts";
import type { StartThread, Thread } from "./thread.ts";
import { availableThreads, mayBlock, startThread } from "./thread.ts";
import { Turns } from "./turns.ts";

/** A program as the threads need it. */
export interface TeamProgram {
  /** For errors. */
  readonly name: string;
  readonly module: WebAssembly.Module;
  readonly imports: Imports;
  readonly memory: WebAssembly.Memory;
  /** Address of the words by which the threads keep in step. */
  readonly control: number;
}

/** A run of the program known by the number `id` in the memory of `store`. */
export interface TeamJob {
  readonly id: number;
  readonly store: symbol;
  readonly program: TeamProgram;
}

/** Turns of waiting before a thread sleeps. Being woken takes some 50 µs, in which a processor has nothing else to do. */
const SPINS = 100_000;
/** The same where threads run on one processor in turns: whoever is waited for may need that one. */
const SPINS_IN_TURNS = 10_000;

type Outcome =
  | Exclude<Report, { kind: "ready" }>
  | { readonly kind: "ended"; readonly reason: string };

/** One thread, and what it is doing. */
class Member {
  readonly #loaded: Set<number> = new Set();
  readonly ready: Promise<void>;
  readonly thread: Thread;
  #ended: string | undefined;
  #settle: ((outcome: Outcome) => void) | undefined;

  constructor(start: StartThread) {
    const starting = Promise.withResolvers<void>();
    this.ready = starting.promise;
    this.thread = start({
      report: (report) => {
        if (report.kind !== "ready") return this.#settle?.(report);
        // From here on it does so only while somebody waits for its reports.
        this.thread.keepAlive(false);
        starting.resolve();
      },
      ended: (reason) => {
        this.#ended = reason;
        starting.reject(
          new DeviceError({
            what: `a thread could not be started: ${reason}`,
            hint: "Make the backend with { threads: 1 }.",
          }),
        );
        this.#settle?.({ kind: "ended", reason });
      },
    });
  }

  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** Sends a program, once. */
  learn(id: number, { module, imports, memory, control }: TeamProgram): void {
    if (this.#loaded.has(id)) return;
    this.#loaded.add(id);
    const { timeOrigin: origin } = performance;
    this.thread.post({ kind: "load", program: id, module, imports, origin, memory, control });
  }

  forget(program: number): void {
    if (this.#loaded.delete(program)) this.thread.post({ kind: "forget", program });
  }

  /** Gives an order that is answered by an outcome. */
  perform(order: Order): Promise<Outcome> {
    if (this.#ended !== undefined) return Promise.resolve({ kind: "ended", reason: this.#ended });
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.thread.post(order);
    });
  }
}

/** The calling thread's part of a run. */
function attempt(part: () => void, { memory, control }: TeamProgram): Outcome {
  try {
    part();
    return { kind: "done" };
  } catch (error) {
    const first = abortTeam(memory, control);
    return { kind: "failed", message: (error as Error).message, first };
  }
}

/** Threads that work for the stores of one backend. */
export class Gang {
  readonly size: number;
  readonly #start: StartThread;
  readonly #turns: Turns = new Turns();
  readonly #stores: Set<symbol> = new Set();
  readonly #lingerMs: number;
  readonly #patience: number;
  readonly #mayBlock: boolean = mayBlock();
  /** Each thread has a processor of its own, so that one that waits takes nothing from another one. */
  readonly #awake: boolean;
  readonly #members: Member[] = [];

  /**
   * `lingerMs` is how long threads without a store wait for another one, `patience` the seconds that a calling thread sleeps at a barrier
   * before it takes another thread for lost: it can't be told of its end.
   */
  constructor(
    size: number,
    options: { start?: StartThread; lingerMs?: number; patience?: number } = {},
  ) {
    const { start = startThread, lingerMs = 1000, patience = 60 } = options;
    this.size = size;
    this.#start = start;
    this.#lingerMs = lingerMs;
    this.#patience = patience;
    this.#awake = size <= availableThreads();
  }

  /**
   * Runs a program. With `part`, which runs it as thread 0, the calling thread is one of the team where it may block: it is under
   * way already, and has the results at once, but sees and hears nothing until then. So that is for short runs.
   */
  run(job: TeamJob, sizes: readonly number[], part?: () => void): Promise<void> {
    return this.#turns.take(async () => {
      this.#stores.add(job.store);
      const takePart = this.#mayBlock ? part : undefined;
      const members = await this.#assemble(takePart ? this.size - 1 : this.size);
      const outcomes = this.#begin(members, job, sizes, takePart !== undefined);
      // Who comes to the end of a program has seen all others there.
      const own = takePart && attempt(takePart, job.program);
      if (own?.kind === "done") return;
      for (const { thread } of members) thread.keepAlive(true);
      try {
        await this.#finish(job.program, own, outcomes);
      } finally {
        for (const { thread } of members) thread.keepAlive(false);
      }
    });
  }

  /** Gives the orders for a run, in which the calling thread is thread 0 or none. */
  #begin(
    members: readonly Member[],
    { id, program }: TeamJob,
    sizes: readonly number[],
    takesPart: boolean,
  ): readonly Promise<Outcome>[] {
    const { memory, control } = program;
    const spins = this.#awake ? SPINS : SPINS_IN_TURNS;
    beginRun(memory, control, { spins, patience: takesPart ? this.#patience : 0 });
    const [first, report] = takesPart ? ([1, "failure"] as const) : ([0, "always"] as const);
    return members.map((member, i) => {
      member.learn(id, program);
      const place = { thread: first + i, threads: this.size, sizes, report, awake: this.#awake };
      return member.perform({ kind: "run", program: id, ...place });
    });
  }

  async #finish(
    { name, memory, control }: TeamProgram,
    own: Outcome | undefined,
    others: readonly Promise<Outcome>[],
  ): Promise<void> {
    if (gaveUp(memory, control))
      this.#fail(name, `nothing was heard of it for ${this.#patience} s`);
    const watched = others.map(async (other) => {
      const outcome = await other;
      if (outcome.kind === "ended") abortTeam(memory, control);
      return outcome;
    });
    const outcomes = [...(own ? [own] : []), ...(await Promise.all(watched))];
    const ended = outcomes.find((outcome) => outcome.kind === "ended");
    if (ended) this.#fail(name, ended.reason);
    const failures = outcomes.filter((outcome) => outcome.kind === "failed");
    const failed = failures.find(({ first }) => first) ?? failures[0];
    if (failed) throw new WebAssembly.RuntimeError(failed.message);
  }

  /** For a run of which a thread is missing. */
  #fail(where: string, reason: string): never {
    this.#disband();
    throw new DeviceError({
      what: `a thread ended during a run: ${reason}`,
      where,
      hint: "States may be half written; load them anew. The next run starts new threads.",
    });
  }

  /** So many threads: those there are, and new ones for what is missing. If one is gone, all are new. */
  async #assemble(count: number): Promise<readonly Member[]> {
    if (!this.#members.every((member) => member.alive)) this.#disband();
    while (this.#members.length < count) this.#members.push(new Member(this.#start));
    const members = this.#members.slice(0, count);
    try {
      await Promise.all(members.map((member) => member.ready));
    } catch (error) {
      this.#disband();
      throw error;
    }
    return members;
  }

  #disband(): void {
    for (const { thread } of this.#members.splice(0)) thread.stop();
  }

  /** The program will not run again. */
  forget(program: number): void {
    void this.#turns.take(() => {
      for (const member of this.#members) member.forget(program);
    });
  }

  /** The store is gone; after the last one the threads stop. */
  leave(store: symbol): void {
    void this.#turns.take(() => {
      if (!this.#stores.delete(store) || this.#stores.size > 0) return;
      const timer: unknown = setTimeout(() => {
        void this.#turns.take(() => {
          if (this.#stores.size === 0) this.#disband();
        });
      }, this.#lingerMs);
      // In Node the timer shall not keep the process alive.
      (timer as { unref?: () => void }).unref?.();
    });
  }

  /** Stops the threads once the runs that were asked for are done; a later run starts new ones. */
  stop(): void {
    void this.#turns.take(() => this.#disband());
  }
}
