import { describe, expect, it } from "vitest";
import { groups } from "../case.ts";
import { casesOf } from "../cases.ts";
import type { Results } from "../measure/result.ts";
import type { Verdict } from "./claims.ts";
import { claimsTable, judge } from "./claims.ts";
import { exampleGroup, exampleMeasurement } from "./example.ts";

const find = (verdicts: readonly Verdict[], text: string): Verdict =>
  verdicts.find(({ claim }) => claim.includes(text))!;

/** Limit 1 s for the case's work; ours and peers by their times. */
function products(ours: number, peers: Partial<Record<"tfjs" | "jax-js", number>>): Results {
  return {
    products: exampleGroup([
      exampleMeasurement("ceiling", [1], { facts: { amount: 1e9 } }),
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
    expect(find(good, "multiply-add limit")).toMatchObject({ measured: "80 %", kept: true });
    expect(find(good, "fastest of")).toMatchObject({ measured: "2×", kept: true });
    expect(find(good, "two threads over one")).toMatchObject({
      measured: "1.95× (the limit itself: 1.82×)",
      kept: true,
    });
    const bad = judge(products(2, { tfjs: 3 }));
    expect(find(bad, "multiply-add limit")).toMatchObject({ measured: "50 %", kept: false });
    expect(find(bad, "fastest of")).toMatchObject({ measured: "1.5×", kept: false });
  });

  it("counts what was not measured neither as kept nor as broken", () => {
    for (const { target, measured, kept } of judge({})) {
      expect(measured).toBe("not measured");
      expect(kept).toBeUndefined();
      expect(target).toMatch(/^at (least|most) |^stated$/);
    }
    expect(find(judge(products(1, {})), "fastest of")).toMatchObject({ measured: "not measured" });
  });

  it("compares narrow weights by elements, each against the limit of its own rounds", () => {
    const all = casesOf("memory", false);
    const memory = (machineSpeed: Readonly<Record<string, number>>): Results => ({
      memory: {
        ...exampleGroup([]),
        group: "memory",
        cases: all.map((measured) => {
          const { task, amount } = measured;
          const weights = task.kind === "product" ? task.weights : "f32";
          const limit = machineSpeed[weights] ?? 1;
          return {
            case: measured,
            measurements: [
              exampleMeasurement("ceiling", [1 / limit], { facts: { amount: 1e9 } }),
              // All formats reach 90 % of the limit of their rounds.
              exampleMeasurement("millrace", [amount / 1e9 / 0.9 / limit]),
            ],
          };
        }),
      },
    });
    for (const speeds of [{}, { bf16: 0.5, int4: 2 }]) {
      const verdicts = judge(memory(speeds));
      expect(find(verdicts, "read bandwidth").measured).toBe("90 %");
      expect(find(verdicts, "in bf16, over f32").measured).toBe("2×");
      expect(find(verdicts, "in int4, over f32")).toMatchObject({ measured: "6.4×", kept: true });
    }
  });

  it("finds every case that it names", () => {
    const names = [
      "ceiling",
      "millrace",
      "jax-js",
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
