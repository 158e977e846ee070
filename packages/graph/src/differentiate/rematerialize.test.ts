import { expect, test } from "vitest";
import { declare } from "../declare/declare.ts";
import { sum } from "../declare/ops/broadcast.ts";
import { dotGeneral } from "../declare/ops/contract.ts";
import { exp, mul } from "../declare/ops/elementwise.ts";
import type { Graph } from "../graph.ts";
import { gradients } from "./differentiate.ts";
import { checkpointOp } from "./rematerialize.ts";

/** Three layers of a product and an exponential. */
const chain = (recompute: readonly string[]): Graph =>
  declare("chain", (b) => {
    let x = b.input("x", "f32", [2, 3]);
    const weights = [0, 1, 2].map((i) => b.state(`w${i}`, "f32", [3, 3]));
    weights.forEach((w, i) => {
      x = b.scope(`layers.${i}`, () =>
        exp(dotGeneral(x, w, { lhsContract: [1], rhsContract: [1] })),
      );
    });
    const grads = gradients(sum(mul(x, x)), weights, { recompute });
    return Object.fromEntries(grads.map((g, i) => [`g${i}`, g]));
  });

const count = (graph: Graph, op: string, scope: string): number =>
  graph.nodes.filter((node) => node.op.name === op && node.scope === scope).length;

test("a recomputed scope has its forward nodes twice, others once", () => {
  const plain = chain([]);
  const graph = chain(["layers.1"]);
  for (const i of [0, 1, 2]) {
    expect(count(plain, "exp", `layers.${i}`)).toBe(1);
    expect(count(graph, "exp", `layers.${i}`)).toBe(i === 1 ? 2 : 1);
  }
});

test("what enters is read through a checkpoint, states are not", () => {
  const graph = chain(["layers.1"]);
  const checkpoints = graph.nodes.filter((node) => node.op === checkpointOp);
  expect(checkpoints.map(({ inputs: [ref] }) => graph.nodes[ref!.node]!.op.name)).toEqual(["exp"]);
});

test("the forward values inside are read by no backward node", () => {
  const graph = chain(["layers.1"]);
  const product = graph.nodes.find(
    (node) => node.op.name === "dot_general" && node.scope === "layers.1",
  );
  const readers = graph.nodes.filter((node) => node.inputs.some((ref) => ref.node === product!.id));
  expect(readers.map(({ op }) => op.name)).toEqual(["exp"]);
});

test("a scope that is a prefix of another name is not that one", () => {
  const graph = chain(["layers.1", "layers"]);
  expect(count(graph, "exp", "layers.2")).toBe(2);
  expect(count(chain(["layer"]), "exp", "layers.2")).toBe(1);
});
