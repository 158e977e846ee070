import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { groups } from "../case.ts";
import { sectionNames } from "./document.ts";
import { exampleGroup, exampleMeasurement } from "./example.ts";
import { groupSection, resultsText, withResults } from "./performance.ts";

const document = readFileSync(new URL("../../../docs/performance.md", import.meta.url), "utf8");
const group = exampleGroup([
  exampleMeasurement("millrace", [0.1]),
  exampleMeasurement("tfjs", [], { status: "absent", reason: "not installed", version: "" }),
]);

describe("docs/performance.md", () => {
  it("has a section for the promises, one for each group and one for a GPU", () => {
    expect(sectionNames(document)).toEqual(["promises", ...groups, "gpu"]);
  });

  it("is rewritten group by group; the prose stays", () => {
    const changed = withResults(document, { products: group });
    expect(changed).toContain(groupSection(group));
    const prose = (text: string): string =>
      text.replaceAll(/<!-- bench: \w+ -->[\s\S]*?<!-- bench: end -->/g, "");
    expect(prose(changed)).toBe(prose(document));
    expect(withResults(changed, { products: group })).toBe(changed);
  });
});

describe("groupSection", () => {
  it("says when, on what and with which versions, and what is missing", () => {
    const section = groupSection(group);
    expect(section).toMatch(/^2026-11-22: Example 9000, 2 cores; .*Node 24\.0\.0 \(V8 13\.6\)\./);
    expect(section).toContain("millrace 1.0.0. Medians of 3 rounds.");
    expect(section).toContain("- tfjs: not installed (1 cell)");
    expect(section).not.toContain("Other work");
    const busy = { ...group, machine: { ...group.machine, load: 1.5 } };
    expect(groupSection(busy)).toContain("Other work was going on (load 1.50)");
  });
});

it("results are written with five digits and read back", () => {
  const text = resultsText({ products: exampleGroup([exampleMeasurement("millrace", [1 / 3])]) });
  expect(text).toContain("0.33333");
  expect(JSON.parse(text)).toMatchObject({ products: { rounds: 3 } });
});
