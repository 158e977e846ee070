import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { formatType } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { broadcastTo, sum } from "./broadcast.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 0, 8);
const x = b.input("x", "f32", [1, 4]);

test("types", () => {
  expect(formatType(broadcastTo(x, [T, 4]).type)).toBe("f32[T, 4]");
  expect(formatType(broadcastTo(x, [T, 4, 5], [0, 1]).type)).toBe("f32[T, 4, 5]");
  expect(formatType(sum(b.input("m", "bf16", [T, 4]), [0]).type)).toBe("bf16[4]");
  expect(sum(x, [])).toBe(x);
});

describe("errors", () => {
  test.each([
    ["sizes that differ", ShapeError, () => broadcastTo(x, [T, 5])],
    ["axes that do not ascend", ShapeError, () => broadcastTo(x, [4, 4, 4], [1, 0])],
    ["too few axes", ShapeError, () => broadcastTo(x, [4, 4], [1])],
    ["no such axis", AttributeError, () => broadcastTo(x, [4, 4], [1, 2])],
    ["sums of bools", DTypeError, () => sum(b.input("flags", "bool", [3]))],
    ["sums over an axis twice", ShapeError, () => sum(x, [1, 1])],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });
});

test("what was repeated is summed by the derivative", () => {
  const [dx] = gradients(sum(broadcastTo(x, [3, T, 4])), [x]);
  expect(formatType(dx!.type)).toBe("f32[1, 4]");
  expect(b.nodes.at(-1)!.op.name).toBe("broadcast");
  expect(b.nodes.at(-2)!.attrs["axes"]).toEqual([0, 1]);
});
