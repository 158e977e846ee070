import { expect, test } from "vitest";
import { findExamples, withOutputs } from "./examples.ts";

const document = [
  "Text.",
  "```ts",
  "not run",
  "```",
  "```ts run",
  "console.log(1);",
  "```",
  "It prints:",
  "```text output",
  "1",
  "```",
  "```sh run",
  "true",
  "```",
  "",
].join("\n");

test("runnable blocks are found, with the output that follows them", () => {
  const examples = findExamples(document);
  expect(examples.map(({ language, code, output }) => ({ language, code, output }))).toEqual([
    { language: "ts", code: "console.log(1);\n", output: "1\n" },
    { language: "sh", code: "true\n", output: undefined },
  ]);
  expect(examples[0]!.line).toBe(6);
});

test("outputs are replaced where they stand", () => {
  const [example] = findExamples(document);
  const replaced = withOutputs(document, [{ at: example!.outputAt!, text: "2\n" }]);
  expect(replaced).toBe(document.replace("```text output\n1\n", "```text output\n2\n"));
});
