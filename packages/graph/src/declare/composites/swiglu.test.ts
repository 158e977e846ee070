import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { silu, swiglu } from "./swiglu.ts";

test("swiglu takes two tensors of one float type", () => {
  const b = new GraphBuilder("swiglu");
  const x = b.input("x", "f32", [3]);
  expect(() => swiglu(x, b.input("y", "f32", [4]))).toThrow(ShapeError);
  expect(() => swiglu(x, b.input("z", "bf16", [3]))).toThrow(DTypeError);
  expect(() => silu(b.input("i", "i32", [3]))).toThrow(DTypeError);
});
