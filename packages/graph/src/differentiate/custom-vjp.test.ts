import { describe, expect, test } from "vitest";
import { AttributeError } from "../errors.ts";
import { formatType } from "../shape.ts";
import { GraphBuilder } from "../declare/builder.ts";
import { sum } from "../declare/ops/broadcast.ts";
import { add, mul, round } from "../declare/ops/elementwise.ts";
import { customVjp, stopGradient } from "./custom-vjp.ts";
import { gradients } from "./differentiate.ts";

test("nothing is differentiated through stopGradient", () => {
  const b = new GraphBuilder("test");
  const x = b.input("x", "f32", [3]);
  const loss = sum(add(x, stopGradient(mul(x, x))));
  const before = b.nodes.length;
  gradients(loss, [x]);
  expect(b.nodes.slice(before).map((node) => node.op.name)).not.toContain("mul");
});

describe("customVjp", () => {
  const roundThrough = customVjp({
    name: "test.round_through",
    forward: ([x]) => [round(x!)],
    vjp: ({ cotangents: [ct] }) => [ct],
  });

  test("passes the cotangent on as it says", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [b.size("T", 1, 4), 3]);
    const [y] = roundThrough(x);
    expect(formatType(y!.type)).toBe("f32[T, 3]");
    expect(b.nodeOf(y!).op.name).toBe("test.round_through");
    const loss = sum(y!);
    const before = b.nodes.length;
    const [dx] = gradients(loss, [x]);
    expect(b.nodeOf(dx!).op.name).toBe("broadcast");
    expect(b.nodes.slice(before).map((node) => node.op.name)).not.toContain("round");
  });

  test("refuses tensors from outside", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const closes = customVjp({
      name: "test.closes",
      forward: ([y]) => [mul(x, y!)],
      vjp: ({ cotangents }) => cotangents,
    });
    expect(() => closes(x)).toThrow(AttributeError);
  });
});
