import { expect, test } from "vitest";
import { AttributeError, DTypeError } from "../../errors.ts";
import { GraphBuilder } from "../builder.ts";
import { logSoftmax, softmax } from "./softmax.ts";

test("softmax and its logarithm take floats and an axis that exists", () => {
  const b = new GraphBuilder("softmax");
  for (const f of [softmax, logSoftmax]) {
    expect(() => f(b.input("i", "i32", [3]))).toThrow(DTypeError);
    expect(() => f(b.input("x", "f32", [3]), 1)).toThrow(AttributeError);
    expect(() => f(b.input("s", "f32", []))).toThrow(AttributeError);
    expect(f(b.input("y", "bf16", [2, 3]), 0).type).toEqual({ dtype: "bf16", shape: [2, 3] });
  }
});
