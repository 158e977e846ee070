import { describe, expect, it } from "vitest";
import type { Case } from "../case.ts";
import { groups } from "../case.ts";
import { casesOf } from "../cases.ts";
import type { CaseResult, Results } from "../measure/result.ts";
import type { Verdict } from "./claims.ts";
import { claimsTable, judge } from "./claims.ts";
import { exampleCase, exampleGroup, exampleMeasurement } from "./example.ts";

const find = (verdicts: readonly Verdict[], text: string): Verdict =>
  verdicts.find(({ claim }) => claim.includes(text))!;

const plain = { layout: "kn", weights: "f32", copies: 1 } as const;

/** Limit 1 s for the case's work; ours and peers by their times. */
function products(ours: number, peers: Partial<Record<"tfjs" | "jax-js", number>>): Results {
  return {
    products: exampleGroup([
      exampleMeasurement("ceiling", [1], { facts: { amount: 1e9 } }),
      exampleMeasurement("ceiling-128", [1.6], { facts: { amount: 1e9 } }),
      // Both threads do the work of one in a tenth more time.
      exampleMeasurement("ceiling", [1.1], { threads: 2, facts: { amount: 2e9 } }),
      exampleMeasurement("millrace", [ours]),
      exampleMeasurement("millrace", [ours / 1.95], { threads: 2 }),
      ...Object.entries(peers).map(([name, seconds]) =>
        exampleMeasurement(name as "tfjs", [seconds]),
      ),
    ]),
  };
}

describe("judge", () => {
  it("keeps and breaks promises by the numbers", () => {
    const good = judge(products(1.25, { tfjs: 3, "jax-js": 2.5 }));
    expect(find(good, "multiply-add limit")).toMatchObject({
      target: "stated",
      measured: "80 % (80–80), 512³",
    });
    expect(find(good, "limit in 128 bits")).toMatchObject({
      measured: "128 % (128–128), 512³",
      kept: true,
    });
    expect(find(good, "fastest of")).toMatchObject({
      measured: "2× (2–2), 512³, jax-js",
      kept: true,
    });
    expect(find(good, "two threads over one")).toMatchObject({
      measured: "1.95× (1.95–1.95), 512³, the limit itself 1.82× (1.82–1.82)",
      kept: true,
    });
    const bad = judge(products(2.5, { tfjs: 3 }));
    expect(find(bad, "limit in 128 bits")).toMatchObject({ kept: false });
    expect(find(bad, "fastest of")).toMatchObject({ kept: false });
  });

  it("judges by the median, and names the worst of several cases", () => {
    const square = (size: number, seconds: readonly number[]): CaseResult => ({
      case: exampleCase({
        id: `${size}`,
        label: `${size}³`,
        task: { kind: "product", m: size, k: size, n: size, ...plain },
      }),
      measurements: [
        exampleMeasurement("ceiling-128", [1, 1, 1], { facts: { amount: 1e9 } }),
        exampleMeasurement("millrace", seconds),
      ],
    });
    const cases = [square(256, [9, 9, 9]), square(512, [1.25, 1, 2]), square(768, [1.25, 1.3, 1])];
    const verdicts = judge({ products: { ...exampleGroup([]), cases } });
    expect(find(verdicts, "limit in 128 bits")).toMatchObject({
      measured: "80 % (50–100), 512³",
      kept: true,
    });
  });

  it("counts what was not measured neither as kept nor as broken", () => {
    for (const { target, measured, kept } of judge({})) {
      expect(measured).toBe("not measured");
      expect(kept).toBeUndefined();
      expect(target).toMatch(/^at (least|most) |^stated$/);
    }
    expect(find(judge(products(1, {})), "fastest of")).toMatchObject({ measured: "not measured" });
  });

  it("compares narrow weights by elements, round by round", () => {
    // The machine slows down and recovers; every format reaches 90 % of the limit at each moment.
    const speeds = [1, 0.5, 2];
    const memory = (changes: Partial<Case>): Results => ({
      memory: {
        ...exampleGroup([]),
        group: "memory",
        cases: casesOf("memory", false).map((measured) => ({
          case: { ...measured, ...(measured.id.endsWith("int4") ? changes : {}) },
          measurements: [1, 2].flatMap((threads) => [
            exampleMeasurement(
              "ceiling",
              speeds.map((speed) => 1 / speed / threads),
              { threads, facts: { amount: 1e9 } },
            ),
            exampleMeasurement(
              "millrace",
              speeds.map((speed) => measured.amount / 1e9 / 0.9 / speed / threads),
              { threads },
            ),
          ]),
        })),
      },
    });
    const verdicts = judge(memory({}));
    for (const count of ["one thread", "two threads"]) {
      const of = (text: string): Verdict => find(verdicts, `${count}, ${text}`);
      expect(of("f32, of read bandwidth").measured).toBe("90 % (90–90)");
      expect(of("bf16 over f32").measured).toBe("2× (2–2)");
      expect(of("int4 over f32")).toMatchObject({ measured: "7.11× (7.11–7.11)", kept: true });
    }
    // Times of other rounds are not compared.
    const apart = judge(memory({ family: "another" }));
    expect(find(apart, "int4 over f32").measured).toBe("not measured");
    expect(find(apart, "int8 over f32").measured).not.toBe("not measured");
  });

  it("finds every case that it names", () => {
    const names = [
      "ceiling",
      "ceiling-128",
      "millrace",
      "jax-js",
      "tfjs-256",
      "pytorch",
      "pytorch-avx512",
      "llama.cpp",
    ] as const;
    const measurements = names.flatMap((name) =>
      [1, 2].map((threads) => exampleMeasurement(name, [1], { threads, facts: { amount: 1e9 } })),
    );
    const everything: Results = Object.fromEntries(
      groups.map((group) => {
        const cases = casesOf(group, false).map((measured) => ({ case: measured, measurements }));
        return [group, { ...exampleGroup([]), group, cases }];
      }),
    );
    for (const verdict of judge(everything)) expect(verdict.measured).not.toBe("not measured");
  });
});

it("shows promises as a table", () => {
  const verdicts = [
    { claim: "fast", target: "at least 2×", measured: "3×", kept: true },
    { claim: "small", target: "stated", measured: "1×", kept: undefined },
  ];
  expect(claimsTable(verdicts).split("\n").slice(2)).toEqual([
    "| fast | at least 2× | 3× | yes |",
    "| small | stated | 1× |  |",
  ]);
});
