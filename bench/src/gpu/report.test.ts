import { describe, expect, it } from "vitest";
import { exampleGroup } from "../report/example.ts";
import { gpuCases } from "./cases.ts";
import type { GpuResults } from "./report.ts";
import { gpuSection, gpuTable } from "./report.ts";

const results: GpuResults = {
  adapter: "Example 1",
  driver: "driver 2.3",
  software: false,
  machine: exampleGroup([]).machine,
  quick: false,
  rounds: 3,
  ceilings: { copy: 1e12, f32: 2e13, f16: 4e13 },
  cases: [
    {
      id: "a",
      label: "in f16",
      flops: 2e10,
      bytes: 1e8,
      ceiling: "f16",
      wallSeconds: 2e-3,
      kernelSeconds: 1e-3,
      dispatches: 4,
    },
    {
      id: "b",
      label: "by the wall",
      flops: 1e10,
      bytes: 2e9,
      ceiling: "f32",
      wallSeconds: 4e-3,
      kernelSeconds: undefined,
      dispatches: undefined,
    },
    { id: "c", label: "wrong", reason: "the result is zero" },
  ],
};

describe("the table of a GPU", () => {
  it("has rates and shares of the device's own ceilings, by the device's clock where there is one", () => {
    const lines = gpuTable(results).split("\n");
    expect(lines[2]).toBe("| in f16 | 1 | 2 | 20,000 | 50 % | 100 | 10 % | 4 |");
    expect(lines[3]).toBe("| by the wall |  | 4 | 2,500 | 13 % | 500 | 50 % |  |");
    expect(lines.at(-1)).toBe("- wrong: the result is zero");
  });

  it("says of software that it is no GPU, and of small sizes that they mean nothing", () => {
    expect(gpuSection(results)).toMatch(/^2026-11-22: Example 1; driver 2\.3\. /);
    expect(gpuSection({ ...results, software: true })).toMatch(
      /^\*\*Example 1 is software: .* Millrace has not been measured on a real GPU\.\*\*\n\n2026/,
    );
    const busy = { ...results, machine: { ...results.machine, load: 1.5 } };
    expect(gpuSection(busy)).toContain("rounds. Other work was going on (load 1.50). Ceilings");
    expect(gpuSection({ ...results, quick: true })).toMatch(/^\*\*Small sizes/);
  });
});

describe("the cases of a GPU", () => {
  it.each([true, false])("have names of their own and count something (quick: %s)", (quick) => {
    const cases = gpuCases(quick);
    expect(new Set(cases.map(({ id }) => id)).size).toBe(cases.length);
    expect(new Set(cases.map(({ label }) => label)).size).toBe(cases.length);
    for (const { flops } of cases) expect(flops).toBeGreaterThan(0);
    for (const widths of ["192/128", "576/512"])
      expect(cases.filter(({ label }) => label.includes(widths)).length).toBeGreaterThan(1);
  });

  it("count a product's operations by hand", () => {
    const [product] = gpuCases(true);
    expect(product!.flops).toBe(2 * 256 * 256 * 256);
  });
});
