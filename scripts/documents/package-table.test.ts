import { expect, test } from "vitest";
import { formatTable, packageTable, withPackageTable } from "./package-table.ts";

const packages = [
  { name: "@a/one", folder: "packages/one", description: "First" },
  { name: "@a/eleven", folder: "packages/eleven", description: "The eleventh" },
];

test("columns are as wide as their widest cell", () => {
  expect(
    formatTable([
      ["a", "bb"],
      ["ccc", "d"],
    ]),
  ).toBe(["| a   | bb |", "| --- | -- |", "| ccc | d  |"].join("\n"));
});

test("a package links to its own README", () => {
  expect(packageTable(packages).split("\n")[2]).toMatch(
    /^\| \[@a\/one\]\(packages\/one\/README\.md\) +\| First +\|$/,
  );
});

test("only what stands between the marks is replaced", () => {
  const document = [
    "before",
    "<!-- packages: written by scripts/generate-tables.ts -->",
    "old",
    "<!-- end of packages -->",
    "after",
  ].join("\n");
  const renewed = withPackageTable(document, "new")!;
  expect(renewed).toBe(document.replace("\nold\n", "\n\nnew\n\n"));
  expect(withPackageTable(renewed, "new")).toBe(renewed);
  expect(withPackageTable("no marks", "new")).toBeUndefined();
});
