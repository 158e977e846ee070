/**
 * The threads of a backend. In: programs and sizes. Out: runs, one at a time, each by all threads in step. The threads start with the
 * first run and stop a while after the last store they worked for is gone. If one fails, or ends, the others give up and
 * the run is rejected; after an end the next run starts new threads. Knows no kernels: what is computed is in the module.
 */
import { DeviceError } from "@millrace/graph";
import type { Imports } from "./clock.ts";
import { abortTeam, resetControl } from "./control.ts";
import type { Order, Report } from "./messages.ts";
import type { StartThread, Thread } from "./thread.ts";
import { startThread } from "./thread.ts";
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

type Outcome =
  | Exclude<Report, { kind: "ready" }>
  | { readonly kind: "ended"; readonly reason: string };

/** One thread, and what it is doing. */
class Member {
  readonly loaded: Set<number> = new Set();
  readonly ready: Promise<void>;
  readonly thread: Thread;
  #ended: string | undefined;
  #settle: ((outcome: Outcome) => void) | undefined;

  constructor(start: StartThread) {
    const starting = Promise.withResolvers<void>();
    this.ready = starting.promise;
    this.thread = start({
      report: (report) => {
        if (report.kind === "ready") starting.resolve();
        else this.#settle?.(report);
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

  /** Gives an order that is answered by an outcome. */
  perform(order: Order): Promise<Outcome> {
    if (this.#ended !== undefined) return Promise.resolve({ kind: "ended", reason: this.#ended });
    return new Promise((resolve) => {
      this.#settle = resolve;
      this.thread.post(order);
    });
  }
}

/** Threads that work for the stores of one backend. */
export class Gang {
  readonly size: number;
  readonly #start: StartThread;
  readonly #turns: Turns = new Turns();
  readonly #stores: Set<symbol> = new Set();
  readonly #lingerMs: number;
  #members: Promise<readonly Member[]> | undefined;

  /** `lingerMs` is how long threads without a store wait for another one. */
  constructor(size: number, options: { start?: StartThread; lingerMs?: number } = {}) {
    const { start = startThread, lingerMs = 1000 } = options;
    this.size = size;
    this.#start = start;
    this.#lingerMs = lingerMs;
  }

  /** Runs the program known by the number `id` in the memory of `store`. */
  run(
    { id, store, program }: { id: number; store: symbol; program: TeamProgram },
    sizes: readonly number[],
  ): Promise<void> {
    return this.#turns.take(async () => {
      this.#stores.add(store);
      const members = await this.#assemble();
      for (const { thread } of members) thread.keepAlive(true);
      try {
        await this.#runOn(members, id, program, sizes);
      } finally {
        for (const { thread } of members) thread.keepAlive(false);
      }
    });
  }

  async #runOn(
    members: readonly Member[],
    id: number,
    program: TeamProgram,
    sizes: readonly number[],
  ): Promise<void> {
    const { name, module, imports, memory, control } = program;
    resetControl(memory, control);
    const outcomes = await Promise.all(
      members.map(async (member, thread) => {
        if (!member.loaded.has(id)) {
          member.loaded.add(id);
          const { timeOrigin: origin } = performance;
          const parts = { module, imports, origin, memory, control };
          member.thread.post({ kind: "load", program: id, ...parts });
        }
        const order = { kind: "run", program: id, thread, threads: this.size, sizes } as const;
        const outcome = await member.perform(order);
        if (outcome.kind === "ended") abortTeam(memory, control);
        return outcome;
      }),
    );
    const ended = outcomes.find((outcome) => outcome.kind === "ended");
    if (ended) {
      this.#disband();
      throw new DeviceError({
        what: `a thread ended during a run: ${ended.reason}`,
        where: name,
        hint: "States may be half written; load them anew. The next run starts new threads.",
      });
    }
    const failed = outcomes.find((outcome) => outcome.kind === "failed" && outcome.first);
    if (failed?.kind === "failed") throw new WebAssembly.RuntimeError(failed.message);
  }

  /** All threads, started if there are none or one of them is gone. */
  async #assemble(): Promise<readonly Member[]> {
    const known = await this.#members;
    if (known?.every((member) => member.alive)) return known;
    this.#disband();
    const members = Array.from({ length: this.size }, () => new Member(this.#start));
    const starting = Promise.all(members.map((member) => member.ready)).then(() => members);
    this.#members = starting;
    try {
      await starting;
    } catch (error) {
      for (const member of members) member.thread.stop();
      this.#members = undefined;
      throw error;
    }
    return members;
  }

  #disband(): void {
    const members = this.#members;
    this.#members = undefined;
    members?.then(
      (list) => list.forEach((member) => member.thread.stop()),
      () => undefined,
    );
  }

  /** The program will not run again. */
  forget(program: number): void {
    void this.#turns.take(async () => {
      const members = (await this.#members) ?? [];
      for (const { loaded, thread } of members)
        if (loaded.delete(program)) thread.post({ kind: "forget", program });
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
