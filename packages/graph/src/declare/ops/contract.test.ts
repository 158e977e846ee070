import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { formatType } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import { dot, dotGeneral, freeAxes, linear, raggedDot, raggedOuter } from "./contract.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 1, 8);
const x = b.input("x", "bf16", [T, 4]);
const w = b.input("w", "f32", [6, 4]);
const q = b.input("q", "f32", [2, 3, T, 4]);
const k = b.input("k", "f32", [2, 7, 3, 4]);
const experts = b.input("experts", "f32", [5, 6, 4]);
const offsets = b.input("offsets", "i32", [6]);

describe("dot_general", () => {
  test("output axes are batch, free of lhs, free of rhs", () => {
    const scores = dotGeneral(q, k, {
      lhsBatch: [0, 1],
      rhsBatch: [0, 2],
      lhsContract: [3],
      rhsContract: [3],
    });
    expect(formatType(scores.type)).toBe("f32[2, 3, T, 7]");
    expect(freeAxes(4, [3], [0, 1])).toEqual([2]);
  });

  test("linear and dot give the dtype of x, or the one asked for", () => {
    expect(formatType(linear(x, w).type)).toBe("bf16[T, 6]");
    expect(formatType(linear(x, w, "f32").type)).toBe("f32[T, 6]");
    expect(formatType(dot(w, b.input("m", "f32", [4, 3])).type)).toBe("f32[6, 3]");
    expect(formatType(dot(w, b.input("v", "f32", [4])).type)).toBe("f32[6]");
  });

  const attrs = { lhsContract: [1], rhsContract: [1] };
  test.each([
    ["sizes differ", ShapeError, () => dot(x, w)],
    ["integers", DTypeError, () => linear(b.input("i", "i32", [4, 4]), w)],
    ["an integer result", DTypeError, () => linear(x, w, "i32")],
    ["axes without a partner", AttributeError, () => dotGeneral(x, w, { ...attrs, lhsBatch: [0] })],
    [
      "an axis used twice",
      AttributeError,
      () => dotGeneral(w, w, { ...attrs, lhsBatch: [1], rhsBatch: [1] }),
    ],
    ["no such axis", AttributeError, () => dotGeneral(x, w, { ...attrs, lhsContract: [2] })],
  ])("refuses: %s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });

  test("the derivative of a linear by its weight needs no transposition", () => {
    const loss = sum(linear(b.input("x32", "f32", [T, 4]), w));
    const before = b.nodes.length;
    const [dw] = gradients(loss, [w]);
    expect(formatType(dw!.type)).toBe("f32[6, 4]");
    expect(b.nodeOf(dw!).op.name).toBe("dot_general");
    expect(b.nodes.length).toBeGreaterThan(before);
  });
});

describe("ragged products", () => {
  test("types", () => {
    expect(formatType(raggedDot(x, experts, offsets).type)).toBe("bf16[T, 6]");
    expect(formatType(raggedOuter(x, x, offsets, "f32").type)).toBe("f32[5, 4, 4]");
  });

  test.each([
    [
      "offsets of another length",
      ShapeError,
      () => raggedDot(x, experts, b.input("o", "i32", [5])),
    ],
    ["offsets that are floats", DTypeError, () => raggedDot(x, experts, b.input("f", "f32", [6]))],
    [
      "rows that do not fit",
      ShapeError,
      () => raggedDot(b.input("y", "f32", [T, 5]), experts, offsets),
    ],
    ["one matrix", ShapeError, () => raggedDot(x, w, offsets)],
    ["other rows", ShapeError, () => raggedOuter(x, b.input("z", "f32", [3, 4]), offsets)],
  ])("refuse %s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });

  test("each is made of the other when differentiated", () => {
    const rows = b.input("rows", "f32", [T, 4]);
    const [dx, dw] = gradients(sum(raggedDot(rows, experts, offsets)), [rows, experts]);
    expect(b.nodeOf(dx!).op.name).toBe("ragged_dot");
    expect(b.nodeOf(dw!).op.name).toBe("ragged_outer");
    const [da] = gradients(sum(raggedOuter(rows, rows, offsets)), [rows]);
    expect(formatType(da!.type)).toBe("f32[T, 4]");
  });
});
