import { expect, it } from "vitest";

import { addCounts, closingLine, countTests } from "./test-counts.ts";

it("counts tests, and a file that cannot be loaded as one failure", () => {
  const counts = countTests({
    numPassedTests: 5,
    numFailedTests: 1,
    numPendingTests: 2,
    numTodoTests: 1,
    testResults: [
      { status: "passed", assertionResults: [{ status: "passed" }] },
      { status: "failed", assertionResults: [{ status: "passed" }, { status: "failed" }] },
      { status: "failed", assertionResults: [] },
    ],
  });
  expect(counts).toEqual({ passed: 5, failed: 2, skipped: 3 });
});

it("sums runs and words the closing line", () => {
  const sum = addCounts(
    { passed: 1, failed: 2, skipped: 3 },
    { passed: 10, failed: 20, skipped: 30 },
  );
  expect(sum).toEqual({ passed: 11, failed: 22, skipped: 33 });
  expect(closingLine(sum)).toBe("11 passed, 22 failed");
});
