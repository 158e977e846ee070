import { expect, test } from "vitest";

import { declare } from "../declare/declare.ts";
import { add, mul } from "../declare/ops/elementwise.ts";
import { removeDead } from "./rewrite.ts";

test("what no output needs goes, however deep the graph", () => {
  const depth = 30_000;
  const graph = declare("deep", (b) => {
    let x = b.input("x", "f32", [2]);
    const unread = b.input("unread", "f32", [3]);
    mul(unread, unread);
    for (let i = 0; i < depth; i++) {
      x = add(x, x);
      if (i % 100 === 0) mul(x, x);
    }
    return { x };
  });
  const kept = removeDead(graph);
  expect(kept.nodes.length).toBe(depth + 2);
  expect(kept.nodes.filter(({ op }) => op.name === "mul").length).toBe(0);
  for (const node of kept.nodes)
    for (const input of node.inputs) expect(input.node < node.id).toBe(true);
});
