import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { addDims, formatType, multiplyDims } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import { concatenate, pad, reshape, slice, transpose } from "./movement.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 2, 8);
const x = b.input("x", "f32", [T, 6]);

test("types", () => {
  expect(formatType(reshape(x, [T, 2, 3]).type)).toBe("f32[T, 2, 3]");
  expect(formatType(reshape(x, [multiplyDims(T, 6)]).type)).toBe("f32[6*T]");
  expect(formatType(transpose(x).type)).toBe("f32[6, T]");
  expect(transpose(x, [0, 1])).toBe(x);
  expect(formatType(slice(x, 1, 1, 3, 2).type)).toBe("f32[T, 3]");
  expect(formatType(slice(x, 0, 1, addDims(T, -1)).type)).toBe("f32[T-1, 6]");
  expect(formatType(pad(x, 0, 1, T).type)).toBe("f32[2*T+1, 6]");
  expect(formatType(concatenate([x, x, b.input("y", "f32", [1, 6])], 0).type)).toBe(
    "f32[2*T+1, 6]",
  );
});

describe("errors", () => {
  test.each([
    ["another number of elements", ShapeError, () => reshape(x, [T, 7])],
    ["an axis twice", AttributeError, () => transpose(x, [0, 0])],
    ["an axis that is not there", AttributeError, () => transpose(x, [0, 2])],
    ["a slice beyond the end", ShapeError, () => slice(x, 1, 2, 3, 2)],
    ["a slice that may be beyond the end", ShapeError, () => slice(x, 0, 2, 1)],
    ["a slice backwards", ShapeError, () => slice(x, 1, 0, 2, -1)],
    ["negative padding", ShapeError, () => pad(x, 0, -1, 0)],
    ["nothing to concatenate", AttributeError, () => concatenate([], 0)],
    ["two dtypes", DTypeError, () => concatenate([x, b.input("h", "f16", [T, 6])], 0)],
    ["other axes", ShapeError, () => concatenate([x, b.input("z", "f32", [T, 5])], 0)],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });
});

test.each([
  ["reshape", () => reshape(x, [2, 3, T])],
  ["transpose", () => transpose(x)],
  ["slice", () => slice(x, 1, 1, 2)],
  ["slice with a step", () => slice(x, 1, 1, 3, 2)],
  ["slice with a step to the end", () => slice(x, 1, 1, 2, 4)],
  ["pad", () => pad(x, 1, 2, 3)],
  ["concatenate", () => concatenate([x, x], 1)],
])("the derivative of %s has the type of its input", (_, declare) => {
  const [dx] = gradients(sum(declare()), [x]);
  expect(formatType(dx!.type)).toBe("f32[T, 6]");
});
