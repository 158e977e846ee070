import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { permuteRows, repeatRows } from "./permute-rows.ts";

test("permuteRows takes two i32 permutations of all rows", () => {
  const b = new GraphBuilder("rows");
  const x = b.input("x", "f32", [4, 3]);
  const [four, three] = [b.input("p", "i32", [4]), b.input("q", "i32", [3])];
  expect(permuteRows(x, four, four).type).toEqual(x.type);
  expect(() => permuteRows(x, four, three)).toThrow(ShapeError);
  expect(() => permuteRows(x, b.input("f", "f32", [4]), four)).toThrow(DTypeError);
});

test("repeatRows multiplies the first axis, symbolic or not", () => {
  const b = new GraphBuilder("rows");
  expect(repeatRows(b.input("x", "f32", [4, 3]), 2).shape).toEqual([8, 3]);
  expect(repeatRows(b.input("y", "f32", [b.size("T", 0, 9)]), 2).shape).toHaveLength(1);
  expect(() => repeatRows(b.scalar(1), 2)).toThrow(ShapeError);
});
