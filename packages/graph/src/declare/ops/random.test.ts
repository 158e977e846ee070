import { describe, expect, test } from "vitest";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { Expr } from "../../expression.ts";
import { literal, local } from "../../expression.ts";
import { formatType } from "../../shape.ts";
import { GraphBuilder } from "../builder.ts";
import { randomBits, randomNormal, randomUniform, threefry2x32, threefryExpr } from "./random.ts";

/** Known answers of the Random123 library, threefry2x32 with 20 rounds: key, counter, hash. */
const known = [
  [
    [0, 0],
    [0, 0],
    [0x6b200159, 0x99ba4efe],
  ],
  [
    [0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x1cb996fc, 0xbb002be7],
  ],
  [
    [0x13198a2e, 0x03707344],
    [0x243f6a88, 0x85a308d3],
    [0xc4923a9c, 0x483df7a0],
  ],
] as const;

test.each(known)("the hash under key %j of %j is %j", (key, counter, hash) => {
  expect(threefry2x32(key[0], key[1], counter[0], counter[1])).toEqual(hash);
});

test("the expressions compute the hash, naming every value once", () => {
  for (const [[k0, k1], [c0, c1], hash] of known) {
    const values = new Map<string, number>();
    const bind = (value: Expr): Expr => {
      const name = `x${values.size}`;
      values.set(name, evaluate(value, values));
      return local(name, "u32");
    };
    const u32 = (value: number): Expr => literal(value, "u32");
    const result = threefryExpr(u32(k0), u32(k1), u32(c0), u32(c1), bind);
    expect(result.map((expr) => evaluate(expr, values))).toEqual(hash);
    expect(values.size).toBeLessThan(60);
  }
});

function evaluate(expr: Expr, values: ReadonlyMap<string, number>): number {
  if (expr.kind === "literal") return expr.value;
  if (expr.kind === "local") return values.get(expr.name)!;
  if (expr.kind !== "apply") throw new TypeError(expr.kind);
  const [a, b] = expr.args.map((arg) => evaluate(arg, values)) as [number, number];
  switch (expr.op) {
    case "add":
      return (a + b) >>> 0;
    case "xor":
      return (a ^ b) >>> 0;
    case "or":
      return (a | b) >>> 0;
    case "shl":
      return (a << b) >>> 0;
    case "shr":
      return a >>> b;
    default:
      throw new TypeError(expr.op);
  }
}

describe("ops", () => {
  const b = new GraphBuilder("test");
  const T = b.size("T", 0, 8);
  const key = b.input("key", "u32", [2]);

  test("types", () => {
    expect(formatType(randomBits(key, [T, 3]).type)).toBe("u32[T, 3]");
    expect(formatType(randomUniform(key, [T, 3], -1, 1).type)).toBe("f32[T, 3]");
    expect(formatType(randomNormal(key, [T, 3], 0, 0.02, "bf16").type)).toBe("bf16[T, 3]");
    expect(formatType(randomNormal(key, []).type)).toBe("f32[]");
  });

  test("a key is u32[2]", () => {
    expect(() => randomBits(b.input("i", "i32", [2]), [3])).toThrow(DTypeError);
    expect(() => randomBits(b.input("k3", "u32", [3]), [3])).toThrow(ShapeError);
  });
});
