/**
 * What a module holds for the threads that run it in step. In: the address of a few words of shared memory. Out: who a thread is, its
 * share of a range, or what it takes of one, and a barrier. Each thread has an instance of the module over the same memory. Who waits at a barrier
 * spins for a while, since the others mostly are not far behind, and sleeps after that; when a thread has failed, the others
 * trap at their next barrier instead of waiting for it.
 * A thread that has slept for longer than it is told to traps as well, and leaves `GAVE_UP` behind.
 */
import type { Turn } from "../configure/schedule.ts";
import { controlWords, GAVE_UP } from "../launch/control.ts";
import type { ModuleBuilder } from "./assembler.ts";
import type { FunctionBuilder, FunctionRef, Global, Local } from "./function-builder.ts";

/** How a function learns its place in the team. */
export interface Team {
  /** This thread, from 0. */
  readonly thread: Global;
  /** Threads that take part in this run: all, or one. */
  readonly threads: Global;
  /** To be called first by each thread of several. */
  readonly begin: FunctionRef;
  /** Returns when all threads have come to it. */
  readonly barrier: FunctionRef;
  /** `(length, grain, part)`: where the given thread's stretch of `length` iterations begins, a multiple of `grain`. */
  readonly share: FunctionRef;
  /**
   * `(length, most, grain)`: where the stretch begins that this thread takes next of `length` iterations, or a number that is not below
   * `length` when all are taken. Threads that are faster take more of them. All meet before they take of something else.
   */
  readonly take: FunctionRef;
  /**
   * `(left, most, grain)`: how long a stretch is with so many iterations left, itself included: `most` at first, then less and less,
   * so that all threads are done at about the same time; a multiple of `grain` but for the end.
   */
  readonly stretch: FunctionRef;
  /** `(at, units, weight)`: how many tiles of `weight` units begin before `at`, of a stretch of `units`. */
  readonly tilesBefore: FunctionRef;
}

const SECOND = 1_000_000_000n;
/** What a wait returns when its time is over. */
const TIMED_OUT = 2;

/** Access to the control words. */
interface Words {
  readonly atomic: (
    word: keyof typeof controlWords,
    op: Parameters<FunctionBuilder["atomic"]>[0],
  ) => void;
  readonly load: (word: keyof typeof controlWords) => void;
  readonly add: (word: keyof typeof controlWords, amount: number) => void;
}

function wordsAt(f: FunctionBuilder, control: number): Words {
  const atomic = (word: keyof typeof controlWords, op: Parameters<FunctionBuilder["atomic"]>[0]) =>
    f.atomic(op, control + controlWords[word]);
  const load = (word: keyof typeof controlWords): void => {
    f.i32(0);
    atomic(word, "i32.atomic.load");
  };
  const add = (word: keyof typeof controlWords, amount: number): void => {
    f.i32(0);
    f.i32(amount);
    atomic(word, "i32.atomic.rmw.add");
  };
  return { atomic, load, add };
}

function barrierBody(f: FunctionBuilder, threads: Global, run: Global, words: Words): void {
  const { atomic, load, add } = words;
  const clear = (word: "arrived" | "taken"): void => {
    f.i32(0);
    f.i32(0);
    atomic(word, "i32.atomic.store");
  };
  const trapIfAborted = (): void => {
    load("aborted");
    f.globalGet(run);
    f.op("i32.eq");
    f.ifElse(() => f.op("unreachable"));
  };
  f.globalGet(threads);
  f.i32(1);
  f.op("i32.eq");
  f.ifElse(() => {
    clear("taken");
    f.op("return");
  });
  // The phase is read first: a failure from here on changes it, and one before is seen now.
  load("phase");
  const phase = f.save("i32");
  trapIfAborted();
  add("arrived", 1);
  f.i32(1);
  f.op("i32.add");
  f.globalGet(threads);
  f.op("i32.eq");
  f.ifElse(
    () => {
      clear("arrived");
      clear("taken");
      add("phase", 1);
      f.op("drop");
      load("sleeping");
      f.ifElse(() => {
        f.i32(0);
        f.i32(-1);
        atomic("phase", "memory.atomic.notify");
        f.op("drop");
      });
    },
    () => waitForPhase(f, phase, words),
  );
  trapIfAborted();
}

