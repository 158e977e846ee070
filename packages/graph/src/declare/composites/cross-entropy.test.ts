import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { crossEntropy } from "./cross-entropy.ts";

test("crossEntropy takes one i32 label for each row of a fixed vocabulary", () => {
  const b = new GraphBuilder("loss");
  const logits = b.input("x", "bf16", [2, 3, 7]);
  expect(crossEntropy(logits, b.input("l", "i32", [2, 3])).type).toEqual({
    dtype: "f32",
    shape: [2, 3],
  });
  expect(() => crossEntropy(logits, b.input("m", "i32", [3]))).toThrow(ShapeError);
  expect(() => crossEntropy(logits, b.input("n", "f32", [2, 3]))).toThrow(DTypeError);
  const open = b.input("y", "f32", [3, b.size("V", 1, 9)]);
  expect(() => crossEntropy(open, b.input("o", "i32", [3]))).toThrow(ShapeError);
});
