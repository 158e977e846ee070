import { describe, expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import { formatType } from "../../shape.ts";
import { gradients } from "../../differentiate/differentiate.ts";
import { GraphBuilder } from "../builder.ts";
import { sum } from "./broadcast.ts";
import {
  add,
  bitAnd,
  bitcast,
  convert,
  exp,
  floor,
  lt,
  mul,
  not,
  rem,
  select,
} from "./elementwise.ts";

const b = new GraphBuilder("test");
const T = b.size("T", 0, 8);
const x = b.input("x", "f32", [T, 4]);
const row = b.input("row", "f32", [4]);
const ints = b.input("ints", "i32", [T, 4]);
const flags = b.input("flags", "bool", [T, 1]);

describe("types", () => {
  test("arguments broadcast against each other, numbers take the other's dtype", () => {
    expect(formatType(add(row, x).type)).toBe("f32[T, 4]");
    expect(formatType(mul(2, ints).type)).toBe("i32[T, 4]");
    expect(formatType(lt(x, row).type)).toBe("bool[T, 4]");
    expect(formatType(select(flags, x, 0).type)).toBe("f32[T, 4]");
    expect(formatType(select(flags, 1, 0).type)).toBe("f32[T, 1]");
  });

  test("conversions", () => {
    expect(formatType(convert(flags, "f32").type)).toBe("f32[T, 1]");
    expect(convert(x, "f32")).toBe(x);
    expect(formatType(bitcast(x, "u32").type)).toBe("u32[T, 4]");
  });
});

describe("errors", () => {
  test.each([
    ["two dtypes", DTypeError, () => add(x, ints)],
    ["a float function of integers", DTypeError, () => exp(ints)],
    ["a remainder of floats", DTypeError, () => rem(x, 2)],
    ["logic of floats", DTypeError, () => bitAnd(x, x)],
    ["not of floats", DTypeError, () => not(x)],
    ["arithmetic of bools", DTypeError, () => add(flags, flags)],
    ["a condition that is a number", DTypeError, () => select(ints, x, x)],
    ["two dtypes to select from", DTypeError, () => select(flags, x, ints)],
    ["bits of an integer", DTypeError, () => bitcast(ints, "u32")],
    ["shapes that do not broadcast", ShapeError, () => add(x, b.input("five", "f32", [5]))],
  ])("%s", (_, type, declare) => {
    expect(declare).toThrow(type);
  });
});

test("nothing is differentiated through a step function", () => {
  const before = b.nodes.length;
  const [dx] = gradients(sum(floor(x)), [x]);
  expect(formatType(dx!.type)).toBe("f32[T, 4]");
  expect(b.nodes.slice(before).filter((node) => node.op.name === "floor")).toHaveLength(1);
  expect(b.nodeOf(dx!).inputs.map((ref) => b.nodes[ref.node]!.op.name)).toEqual(["constant"]);
});
