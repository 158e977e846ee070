import { expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { rmsNorm } from "./rms-norm.ts";

test("rmsNorm takes one float weight for each element of the last axis", () => {
  const b = new GraphBuilder("norm");
  const x = b.input("x", "bf16", [2, 6]);
  expect(rmsNorm(x, b.input("w", "f32", [6])).type).toEqual(x.type);
  expect(() => rmsNorm(x, b.input("v", "f32", [5]))).toThrow(ShapeError);
  expect(() => rmsNorm(x, b.input("m", "f32", [2, 6]))).toThrow(ShapeError);
  expect(() => rmsNorm(b.input("s", "f32", []), b.input("w", "f32", [6]))).toThrow(ShapeError);
  expect(() => rmsNorm(b.input("i", "i32", [6]), b.input("w", "f32", [6]))).toThrow(DTypeError);
});
