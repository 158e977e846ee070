import { describe, expect, it } from "vitest";
import { exampleGroup, exampleMeasurement } from "./example.ts";
import {
  absenceNotes,
  formatNumber,
  groupTable,
  shareOfCeiling,
  speedRatio,
  versionsOf,
} from "./table.ts";

const ceiling = exampleMeasurement("ceiling", [0.01, 0.02, 0.01], { facts: { amount: 5e8 } });
const ours = exampleMeasurement("millrace", [0.04, 0.08, 0.04]);
const theirs = exampleMeasurement("tfjs", [0.1, 0.2, 0.12], { version: "4.22.0" });

describe("formatNumber", () => {
  it.each([
    [0.012345, "0.0123"],
    [1, "1"],
    [3.14159, "3.14"],
    [99.96, "100"],
    [123.4, "123"],
    [45678.9, "45,679"],
  ])("%d is %s", (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe("speedRatio", () => {
  it("is how many times faster the first is, round by round", () => {
    const { median, low, high } = speedRatio(ours, theirs);
    expect(median).toBeCloseTo(2.5, 10);
    expect(low).toBeCloseTo(2.5, 10);
    expect(high).toBeCloseTo(3, 10);
  });
});

describe("shareOfCeiling", () => {
  it("is the limit's time for the same work over ours, in the same round", () => {
    // 1e9 operations at 5e8 in 0.01 s would take 0.02 s.
    const result = exampleGroup([ceiling, ours]).cases[0]!;
    expect(shareOfCeiling(result, ours)).toEqual({ median: 0.5, low: 0.5, high: 0.5 });
  });

  it("is unknown without a limit, or without one for this number of threads", () => {
    const two = exampleMeasurement("millrace", [1], { threads: 2 });
    expect(shareOfCeiling(exampleGroup([ours]).cases[0]!, ours)).toBeUndefined();
    expect(shareOfCeiling(exampleGroup([ceiling, two]).cases[0]!, two)).toBeUndefined();
    const free = exampleGroup([ceiling, ours], { ceiling: null }).cases[0]!;
    expect(shareOfCeiling(free, ours)).toBeUndefined();
  });
});

describe("groupTable", () => {
  it("has our rate, its share of the limit, and each peer's rate with our ratio", () => {
    expect(groupTable(exampleGroup([ceiling, ours, theirs])).split("\n")).toEqual([
      "| GFLOP/s | threads | limit | Millrace | of the limit | tfjs |",
      "| --- | --: | --: | --: | --: | --: |",
      "| 512³ | 1 | 50 | 25 | 50 % (50–50) | 8.33; 2.5× (2.5–3) |",
    ]);
  });

  it("has the limit without wide registers beside the other, and ours without as a peer's", () => {
    const narrowLimit = exampleMeasurement("ceiling-128", [0.02], { facts: { amount: 5e8 } });
    const narrow = exampleMeasurement("millrace-128", [0.06]);
    const group = exampleGroup([ceiling, narrowLimit, ours, narrow]);
    expect(groupTable(group).split("\n")).toEqual([
      "| GFLOP/s | threads | limit | limit in 128 bits | Millrace | of the limit | millrace-128 |",
      "| --- | --: | --: | --: | --: | --: | --: |",
      "| 512³ | 1 | 50 | 25 | 25 | 50 % (50–50) | 16.7; 1.5× (1.5–1.5) |",
    ]);
    const share = shareOfCeiling(group.cases[0]!, ours, "ceiling-128");
    expect(share).toEqual({ median: 1, low: 1, high: 1 });
  });

  it("has a row for each number of threads and a dash where there is nothing", () => {
    const failed = exampleMeasurement("millrace", [], {
      threads: 2,
      status: "failed",
      reason: "x",
    });
    const peer = exampleMeasurement("tfjs", [0.05], { threads: 2 });
    const rows = groupTable(exampleGroup([ceiling, ours, failed, peer]))
      .split("\n")
      .slice(2);
    expect(rows).toEqual([
      "| 512³ | 1 | 50 | 25 | 50 % (50–50) | – |",
      "| 512³ | 2 | – | – | – | 20 |",
    ]);
  });

  it("turns times over, so that a ratio above one always means that we are faster", () => {
    const group = exampleGroup([ours, theirs], { unit: "ms", amount: 1, ceiling: null });
    expect(groupTable(group).split("\n")).toEqual([
      "| ms | threads | Millrace | tfjs |",
      "| --- | --: | --: | --: |",
      "| 512³ | 1 | 40 | 120; 2.5× (2.5–3) |",
    ]);
  });
});

describe("absenceNotes", () => {
  it("says each reason once, with how many cells it empties", () => {
    const absent = { status: "absent", reason: "not installed", seconds: [] } as const;
    const group = exampleGroup([
      ours,
      exampleMeasurement("tfjs", [], absent),
      exampleMeasurement("tfjs", [], { ...absent, threads: 2 }),
      exampleMeasurement("jax-js", [], { status: "differs", reason: "off by 2\nand more" }),
    ]);
    expect(absenceNotes(group)).toEqual([
      "- tfjs: not installed (2 cells)",
      "- jax-js: differs: off by 2 (1 cell)",
    ]);
  });
});

it("names the versions of those who took part", () => {
  expect(versionsOf([exampleGroup([ceiling, ours, theirs])])).toEqual([
    "millrace 1.0.0",
    "tfjs 4.22.0",
  ]);
});
