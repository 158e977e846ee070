import { describe, expect, it } from "vitest";
import { replaceSection, sectionNames } from "./document.ts";

const document = `# Title

Prose.

<!-- bench: products -->

old

<!-- bench: end -->

More prose.

<!-- bench: train -->
<!-- bench: end -->
`;

describe("replaceSection", () => {
  it("replaces one section and nothing else", () => {
    const changed = replaceSection(document, "products", "| a |\n");
    expect(changed).toBe(document.replace("old", "| a |"));
    expect(replaceSection(document, "train", "x")).toContain(
      "old\n\n<!-- bench: end -->\n\nMore prose.\n\n<!-- bench: train -->\n\nx\n\n<!-- bench: end -->\n",
    );
  });

  it("gives the same document when it is done twice", () => {
    const once = replaceSection(document, "train", "x");
    expect(replaceSection(once, "train", "x")).toBe(once);
  });

  it("names a section that is not there", () => {
    expect(() => replaceSection(document, "decode", "x")).toThrow(/no section decode/);
  });
});

it("finds the sections", () => {
  expect(sectionNames(document)).toEqual(["products", "train"]);
});
