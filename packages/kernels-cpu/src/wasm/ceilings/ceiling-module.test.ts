import { describe, expect, it } from "vitest";
import {
  ceilingLoopNames,
  ceilingLoops,
  ceilingModule,
  FLOPS_PER_ROUND,
  READ_STEP,
} from "./ceiling-module.ts";

const memory = new WebAssembly.Memory({ initial: 1 });
const load = (loop: string): ((a: number, b: number) => number) =>
  new WebAssembly.Instance(new WebAssembly.Module(ceilingModule()), { bench: { memory } }).exports[
    loop
  ] as never;

describe("the ceilings' module", () => {
  it("adds a product to each sum as often as it says", () => {
    const bits = new Int32Array(1);
    bits[0] = load("fma")(10, 0);
    // One lane of all sums together: a round's operations, over four lanes of two operations each, of 1e-6.
    const expected = ((10 * FLOPS_PER_ROUND) / 8) * 1e-6;
    expect(new Float32Array(bits.buffer)[0]).toBeCloseTo(expected, 6);
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
    run(0, 2, ceilingLoopNames.indexOf("fma"), 10);
    for (const name of ceilingLoops.read) {
      const loop = ceilingLoopNames.indexOf(name);
      run(1, 2, loop, 65536);
      // The second thread's part ends behind the memory.
      expect(() => run(1, 2, loop, 2 * 65536)).toThrow(/out of bounds/);
    }
  });
});
