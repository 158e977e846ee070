import { expect, test } from "vitest";
import { MetricsRecorder } from "./metrics.ts";

test("speeds leave out the reader's time and the first token", () => {
  let time = 1000;
  const recorder = new MetricsRecorder(() => time);
  expect(recorder.metrics.prefillTokensPerSecond).toBe(0);
  time += 500;
  recorder.prefilled(100);
  time += 60_000;
  recorder.roundStarts();
  time += 250;
  recorder.decoded(3, 2, 2);
  time += 60_000;
  recorder.roundStarts();
  time += 250;
  recorder.decoded(1, 2, 0);
  expect(recorder.metrics).toEqual({
    drafted: 4,
    accepted: 2,
    rounds: 2,
    prefillTokensPerSecond: 200,
    decodeTokensPerSecond: 8,
  });
});

test("a coarse clock gives finite speeds", () => {
  const recorder = new MetricsRecorder(() => 5);
  recorder.prefilled(3);
  recorder.roundStarts();
  recorder.decoded(1, 0, 0);
  expect(Number.isFinite(recorder.metrics.prefillTokensPerSecond)).toBe(true);
  expect(Number.isFinite(recorder.metrics.decodeTokensPerSecond)).toBe(true);
});
