import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { evaluateDim, formatType } from "../../shape.ts";
import { GraphBuilder } from "../builder.ts";
import { argmax, cumulativeSum, max, mean, min } from "./reduce.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 0, 8);
const x = b.input("x", "f32", [2, T, 5]);
const flags = b.input("flags", "bool", [2]);

describe("types", () => {
  test("reduced axes vanish, all by default", () => {
    expect(formatType(max(x, [0, 2]).type)).toBe("f32[T]");
    expect(formatType(min(x).type)).toBe("f32[]");
    expect(max(x, [])).toBe(x);
  });

  test("argmax gives i32", () => {
    expect(formatType(argmax(x, 2).type)).toBe("i32[2, T]");
  });

  test("mean keeps the dtype and divides by sizes known only at run time", () => {
    const narrow = b.input("narrow", "bf16", [T, 4]);
    expect(formatType(mean(narrow, [0]).type)).toBe("bf16[4]");
    const count = b.nodes.findLast((node) => node.op.name === "dimension")!;
    expect(evaluateDim(count.attrs["dim"] as number, new Map([["T", 3]]))).toBe(3);
  });

  test("running sums keep the type", () => {
    expect(formatType(cumulativeSum(x, 1, { reverse: true }).type)).toBe("f32[2, T, 5]");
    expect(b.nodes.at(-1)!.attrs).toEqual({ axis: 1, exclusive: false, reverse: true });
  });
});

describe("errors", () => {
  test.each([
    ["bools have no order", DTypeError, () => max(flags, [0])],
    ["bools do not add", DTypeError, () => cumulativeSum(flags, 0)],
    ["no such axis", AttributeError, () => max(x, [3])],
    ["axes descend", ShapeError, () => min(x, [2, 0])],
    ["argmax over what may be empty", ShapeError, () => argmax(x, 1)],
    ["argmax over an axis that is not there", AttributeError, () => argmax(x, -1)],
    ["running sum over an axis that is not there", AttributeError, () => cumulativeSum(x, 3)],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });

  test("the message has the scope path", () => {
    expect(() => b.scope("layers.3", () => argmax(x, 1))).toThrow(/at layers\.3 \(argmax\)/);
  });
});
