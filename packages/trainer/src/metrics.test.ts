import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { openMetricsFile, readMetricsFile } from "./metrics-file.ts";
import {
  createProgressLine,
  formatCount,
  formatDuration,
  formatMetricsLine,
  formatProgress,
  maxViolation,
  metricsLengthAtStep,
  parseMetrics,
} from "./metrics.ts";

describe("metrics lines", () => {
  const text = [1, 2, 3].map((step) => formatMetricsLine({ step, loss: 4 - step })).join("");

  it("read back, not-a-number included", () => {
    const record = { step: 3, loss: Number.NaN, maxVioPerLayer: [0.5, 1] };
    expect(parseMetrics(formatMetricsLine(record))).toEqual([record]);
  });

  it("are never more than the whole lines, wherever the text is torn", () => {
    fc.assert(
      fc.property(fc.nat({ max: text.length }), (length) => {
        const torn = text.slice(0, length);
        const whole = torn.split("\n").length - 1;
        expect(parseMetrics(torn).map((record) => record.step)).toEqual([1, 2, 3].slice(0, whole));
        expect(torn.slice(0, metricsLengthAtStep(torn, 2)).split("\n").length - 1).toBe(
          Math.min(2, whole),
        );
      }),
    );
  });

  it("leave out what is no record", () => {
    expect(parseMetrics('\n[]\n{"loss":1}\n{"step":1,"loss":2}\nnull\n')).toEqual([
      { step: 1, loss: 2 },
    ]);
  });
});

describe("openMetricsFile", () => {
  it("cuts to the resumed step and goes on as if never stopped", () => {
    const directory = mkdtempSync(join(tmpdir(), "millrace-metrics-"));
    try {
      const path = join(directory, "metrics.jsonl");
      const first = openMetricsFile(path, 0);
      for (const step of [1, 2, 3]) first.append({ step, loss: step });
      first.close();
      const whole = readFileSync(path, "utf8");
      appendFileSync(path, '{"step":4,"lo');

      const resumed = openMetricsFile(path, 2);
      expect(resumed.earlier.map((record) => record.step)).toEqual([1, 2]);
      resumed.append({ step: 3, loss: 3 });
      resumed.close();
      expect(readFileSync(path, "utf8")).toBe(whole);

      openMetricsFile(path, 0).close();
      expect(readMetricsFile(path)).toEqual([]);
      expect(readMetricsFile(join(directory, "none.jsonl"))).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("names the file that cannot be written", () => {
    expect(() => openMetricsFile(join(tmpdir(), "no", "such", "metrics.jsonl"), 0)).toThrow(
      /cannot be written \(ENOENT\) at .*metrics\.jsonl/,
    );
  });
});

describe("maxViolation", () => {
  it("is the largest load over the mean, minus one", () => {
    expect(maxViolation([4, 4, 4, 4])).toBe(0);
    expect(maxViolation([8, 0, 4, 4])).toBe(1);
    expect(maxViolation([0, 0])).toBe(0);
  });
});

describe("progress", () => {
  it("has losses, speed, balance and the time left on one line", () => {
    expect(
      formatProgress(
        { step: 20, loss: 3.21456, mtpLoss: 3.8, tokensPerSecond: 41_234, maxVio: 0.314 },
        { totalSteps: 2000, secondsLeft: 724 },
      ),
    ).toBe("step   20/2000  loss 3.2146  mtp 3.8000  41.2k tok/s  MaxVio 0.31  12 m 04 s left");
  });

  it("formats counts and durations", () => {
    expect([0, 999, 1000, 3.4e6].map(formatCount)).toEqual(["0", "999", "1.0k", "3.40M"]);
    expect([0, 59, 60, 7500].map(formatDuration)).toEqual(["0 s", "59 s", "1 m 00 s", "2 h 05 m"]);
  });

  it("updates one line on a terminal and prints some lines elsewhere", () => {
    const run = (isTTY: boolean): string => {
      let out = "";
      let time = 0;
      const line = createProgressLine({
        stream: { isTTY, columns: 40, write: (text) => (out += text) },
        totalSteps: 10,
        every: 5,
        now: () => time,
      });
      for (let step = 1; step <= 10; step++) {
        time += 1000;
        line.show({ step, loss: 1 });
      }
      line.note("done");
      line.finish();
      return out;
    };
    expect(run(false)).toBe(
      "step  1/10  loss 1.0000  9 s left\nstep  5/10  loss 1.0000  5 s left\nstep 10/10  loss 1.0000  0 s left\ndone\n",
    );
    expect(run(true).match(/\n/g)?.length).toBe(1);
    expect(run(true)).toContain("\rstep  7/10  loss 1.0000  3 s left\u001b[K");
  });
});
