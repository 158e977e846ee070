import { expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { formatType } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import { updateSlice } from "./state.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 1, 4);
const cache = b.state("cache", "f32", [2, 16, 8]);
const rows = b.input("rows", "f32", [2, T, 8]);
const start = b.input("start", "i32", []);

test("has the type of what it updates", () => {
  expect(formatType(updateSlice(cache, rows, start, 1).type)).toBe("f32[2, 16, 8]");
});

test("both parts have derivatives", () => {
  const [dCache, dRows] = gradients(sum(updateSlice(cache, rows, start, 1)), [cache, rows]);
  expect(formatType(dCache!.type)).toBe("f32[2, 16, 8]");
  expect(formatType(dRows!.type)).toBe("f32[2, T, 8]");
});

test.each([
  ["another dtype", DTypeError, () => updateSlice(cache, b.input("h", "f16", [2, T, 8]), start, 1)],
  ["other axes", ShapeError, () => updateSlice(cache, b.input("w", "f32", [2, T, 9]), start, 1)],
  ["no such axis", AttributeError, () => updateSlice(cache, rows, start, 3)],
  ["a start with axes", ShapeError, () => updateSlice(cache, rows, b.input("s", "i32", [1]), 1)],
  ["a start that is a float", DTypeError, () => updateSlice(cache, rows, b.scalar(0), 1)],
])("refuses %s", (_, type, declare) => {
  expect(declare).toThrow(type);
});
