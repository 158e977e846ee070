import { describe, expect, it } from "vitest";
import {
  ceilingLoopNames,
  ceilingLoops,
  ceilingModule,
  FLOPS_PER_ROUND,
  READ_STEP,
  SUM_BYTES,
} from "./ceiling-module.ts";

const memory = new WebAssembly.Memory({ initial: 1 });
const load = (loop: string): ((a: number, b: number) => number) =>
  new WebAssembly.Instance(new WebAssembly.Module(ceilingModule()), { bench: { memory } }).exports[
    loop
  ] as never;

describe("the ceilings' module", () => {
  it.each(ceilingLoops.fma)("adds a product to each sum as often as it says, %s", (loop) => {
    const at = 1024;
    const sums = new Float32Array(memory.buffer, at, SUM_BYTES / 4);
    sums.fill(-1);
    load(loop)(10, at);
    const written = sums.filter((sum) => sum !== -1);
    // Nothing is written in between or behind.
    expect(sums.subarray(0, written.length)).toEqual(written);
    const eachOne = (10 * FLOPS_PER_ROUND) / 2 / written.length;
    for (const sum of written) expect(sum).toBeCloseTo(eachOne * 1e-6, 9);
  });

  it.each(ceilingLoops.read)("reads every word of a range once, %s", (loop) => {
    const words = new Int32Array(memory.buffer, 0, (3 * READ_STEP) / 4);
    words.forEach((_, i) => (words[i] = i % 4 === 0 ? i : -1));
    const expected = words.filter((_, i) => i % 4 === 0).reduce((a, b) => a + b, 0);
    expect(load(loop)(0, 3 * READ_STEP)).toBe(expected);
  });

  it("is what engines with relaxed SIMD take, over a memory that threads share too", () => {
    const shared = new WebAssembly.Memory({ initial: 3, maximum: 3, shared: true });
    new Int32Array(shared.buffer).fill(1);
    const module = new WebAssembly.Module(ceilingModule(3));
    const { exports } = new WebAssembly.Instance(module, { bench: { memory: shared } });
    const run = exports["run"] as (...numbers: number[]) => void;
    const sums = new Float32Array(shared.buffer, 0, (3 * SUM_BYTES) / 4);
    sums.fill(-1);
    for (const name of ceilingLoops.fma) run(1, 2, ceilingLoopNames.indexOf(name), 10);
    // Each thread leaves its sums in a place of its own.
    expect([...sums.keys()].filter((i) => sums[i]! > 0)).toEqual(
      Array.from({ length: SUM_BYTES / 4 }, (_, i) => SUM_BYTES / 4 + i),
    );
    new Int32Array(shared.buffer).fill(1);
    for (const name of ceilingLoops.read) {
      const loop = ceilingLoopNames.indexOf(name);
      run(1, 2, loop, 65536);
      // The second thread's part ends behind the memory.
      expect(() => run(1, 2, loop, 2 * 65536)).toThrow(/out of bounds/);
    }
  });
});
