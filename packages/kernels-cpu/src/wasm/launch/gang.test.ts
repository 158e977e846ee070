// The gang with a program made for it: threads that meet, trap, or are ended from outside.
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { ModuleBuilder } from "../emit/assembler.ts";
import { defineTeam } from "../emit/team.ts";
import { controlWords } from "./control.ts";
import { Gang } from "./gang.ts";
import { LinearMemory } from "./memory.ts";
import type { Order } from "./messages.ts";
import type { StartThread, Thread } from "./thread.ts";
import { startThread } from "./thread.ts";

const MEET = 0;
const TRAP = 1;
const STAY_AWAY = 2;

/**
 * A program of one size, which says what thread 1 does before all threads meet: nothing, trap, or sleep for ever. Every
 * thread that comes through a hundred barriers adds 1 to the word at `address`, and meets the others again.
 */
function meetingPlace() {
  const memory = new LinearMemory(true);
  const address = memory.allocate(8, "a counter");
  const module = new ModuleBuilder();
  module.importMemory({ module: "m", name: "memory", minimum: 0, maximum: 65536, shared: true });
  const team = defineTeam(module, memory.control);
  const run = module.define({ params: ["i32", "i32", "i32"], results: [] }, (f) => {
    const [thread, threads, what] = [f.param(0), f.param(1), f.param(2)];
    f.get(threads);
    f.globalSet(team.threads);
    f.call(team.begin);
    const ifThread1Does = (deed: number, then: () => void): void => {
      f.get(thread);
      f.i32(1);
      f.op("i32.eq");
      f.get(what);
      f.i32(deed);
      f.op("i32.eq", "i32.and");
      f.ifElse(then);
    };
    ifThread1Does(TRAP, () => f.op("unreachable"));
    ifThread1Does(STAY_AWAY, () => {
      f.i32(address + 4);
      f.i32(0);
      f.i64(-1n);
      f.atomic("memory.atomic.wait32");
      f.op("drop");
    });
    for (let i = 0; i < 100; i++) f.call(team.barrier);
    f.i32(address);
    f.i32(1);
    f.atomic("i32.atomic.rmw.add");
    f.op("drop");
    f.call(team.barrier);
  });
  module.export("run", run);
  const program = {
    name: "meeting",
    module: new WebAssembly.Module(module.encode()),
    imports: { m: { memory: memory.memory } },
    memory: memory.memory,
    control: memory.control,
  };
  const counter = (): number => new Int32Array(memory.memory.buffer)[address / 4]!;
  const { exports } = new WebAssembly.Instance(program.module, program.imports);
  const entry = exports["run"] as (...numbers: number[]) => void;
  /** The calling thread's part in a team of so many. */
  const part = (threads: number, what: number) => (): void => entry(0, threads, what);
  return { job: { id: 7, store: Symbol("store"), program }, counter, part };
}

/** Threads that keep a list of what they are told, and say how many of them keep the process alive. */
function watched() {
  const threads: Thread[] = [];
  const orders: Order["kind"][] = [];
  const needed = new Set<Thread>();
  const start: StartThread = (events) => {
    const thread = startThread(events);
    threads.push(thread);
    needed.add(thread);
    const post = (order: Order): void => {
      orders.push(order.kind);
      thread.post(order);
    };
    const keepAlive = (alive: boolean): void => {
      if (alive) needed.add(thread);
      else needed.delete(thread);
      thread.keepAlive(alive);
    };
    return { ...thread, post, keepAlive };
  };
  return { start, threads, orders, needed };
}

it("all threads come through every barrier, run after run, and a program is sent once", async () => {
  const { start, threads, orders } = watched();
  const gang = new Gang(3, { start });
  const { job, counter } = meetingPlace();
  for (let i = 1; i <= 50; i++) {
    await gang.run(job, [MEET]);
    expect(counter()).toBe(3 * i);
  }
  expect(threads.length).toBe(3);
  gang.forget(job.id);
  gang.forget(job.id);
  await gang.run(job, [MEET]);
  const count = (kind: Order["kind"]): number => orders.filter((order) => order === kind).length;
  expect([count("load"), count("forget"), count("run")]).toEqual([6, 3, 153]);
  gang.stop();
});

it("runs of several programs that are asked for at once come one after the other", async () => {
  const gang = new Gang(2);
  const places = [meetingPlace(), meetingPlace()];
  const jobs = places.map(({ job }, id) => ({ ...job, id }));
  await Promise.all(Array.from({ length: 40 }, (_, i) => gang.run(jobs[i % 2]!, [MEET])));
  expect(places.map(({ counter }) => counter())).toEqual([40, 40]);
  gang.stop();
});

it("a trap of one thread rejects the run, and the gang goes on", async () => {
  const { start, threads } = watched();
  const gang = new Gang(3, { start });
  const { job, counter } = meetingPlace();
  for (let i = 0; i < 3; i++) {
    await expect(gang.run(job, [TRAP])).rejects.toThrow(/unreachable/);
    await gang.run(job, [MEET]);
  }
  expect(counter()).toBe(9);
  expect(threads.length).toBe(3);
  gang.stop();
});