function waitForPhase(f: FunctionBuilder, phase: Local, words: Words): void {
  const { atomic, load, add } = words;
  const spins = f.local("i32");
  const seconds = f.local("i32");
  load("spins");
  f.set(spins);
  f.i32(0);
  f.set(seconds);
  f.block((done) =>
    f.repeat((again) => {
      load("phase");
      f.get(phase);
      f.op("i32.ne");
      f.brIf(done);
      f.increment(spins, -1);
      f.get(spins);
      f.i32(0);
      f.op("i32.gt_s");
      f.brIf(again);
      giveUpAfter(f, seconds, words);
      add("sleeping", 1);
      f.op("drop");
      f.i32(0);
      f.get(phase);
      f.i64(SECOND);
      atomic("phase", "memory.atomic.wait32");
      f.i32(TIMED_OUT);
      f.op("i32.eq");
      // A process that was stopped for long finds one second over, not all.
      f.ifElse(() => f.increment(seconds, 1));
      add("sleeping", -1);
      f.op("drop");
      f.br(again);
    }),
  );
}

/** Traps when as many seconds are over as were granted. */
function giveUpAfter(f: FunctionBuilder, seconds: Local, { atomic, load }: Words): void {
  f.get(seconds);
  f.ifElse(() => {
    load("patience");
    f.get(seconds);
    f.op("i32.eq");
    f.ifElse(() => {
      f.i32(0);
      f.i32(GAVE_UP);
      atomic("patience", "i32.atomic.store");
      f.op("unreachable");
    });
  });
}

/** `min(length, grain * floor(ceil(length / grain) * part / threads))`, in 64 bits where it may be large. */
function shareBody(f: FunctionBuilder, threads: Global): void {
  const [length, grain, part] = f.params as [Local, Local, Local];
  f.get(length);
  f.get(grain);
  f.op("i32.add");
  f.i32(1);
  f.op("i32.sub");
  f.get(grain);
  f.op("i32.div_u", "i64.extend_i32_u");
  f.get(part);
  f.op("i64.extend_i32_u", "i64.mul");
  f.globalGet(threads);
  f.op("i64.extend_i32_u", "i64.div_u", "i32.wrap_i64");
  f.get(grain);
  f.op("i32.mul");
  const start = f.save("i32");
  f.get(start);
  f.get(length);
  f.get(start);
  f.get(length);
  f.op("i32.lt_u", "select");
}

/** `min(left, most)` for one thread; else that of a fraction of what is left, but at least `grain`. */
function stretchBody(f: FunctionBuilder, threads: Global): void {
  const [left, most, grain] = f.params as [Local, Local, Local];
  const least = (a: Local, b: Local): void => {
    f.get(a);
    f.get(b);
    f.get(a);
    f.get(b);
    f.op("i32.lt_s", "select");
  };
  f.globalGet(threads);
  f.i32(1);
  f.op("i32.gt_s");
  f.ifElse(() => {
    // Half of what would be even, in grains, rounded up.
    f.get(left);
    f.globalGet(threads);
    f.get(grain);
    f.op("i32.mul");
    f.i32(2);
    f.op("i32.mul");
    const even = f.save("i32");
    f.get(even);
    f.op("i32.add");
    f.i32(1);
    f.op("i32.sub");
    f.get(even);
    f.op("i32.div_u");
    f.get(grain);
    f.op("i32.mul");
    const part = f.save("i32");
    least(part, most);
    f.set(most);
  });
  least(left, most);
}

