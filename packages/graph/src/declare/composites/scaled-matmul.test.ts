import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { fp8Linear, fp8RaggedDot, scaledDot, scaledLinear } from "./scaled-matmul.ts";

test("FP8 products refuse operands that do not fit", () => {
  const b = new GraphBuilder("fp8");
  const x = b.input("x", "f32", [2, 3, 256]);
  const w = b.parameter("w", "f32", [64, 256]);
  expect(fp8Linear(x, w).shape).toEqual([2, 3, 64]);
  expect(() => fp8Linear(x, b.parameter("v", "f32", [64, 255]))).toThrow(ShapeError);
  expect(() => fp8Linear(x, b.parameter("e", "f32", [2, 64, 256]))).toThrow(ShapeError);
  expect(() => fp8Linear(b.input("i", "i32", [3, 256]), w)).toThrow(DTypeError);
  const rows = b.input("r", "f32", [9, 256]);
  const experts = b.parameter("m", "f32", [2, 64, 256]);
  expect(fp8RaggedDot(rows, experts, b.input("o", "i32", [3])).shape).toEqual([9, 64]);
  expect(() => fp8RaggedDot(rows, experts, b.input("g", "f32", [3]))).toThrow(DTypeError);
});

test("the scales given must be those of 1 x 128 and 128 x 128 tiles", () => {
  const b = new GraphBuilder("fp8");
  const codes = b.state("w", "e4m3fn", [130, 256]);
  const scales = b.state("s", "f32", [2, 2]);
  const x = b.input("x", "bf16", [3, 256]);
  expect(scaledLinear(x, codes, scales).type).toEqual({ dtype: "bf16", shape: [3, 130] });
  expect(() => scaledLinear(b.input("y", "f32", [3, 128]), codes, scales)).toThrow(ShapeError);
  const a = b.input("a", "e4m3fn", [3, 256]);
  expect(() => scaledDot(a, b.input("t", "f32", [3, 1]), codes, scales)).toThrow(ShapeError);
});
