import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { formatType, multiplyDims } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import {
  dimension,
  dynamicSlice,
  iota,
  oneHot,
  putAlongAxis,
  scatterAdd,
  take,
  takeAlongAxis,
} from "./gather.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 0, 8);
const x = b.input("x", "f32", [3, 10, 4]);
const indices = b.input("indices", "i32", [2, T]);
const picks = b.input("picks", "i32", [3, 2, 4]);

describe("types", () => {
  test("the axes of the indices take the place of the axis", () => {
    expect(formatType(take(x, indices, 1).type)).toBe("f32[3, 2, T, 4]");
    expect(formatType(take(x, b.scalar(2, "i32"), 0).type)).toBe("f32[10, 4]");
    expect(formatType(dynamicSlice(x, b.scalar(2, "i32"), T, 1).type)).toBe("f32[3, T, 4]");
  });

  test("along an axis the indices have the output's shape", () => {
    expect(formatType(takeAlongAxis(x, picks, 1).type)).toBe("f32[3, 2, 4]");
    expect(formatType(putAlongAxis(takeAlongAxis(x, picks, 1), picks, 1, 10).type)).toBe(
      "f32[3, 10, 4]",
    );
  });

  test("many picks are put by a scatter, few by comparing", () => {
    const many = b.input("many", "i32", [3, 10, T]);
    const values = b.input("values", "f32", [3, 10, T]);
    expect(formatType(putAlongAxis(values, many, 2, 7).type)).toBe("f32[3, 10, 7]");
    expect(b.nodes.filter((node) => node.op.name === "scatter_add")).toHaveLength(1);
  });

  test("positions and sizes", () => {
    expect(formatType(iota(b, "i32", [2, T], 1).type)).toBe("i32[2, T]");
    expect(formatType(dimension(b, multiplyDims(T, 2), "f32").type)).toBe("f32[]");
    expect(formatType(oneHot(indices, 7, "bf16").type)).toBe("bf16[2, T, 7]");
  });

  test("sums by index", () => {
    const updates = b.input("updates", "bf16", [T, 5]);
    expect(formatType(scatterAdd(b.input("to", "i32", [T]), updates, 9).type)).toBe("bf16[9, 5]");
  });
});

describe("errors", () => {
  test.each([
    ["indices that are floats", DTypeError, () => take(x, x, 0)],
    ["no such axis", AttributeError, () => take(x, indices, 3)],
    ["indices of other axes", ShapeError, () => takeAlongAxis(x, indices, 1)],
    ["positions as narrow floats", DTypeError, () => iota(b, "bf16" as "f32", [2], 0)],
    ["positions along no axis", AttributeError, () => iota(b, "i32", [], 0)],
    [
      "sums of bools",
      DTypeError,
      () => scatterAdd(b.input("i", "i32", [3]), b.input("p", "bool", [3]), 2),
    ],
    [
      "other numbers of rows",
      ShapeError,
      () => scatterAdd(b.input("j", "i32", [3]), b.input("u", "f32", [4]), 2),
    ],
    [
      "a negative size",
      ShapeError,
      () => scatterAdd(b.input("j", "i32", [3]), b.input("v", "f32", [3]), -1),
    ],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });
});

describe("derivatives", () => {
  test("of a read is a sum by index, and the indices have none", () => {
    const [dx] = gradients(sum(take(x, indices, 1)), [x]);
    expect(formatType(dx!.type)).toBe("f32[3, 10, 4]");
    expect(
      b.nodes.some((node) => node.op.name === "scatter_add" && node.attrs["size"] === 10),
    ).toBe(true);
    expect(() => gradients(sum(take(x, indices, 1)), [indices])).toThrow(DTypeError);
  });

  test("of a read along an axis has the type of what was read", () => {
    const [dx] = gradients(sum(takeAlongAxis(x, picks, 1)), [x]);
    expect(formatType(dx!.type)).toBe("f32[3, 10, 4]");
  });
});
