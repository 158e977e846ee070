import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { linearTicks, renderChart, thinOut } from "./report/chart.ts";
import { renderReport } from "./report.ts";

const records = Array.from({ length: 50 }, (_, i) => ({
  step: i + 1,
  loss: 5 - i / 20,
  mtpLoss: 6 - i / 20,
  gradNorm: 1 + 1 / (i + 1),
  tokensPerSecond: 4000 + i,
  maxVioPerLayer: [1, 0.5],
  ...(i % 10 === 9 ? { heldOutLoss: 5, heldOutBitsPerByte: 7 } : {}),
}));

describe("renderReport", () => {
  const page = renderReport({
    title: "tiny <run>",
    records,
    figures: [{ label: "Final loss", value: 2.55 }],
    samples: [{ prompt: "a<b", text: "</script><script>alert(1)</script>", note: "greedy" }],
    tables: [
      { title: "Configuration", rows: { hidden_size: 64, q_lora_rank: null, absent: undefined } },
    ],
    bitsPerByteReference: { name: "gzip -9", value: 3.5 },
    moeLayerNames: ["layer 1", "MTP module"],
  });

  it("has every curve, figure, table and sample", () => {
    for (const text of [
      "MTP loss",
      "Held-out bits per byte",
      "MaxVio per layer",
      "Gradient norm",
      "Tokens per second",
      "gzip -9 3.5",
      "MTP module",
      "2.55",
      "hidden_size",
    ])
      expect(page).toContain(text);
    expect(page.match(/<svg /g)?.length).toBe(6);
    expect(page).not.toContain("absent");
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  it("needs no network and lets no text become markup", () => {
    expect(page).not.toMatch(/(?:src|href)=|@import|url\(/);
    expect(page.match(/https?:\/\/[^"]*/g)).toEqual(["http://www.w3.org/2000/svg"]);
    expect(page).not.toContain("<script>alert");
    expect(page).toContain("<title>tiny &#60;run&#62;</title>");
  });

  it("is a page before the first step too", () => {
    expect(renderReport({ title: "empty", records: [] })).toContain("No step has finished yet");
  });
});

describe("renderChart", () => {
  it("draws any finite numbers within its frame", () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: false, min: -1e6, max: 1e6 }), { maxLength: 40 }),
        fc.boolean(),
        fc.boolean(),
        (values, log, fromZero) => {
          const text = renderChart(
            {
              title: "t",
              series: [{ name: "s", points: values.map((value, i) => [i, value] as const) }],
              scale: log ? "log" : "linear",
              fromZero: fromZero && !log,
            },
            0,
          );
          const [, path = ""] = / d="([^"]*)"/.exec(text) ?? [];
          expect(path === "" || path.startsWith("M")).toBe(true);
          for (const [, x, y] of path.matchAll(/[ML]([^ ]*) ([^ML]*)/g)) {
            expect(Number(x)).toBeGreaterThanOrEqual(0);
            expect(Number(x)).toBeLessThanOrEqual(560);
            expect(Number(y)).toBeGreaterThanOrEqual(0);
            expect(Number(y)).toBeLessThanOrEqual(280);
          }
        },
      ),
    );
  });

  it("thins out long runs to their means", () => {
    const points = Array.from({ length: 4000 }, (_, i) => [i, i % 2] as const);
    const thin = thinOut(points);
    expect(thin.length).toBe(400);
    expect(thin.every(([, value]) => value === 0.5)).toBe(true);
    expect(thin.at(-1)?.[0]).toBe(3999);
  });

  it("puts ticks at round numbers", () => {
    expect(linearTicks(0.3, 3.7, 5, true)).toEqual([0, 1, 2, 3, 4]);
    expect(linearTicks(1, 600, 6, false)).toEqual([100, 200, 300, 400, 500, 600]);
    expect(linearTicks(2, 2, 5, true)).toEqual([2]);
  });
});
