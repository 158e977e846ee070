// What threads take of a length as they come for it: all of it, once, in whole grains, and less and less at a time.
import fc from "fast-check";
import { expect, it } from "vitest";
import { ModuleBuilder } from "./assembler.ts";
import { defineTeam } from "./team.ts";

interface Thread {
  readonly join: (threads: number) => void;
  readonly meet: () => void;
  readonly take: (length: number, most: number, grain: number) => number;
  readonly stretch: (left: number, most: number, grain: number) => number;
}

/** Threads of a team, called in turns here; the barrier is used by a team of one only, since it would wait. */
function threadsOver(count: number): readonly Thread[] {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const module = new ModuleBuilder();
  module.importMemory({ module: "m", name: "memory", minimum: 1, maximum: 1, shared: true });
  const team = defineTeam(module, 0);
  module.export("take", team.take);
  module.export("stretch", team.stretch);
  module.export("meet", team.barrier);
  const join = module.define({ params: ["i32"], results: [] }, (f) => {
    f.get(f.param(0));
    f.globalSet(team.threads);
  });
  module.export("join", join);
  const compiled = new WebAssembly.Module(module.encode());
  return Array.from({ length: count }, () => {
    const { exports } = new WebAssembly.Instance(compiled, { m: { memory } });
    return exports as unknown as Thread;
  });
}

const sizes = fc.record({
  length: fc.nat(2000),
  most: fc.integer({ min: 1, max: 40 }),
  grain: fc.constantFrom(1, 6, 32),
  turns: fc.array(fc.nat(3), { minLength: 1, maxLength: 50 }),
});

it("is all of it, once, whoever comes when", () => {
  fc.assert(
    fc.property(sizes, ({ length, most: grains, grain, turns }) => {
      const most = grains * grain;
      const threads = threadsOver(4);
      for (const thread of threads) thread.join(4);
      let at = 0;
      let before = most;
      for (let turn = 0; at < length; turn++) {
        const thread = threads[turns[turn % turns.length]!]!;
        expect(thread.take(length, most, grain)).toBe(at);
        const size = thread.stretch(length - at, most, grain);
        expect(size).toBeGreaterThan(0);
        expect(size).toBeLessThanOrEqual(before);
        if (at + size < length) expect(size % grain).toBe(0);
        before = size;
        at += size;
      }
      expect(at).toBe(length);
      for (const thread of threads) expect(thread.take(length, most, grain)).toBe(length);
    }),
  );
});

it("begins anew after a barrier, and one thread takes as much as it may", () => {
  const [thread] = threadsOver(1);
  for (let i = 0; i < 2; i++) {
    expect(thread!.take(100, 60, 6)).toBe(0);
    expect(thread!.stretch(100, 60, 6)).toBe(60);
    expect(thread!.take(100, 60, 6)).toBe(60);
    expect(thread!.stretch(40, 60, 6)).toBe(40);
    expect(thread!.take(100, 60, 6)).toBe(100);
    thread!.meet();
  }
});
