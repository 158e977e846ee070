import { describe, expect, it } from "vitest";
import { Progress } from "./progress.ts";

function watched(isTTY: boolean): {
  readonly progress: Progress;
  readonly written: string[];
  readonly clock: { now: number };
} {
  const written: string[] = [];
  const clock = { now: 5000 };
  const stream = { isTTY, columns: 40, write: (text: string) => written.push(text) };
  return { progress: new Progress([4, 8], stream, () => clock.now), written, clock };
}

describe("Progress", () => {
  it("is a line for each case without a terminal, the time left by what is done", () => {
    const { progress, written, clock } = watched(false);
    progress.begin("one")("round 1", 2);
    clock.now += 10_000;
    progress.begin("two");
    progress.clear();
    expect(written).toEqual(["1/2 one\n", "2/2 two; 20 s left\n"]);
  });

  it("is one line on a terminal, no longer than that", () => {
    const { progress, written, clock } = watched(true);
    const watch = progress.begin("one");
    watch("preparing", 4);
    clock.now += 3000;
    watch("round 1", 1);
    progress.begin("two ".repeat(12))("round 1", 8);
    expect(written[0]).toBe("\r1/2 one: preparing\u001b[K");
    expect(written[1]).toBe("\r1/2 one: round 1; 9 s left\u001b[K");
    expect(written[2]).toBe(`\r2/2 ${"two ".repeat(12)}`.slice(0, 40) + "\u001b[K");
  });
});
