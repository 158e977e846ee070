/**
 * The barrier of a team. In: the address of the control words. Out: the body of a function that returns when all threads have called it.
 * Who waits spins for a while, since the others mostly are not far behind, and sleeps after that. When a thread has failed, the others
 * trap here instead of waiting for it. One that has slept for longer than it is told to traps as well, and leaves `GAVE_UP` behind.
 */
import { controlWords, GAVE_UP } from "../launch/control.ts";
import type { FunctionBuilder, Global, Local } from "./function-builder.ts";

const SECOND = 1_000_000_000n;
/** What a wait returns when its time is over. */
const TIMED_OUT = 2;

/** Access to the control words. */
export interface Words {
  readonly atomic: (
    word: keyof typeof controlWords,
    op: Parameters<FunctionBuilder["atomic"]>[0],
  ) => void;
  readonly load: (word: keyof typeof controlWords) => void;
  readonly add: (word: keyof typeof controlWords, amount: number) => void;
}

export function wordsAt(f: FunctionBuilder, control: number): Words {
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

/** `threads` take part in the run numbered `run`. */
export function barrierBody(f: FunctionBuilder, threads: Global, run: Global, words: Words): void {
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
