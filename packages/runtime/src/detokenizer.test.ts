import { byteTokenizer } from "@millrace/model-v3";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Detokenizer } from "./detokenizer.ts";

const bytes = byteTokenizer();

/** Any bytes, whole characters of every length, and special tokens. */
const tokenLists = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 263 }).map((id) => [id]),
      fc.constantFrom("a", "é", "你", "😀", "\uFFFD", "\uFEFF").map((text) => bytes.encode(text)),
      fc.constantFrom("你", "😀").map((text) => bytes.encode(text).slice(0, -1)),
    ),
    { maxLength: 40 },
  )
  .map((parts) => parts.flat());

describe("Detokenizer", () => {
  test("pieces put together are the decoding of all tokens, however they are grouped", () => {
    fc.assert(
      fc.property(tokenLists, fc.integer({ min: 1, max: 5 }), (tokens, group) => {
        const detokenizer = new Detokenizer(bytes);
        let text = "";
        for (let i = 0; i < tokens.length; i += group)
          text += detokenizer.push(tokens.slice(i, i + group));
        text += detokenizer.finish();
        expect(text).toBe(bytes.decode(tokens));
      }),
      { numRuns: 500 },
    );
  });

  test("a character appears with its last byte, and nothing of it before", () => {
    const detokenizer = new Detokenizer(bytes);
    expect(bytes.encode("a😀b").map((id) => detokenizer.push([id]))).toEqual([
      "a",
      "",
      "",
      "",
      "😀",
      "b",
    ]);
    expect(detokenizer.finish()).toBe("");
  });

  test("an unfinished character becomes U+FFFD at the end only", () => {
    const detokenizer = new Detokenizer(bytes);
    expect(detokenizer.push(bytes.encode("x😀").slice(0, 4))).toBe("x");
    expect(detokenizer.finish()).toBe("\uFFFD");
  });

  test("bytes that are never text are not held back for ever", () => {
    const detokenizer = new Detokenizer(bytes);
    const pieces = Array.from({ length: 8 }, () => detokenizer.push([0xff]));
    expect(pieces.join("")).toBe("\uFFFD".repeat(5));
    expect(detokenizer.finish()).toBe("\uFFFD".repeat(3));
  });

  test("a tokenizer that drops the first token's space keeps the spaces in between", () => {
    const words = ["▁one", "▁two", "s", "▁three"];
    const decode = (ids: ArrayLike<number>): string =>
      Array.from(ids, (id) => words[id]!)
        .join("")
        .replaceAll("▁", " ")
        .replace(/^ /, "");
    const detokenizer = new Detokenizer({ decode });
    expect([0, 1, 2, 3, 0].map((id) => detokenizer.push([id]))).toEqual([
      "one",
      " two",
      "s",
      " three",
      " one",
    ]);
  });
});
