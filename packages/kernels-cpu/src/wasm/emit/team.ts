/**
 * What a module holds for the threads that run it in step. In: the address of a few words of shared memory. Out: who a thread is, its
 * share of a range or what it takes of one, a barrier, and the entry that runs a program's steps. Each thread has an instance of the
 * module over the same memory.
 */
import type { Turn } from "../configure/schedule.ts";
import type { ModuleBuilder } from "./assembler.ts";
import { barrierBody, wordsAt } from "./barrier.ts";
import type { FunctionBuilder, FunctionRef, Global, Local } from "./function-builder.ts";
import { shareBody, stretchBody, takeBody, tilesBeforeBody } from "./shares.ts";

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
