import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { bf16Linear, bf16RaggedDot } from "./bf16-matmul.ts";

test("bf16 products keep the dtype of x and refuse operands that do not fit", () => {
  const b = new GraphBuilder("bf16");
  const x = b.input("x", "f32", [2, 3, 5]);
  const w = b.parameter("w", "f32", [4, 5]);
  expect(bf16Linear(x, w).type).toEqual({ dtype: "f32", shape: [2, 3, 4] });
  expect(() => bf16Linear(x, b.parameter("v", "f32", [4, 6]))).toThrow(ShapeError);
  expect(() => bf16Linear(b.input("i", "i32", [5]), w)).toThrow(DTypeError);
  const offsets = b.input("o", "i32", [3]);
  const experts = b.parameter("e", "f32", [2, 4, 5]);
  expect(() => bf16RaggedDot(x, experts, offsets)).toThrow(ShapeError);
  expect(() => bf16RaggedDot(b.input("r", "f32", [6, 5]), w, offsets)).toThrow(ShapeError);
});
