import { expect, test } from "vitest";

import { declare } from "../declare/declare.ts";
import { add, mul } from "../declare/ops/elementwise.ts";
import { applyOne } from "../declare/define-op.ts";
import { pad, padOp } from "../declare/ops/movement.ts";
import { removeDead, rewrite } from "./rewrite.ts";

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

test("equal nodes are merged, whatever the order of their attributes", () => {
  const graph = declare("equal", (b) => {
    const x = b.input("x", "f32", [2]);
    const one = applyOne(padOp, [x], { axis: 0, low: 1, high: 1, value: 0 });
    const other = applyOne(padOp, [x], { value: 0, high: 1, low: 1, axis: 0 });
    return { one, other };
  });
  const [one, other] = rewrite(graph, []).outputs;
  expect(one!.value).toEqual(other!.value);
});

test("infinities, NaN and zeros of different signs keep nodes apart", () => {
  const values = [Infinity, -Infinity, NaN, 0, -0];
  const graph = declare("apart", (b) => {
    const x = b.input("x", "f32", [2]);
    return Object.fromEntries(
      values.flatMap((value, i) => [
        [`pad ${i}`, pad(x, 0, 1, 1, value)],
        [`constant ${i}`, b.scalar(value)],
      ]),
    );
  });
  const { outputs } = rewrite(graph, []);
  expect(new Set(outputs.map(({ value }) => value.node)).size).toBe(outputs.length);
});
