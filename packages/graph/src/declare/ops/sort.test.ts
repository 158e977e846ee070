import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { formatType } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import { countingSort, sort, topK } from "./sort.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 0, 8);
const x = b.input("x", "f32", [T, 10]);
const keys = b.input("keys", "i32", [T]);

describe("types", () => {
  test("top_k", () => {
    expect(topK(x, 3).map(({ type }) => formatType(type))).toEqual(["f32[T, 3]", "i32[T, 3]"]);
    expect(topK(x, 0).map(({ type }) => formatType(type))).toEqual(["f32[T, 0]", "i32[T, 0]"]);
  });

  test("sort", () => {
    const types = sort(x, { descending: true }).map(({ type }) => formatType(type));
    expect(types).toEqual(["f32[T, 10]", "i32[T, 10]"]);
  });

  test("counting_sort", () => {
    const { permutation, inverse, offsets } = countingSort(keys, 6);
    expect([permutation, inverse, offsets].map(({ type }) => formatType(type))).toEqual([
      "i32[T]",
      "i32[T]",
      "i32[7]",
    ]);
  });
});

describe("errors", () => {
  test.each([
    ["more than there are", AttributeError, () => topK(x, 11)],
    ["a broken number", AttributeError, () => topK(x, 1.5)],
    ["k of an axis that may be shorter", AttributeError, () => topK(b.input("y", "f32", [T]), 1)],
    ["bools", DTypeError, () => sort(b.input("flags", "bool", [3]))],
    ["no axis", ShapeError, () => sort(b.scalar(1))],
    ["keys that are floats", DTypeError, () => countingSort(b.input("f", "f32", [T]), 3)],
    ["keys with two axes", ShapeError, () => countingSort(b.input("two", "i32", [T, 2]), 3)],
    ["no groups", AttributeError, () => countingSort(keys, 0)],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });
});

test("cotangents go back to where the values were", () => {
  const [dx] = gradients(sum(topK(x, 3)[0]), [x]);
  expect(formatType(dx!.type)).toBe("f32[T, 10]");
  const [none] = gradients(b.scalar(1), [x]);
  expect(b.nodeOf(none!).op.name).toBe("broadcast");
});