it("a thread that is ended rejects the run, and the next run has new threads", async () => {
  const { start, threads } = watched();
  const gang = new Gang(3, { start });
  const { job, counter } = meetingPlace();
  await gang.run(job, [MEET]);
  const stuck = gang.run(job, [STAY_AWAY]);
  void sleep(50).then(() => threads[1]!.stop());
  await expect(stuck).rejects.toThrow(/a thread ended during a run.* at meeting/);
  await gang.run(job, [MEET]);
  expect(counter()).toBe(6);
  expect(threads.length).toBe(6);
  // Between runs it is noticed, too.
  threads[4]!.stop();
  await sleep(50);
  await gang.run(job, [MEET]);
  expect(threads.length).toBe(9);
  gang.stop();
});

it("threads stop with the last store, and come back", async () => {
  const { start, threads } = watched();
  const gang = new Gang(2, { start, lingerMs: 0 });
  const [first, second] = [meetingPlace(), meetingPlace()];
  await gang.run({ ...first.job, id: 0 }, [MEET]);
  await gang.run({ ...second.job, id: 1 }, [MEET]);
  gang.leave(first.job.store);
  await sleep(20);
  await gang.run({ ...second.job, id: 1 }, [MEET]);
  expect(threads.length).toBe(2);
  gang.leave(second.job.store);
  await sleep(20);
  await gang.run({ ...second.job, id: 1 }, [MEET]);
  expect(threads.length).toBe(4);
  gang.stop();
});

it("the calling thread takes part in place of one, and may or may not from run to run", async () => {
  const { start, threads, orders, needed } = watched();
  const gang = new Gang(3, { start });
  const { job, counter, part } = meetingPlace();
  for (let i = 1; i <= 50; i++) {
    await gang.run(job, [MEET], part(3, MEET));
    expect(counter()).toBe(3 * i);
    expect(needed.size).toBe(0);
  }
  expect(threads.length).toBe(2);
  await gang.run(job, [MEET]);
  expect(needed.size).toBe(0);
  await gang.run(job, [MEET], part(3, MEET));
  expect(counter()).toBe(156);
  expect(threads.length).toBe(3);
  expect(orders.filter((order) => order === "run").length).toBe(105);
  gang.stop();
});

it("a thread that ends after a run in which the caller took part aborts nothing", async () => {
  const { start, threads } = watched();
  const gang = new Gang(2, { start });
  const { job, counter, part } = meetingPlace();
  const { memory, control } = job.program;
  await gang.run(job, [MEET], part(2, MEET));
  threads[0]!.stop();
  await sleep(50);
  expect(new Int32Array(memory.buffer)[(control + controlWords.aborted) / 4]).toBe(0);
  await gang.run(job, [MEET], part(2, MEET));
  expect(counter()).toBe(4);
  expect(threads.length).toBe(2);
  gang.stop();
});

it("a trap reaches the calling thread at its barrier, and its own reaches the others", async () => {
  const { start, threads } = watched();
  const gang = new Gang(3, { start });
  const { job, counter, part } = meetingPlace();
  const traps = (): void => {
    throw new WebAssembly.RuntimeError("mine");
  };
  for (let i = 0; i < 3; i++) {
    await expect(gang.run(job, [TRAP], part(3, TRAP))).rejects.toThrow(/unreachable/);
    await expect(gang.run(job, [MEET], traps)).rejects.toThrow(/mine/);
    await gang.run(job, [MEET], part(3, MEET));
  }
  expect(counter()).toBe(9);
  expect(threads.length).toBe(2);
  gang.stop();
});

it("a thread that does not come is given up, and the next run has new threads", async () => {
  const { start, threads } = watched();
  const gang = new Gang(2, { start, patience: 1 });
  const { job, counter, part } = meetingPlace();
  await expect(gang.run(job, [STAY_AWAY], part(2, STAY_AWAY))).rejects.toThrow(
    /a thread ended during a run: nothing was heard of it for 1 s.* at meeting/,
  );
  await gang.run(job, [MEET], part(2, MEET));
  expect(counter()).toBe(2);
  expect(threads.length).toBe(2);
  gang.stop();
});

it("a program that a thread cannot load fails the run, and the thread goes on", async () => {
  const { start, threads } = watched();
  const gang = new Gang(2, { start });
  const { job, part, counter } = meetingPlace();
  const program = { ...job.program, imports: {} };
  await expect(gang.run({ ...job, id: 8, program }, [MEET], part(2, MEET))).rejects.toThrow(
    /Import/,
  );
  await gang.run(job, [MEET], part(2, MEET));
  expect(counter()).toBe(2);
  expect(threads.length).toBe(1);
  gang.stop();
});

it("threads that cannot start say what to do", async () => {
  const start: StartThread = (events) => {
    queueMicrotask(() => events.ended("no room"));
    return { post: () => undefined, keepAlive: () => undefined, stop: () => undefined };
  };
  const gang = new Gang(2, { start });
  const { job } = meetingPlace();
  for (let i = 0; i < 2; i++)
    await expect(gang.run(job, [MEET])).rejects.toThrow(
      /could not be started: no room.*threads: 1/,
    );
});
