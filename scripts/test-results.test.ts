import { expect, it } from "vitest";

import { addResults, closingLine, describeFailures } from "./test-results.ts";

const failure = { name: "a.test.ts › adds", message: "expected 1 to be 2\nat line 3" };

it("sums runs and words the closing line", () => {
  const sum = addResults([
    { passed: 1, skipped: 3, failures: [failure] },
    { passed: 10, skipped: 0, failures: [] },
  ]);
  expect(sum).toEqual({ passed: 11, skipped: 3, failures: [failure] });
  expect(closingLine(sum)).toBe("11 passed, 1 failed");
});

it("names what failed and cuts long messages", () => {
  expect(describeFailures([failure])).toBe(
    "FAILED a.test.ts › adds\n    expected 1 to be 2\n    at line 3",
  );
  const long = Array.from({ length: 50 }, (_, i) => `line ${i}`).join("\n");
  const text = describeFailures([{ name: "b", message: long }]);
  expect(text).toContain("line 39");
  expect(text).not.toContain("line 40");
  expect(text).toContain("(10 more lines)");
});
