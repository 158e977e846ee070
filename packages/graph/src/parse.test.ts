import { expect, test } from "vitest";

import { InputError } from "./errors.ts";
import { parseGraph, parseKernel, parseProgram } from "./parse.ts";

const kernel = (body: string): string => `kernel k {
  read x: f32[4]
  write y: f32[4]
  parallel i < 4 {
    ${body}
  }
}`;

test.each([
  ["", 'expected "graph", found "end of text" at line 1, column 1'],
  [
    "graph g {\n  %0 = input() {name: 1e}: f32[]\n}",
    'expected "}", found "e" at line 2, column 24',
  ],
  ["graph g {\n  %0 = inputt(): f32[]\n}", 'there is no op "inputt"'],
  ["graph g {\n  %1 = input(): f32[]\n}", "expected node %0 at line 2, column 3"],
  ["graph g {\n  %0 = input(): f32[T]\n}", '"T" is not a dimension at line 2, column 21'],
  ["graph g {\n  size T in 4..2\n}", "with bounds 4 to 2 is not valid at line 2"],
  ["graph g {\n  size T in 1..2\n  size T in 1..2\n}", 'size "T" is declared twice'],
  ["graph g {\n  %0 = constant(): f32[2] = [1]\n}", "expected 2 elements, found 1"],
  [
    'graph g {\n  %0 = constant(): f32[99999999999] = base64 ""\n}',
    "base64 of 99999999999 elements",
  ],
  ['graph g {\n  output "\\x" = %0\n}', "malformed string at line 2, column 10"],
  ["graph g {\n  ~\n}", 'unexpected character "~" at line 2, column 3'],
  ["graph g {\n}\ngraph h {}", "expected the end of the text at line 3, column 1"],
])("malformed graph %#", (text, message) => {
  expect(() => parseGraph(text)).toThrow(InputError);
  expect(() => parseGraph(text)).toThrow(message);
});

test.each([
  ["store y[i] = z[i]", 'there is no buffer "z" at line 5, column 18'],
  ["store y[i] = j", '"j" is not declared here at line 5, column 18'],
  ["store y[i] = foo(x[i])", 'there is no scalar op "foo"'],
  ["store y[i] = select(true, x[i])", "select takes 3 operands, found 2"],
  ["store y[i] = x[i] +", 'expected a name, found "}" at line 6, column 3'],
  ["repeat i {}", "expected parallel or serial"],
  [`store y[i] = ${"(".repeat(100_000)}`, "levels deep"],
  ["if true { ".repeat(100_000), "levels deep"],
])("malformed kernel %#", (body, message) => {
  expect(() => parseKernel(kernel(body))).toThrow(InputError);
  expect(() => parseKernel(kernel(body))).toThrow(message);
});

test("malformed program", () => {
  expect(() => parseProgram("program p {\n  arena -1 bytes\n}")).toThrow(
    "expected a whole number at line 2, column 9",
  );
  expect(() =>
    parseProgram("program p {\n  arena 4 bytes\n  buffer $1: f32[] at arena 0\n}"),
  ).toThrow("expected buffer $0 at line 3, column 10");
});

test("operators group as they are printed", () => {
  const value = (text: string): unknown => {
    const [loop] = parseKernel(kernel(`store y[i] = ${text}`)).body;
    const [store] = loop?.kind === "loop" ? loop.body : [];
    return store?.kind === "store" ? store.value : undefined;
  };
  expect(value("x[i] - 1.0 - x[i] * 2.0")).toEqual(value("((x[i] - 1.0) - (x[i] * 2.0))"));
  expect(value("x[i] - (1.0 - x[i])")).not.toEqual(value("x[i] - 1.0 - x[i]"));
  expect(value("x[i] - -1.0")).not.toEqual(value("x[i] - 1.0"));
});
