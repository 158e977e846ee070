/**
 * Who gets how much of a length. In: how many threads there are. Out: bodies of functions: a thread's even share, what it takes next of what
 * is left, and which tiles of different weight fall into a share.
 */
import type { Words } from "./barrier.ts";
import type { FunctionBuilder, FunctionRef, Global, Local } from "./function-builder.ts";

/** `min(length, grain * floor(ceil(length / grain) * part / threads))`, in 64 bits where it may be large. */
export function shareBody(f: FunctionBuilder, threads: Global): void {
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
export function stretchBody(f: FunctionBuilder, threads: Global): void {
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

/** The counter of what is taken moves on by a stretch, unless another thread was faster. */
export function takeBody(f: FunctionBuilder, stretch: FunctionRef, words: Words): void {
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
export function tilesBeforeBody(f: FunctionBuilder): void {
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