function takeBody(f: FunctionBuilder, stretch: FunctionRef, words: Words): void {
  const [length, most, grain] = f.params as [Local, Local, Local];
  f.repeat((again) => {
    words.load("taken");
    const start = f.save("i32");
    f.get(start);
    f.get(length);
    f.op("i32.lt_s");
    f.ifElse(() => {
      f.i32(0);
      f.get(start);
      f.get(start);
      f.get(length);
      f.get(start);
      f.op("i32.sub");
      f.get(most);
      f.get(grain);
      f.call(stretch);
      f.op("i32.add");
      words.atomic("taken", "i32.atomic.rmw.cmpxchg");
      f.get(start);
      f.op("i32.ne");
      f.brIf(again);
    });
    f.get(start);
    f.op("return");
  });
  f.op("unreachable");
}

/** `ceil(min(max(at, 0), units) / weight)`. */
function tilesBeforeBody(f: FunctionBuilder): void {
  const [at, units, weight] = f.params as [Local, Local, Local];
  /** `at` becomes the limit where the limit compares so with it. */
  const limitTo = (limit: () => void, compare: "i32.gt_s" | "i32.lt_s"): void => {
    limit();
    f.get(at);
    limit();
    f.get(at);
    f.op(compare, "select");
    f.set(at);
  };
  limitTo(() => f.i32(0), "i32.gt_s");
  limitTo(() => f.get(units), "i32.lt_s");
  f.get(at);
  f.get(weight);
  f.op("i32.add");
  f.i32(1);
  f.op("i32.sub");
  f.get(weight);
  f.op("i32.div_u");
}

/** Adds a team's globals and functions to a module. Until `run` says otherwise, a thread is alone. */
export function defineTeam(module: ModuleBuilder, control: number): Team {
  const thread = module.global("i32", 0, true);
  const threads = module.global("i32", 1, true);
  const run = module.global("i32", 0, true);
  const three = { params: ["i32", "i32", "i32"], results: ["i32"] } as const;
  const stretch = module.define(three, (f) => stretchBody(f, threads));
  return {
    thread,
    threads,
    begin: module.define({ params: [], results: [] }, (f) => {
      wordsAt(f, control).load("run");
      f.globalSet(run);
    }),
    barrier: module.define({ params: [], results: [] }, (f) =>
      barrierBody(f, threads, run, wordsAt(f, control)),
    ),
    share: module.define(three, (f) => shareBody(f, threads)),
    take: module.define(three, (f) => takeBody(f, stretch, wordsAt(f, control))),
    stretch,
    tilesBefore: module.define(three, tilesBeforeBody),
  };
}

/**
 * The entry of a program for a team: `(thread, threads, …sizes)`. `call` emits a step's call, with the parameters from the
 * given one on as sizes. A team of one runs all steps on its only thread.
 */
export function defineTeamRun(
  module: ModuleBuilder,
  team: Team,
  sizes: number,
  turns: readonly Turn[],
  call: (f: FunctionBuilder, step: number, firstSize: number) => void,
): FunctionRef {
  const params = Array.from({ length: 2 + sizes }, () => "i32" as const);
  return module.define({ params, results: [] }, (f) => {
    const [thread, threads] = f.params as [Local, Local];
    f.get(thread);
    f.globalSet(team.thread);
    f.get(threads);
    f.globalSet(team.threads);
    f.call(team.begin);
    for (const [i, { step, barrier, owner }] of turns.entries()) {
      if (barrier) f.call(team.barrier);
      if (owner === undefined) {
        call(f, step, 2);
        continue;
      }
      // Consecutive steps of one thread stand under one condition.
      const before = turns[i - 1];
      if (!barrier && before?.owner === owner) continue;
      f.get(thread);
      f.i32(owner);
      f.op("i32.eq");
      f.get(threads);
      f.i32(1);
      f.op("i32.eq", "i32.or");
      f.ifElse(() => {
        for (let j = i; turns[j]?.owner === owner && (j === i || !turns[j]!.barrier); j++)
          call(f, turns[j]!.step, 2);
      });
    }
    // Whoever comes through this one knows that all have done their part, and that none has failed.
    f.call(team.barrier);
  });
}
