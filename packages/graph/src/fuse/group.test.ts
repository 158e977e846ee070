import { expect, test } from "vitest";
import type { GraphBuilder } from "../declare/builder.ts";
import { declare } from "../declare/declare.ts";
import { broadcastTo, sum } from "../declare/ops/broadcast.ts";
import { linear } from "../declare/ops/contract.ts";
import { add, convert, div, exp, mul, neg } from "../declare/ops/elementwise.ts";
import { take } from "../declare/ops/gather.ts";
import { reshape, transpose } from "../declare/ops/movement.ts";
import { dtypes } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import type { Tensor } from "../tensor.ts";
import { fuse } from "./fuse.ts";

const capabilities = {
  dtypes,
  alignment: 16,
  maxBytes: 2 ** 20,
  maxBuffersPerKernel: 6,
  arrayBytes: 0,
};

/** For each group: the ops computed inside, joined; views in brackets. */
function groupsOf(graph: Graph, options = {}): string[] {
  const { graph: fused, groups } = fuse(graph, capabilities, options);
  return groups.map((group) => {
    const names = group.nodes.map((id) => fused.nodes[id]!.op.name).join(" ");
    return group.alias ? `[${names}]` : names;
  });
}

test("an elementwise chain is one kernel", () => {
  const graph = declare("chain", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    return { y: exp(add(mul(x, 2), 1)) };
  });
  expect(groupsOf(graph)).toEqual(["broadcast mul broadcast add exp"]);
});

test("a product takes its elementwise followers and cheap conversions of its operands along", () => {
  const graph = declare("epilogue", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const w = b.parameter("w", "f32", [5, 3]);
    const r = b.input("r", "f32", [4, 5]);
    return { y: add(linear(convert(x, "bf16"), convert(w, "bf16")), convert(r, "bf16")) };
  });
  expect(groupsOf(graph)).toEqual(["convert convert dot_general convert add"]);
});

test("a costly operand of a product is computed once", () => {
  const graph = declare("costly", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    return { y: linear(exp(x), b.parameter("w", "f32", [5, 3])) };
  });
  expect(groupsOf(graph)).toEqual(["exp", "dot_general"]);
});

/** A gated layer: what `activate` makes of two products goes into a third. */
function gated(activate: (gate: Tensor, up: Tensor, b: GraphBuilder) => Tensor): Graph {
  return declare("gated", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const w = (name: string, to: number, from: number): Tensor =>
      b.parameter(name, "f32", [to, from]);
    const [gate, up] = [linear(x, w("gate", 5, 3)), linear(x, w("up", 5, 3))];
    return { y: linear(activate(gate, up, b), w("down", 3, 5)) };
  });
}

test("what two products become for a third is computed as the sums of one are finished", () => {
  const silu = (x: Tensor): Tensor => mul(x, div(1, add(exp(neg(x)), 1)));
  expect(groupsOf(gated((gate, up) => mul(silu(gate), up)))).toEqual([
    "dot_general",
    "dot_general neg exp broadcast add div mul mul",
    "dot_general",
  ]);
});

test("a product's followers that need all of its result are computed where they are read", () => {
  const graph = gated((gate, up) => {
    const joined = add(gate, up);
    return mul(joined, broadcastTo(reshape(sum(joined, [1]), [4, 1]), [4, 5]));
  });
  expect(groupsOf(graph)).toEqual([
    "dot_general",
    "dot_general add",
    "sum",
    "reshape broadcast mul dot_general",
  ]);
});

test("a product stores what others read of its sums, and not what nobody reads", () => {
  const graph = declare("stores", (b) => {
    const product = linear(b.input("x", "f32", [4, 3]), b.parameter("w", "f32", [5, 3]));
    const [y, z] = [exp(product), mul(product, b.input("c", "f32", [4, 5]))];
    return { y, z };
  });
  const { graph: fused, groups } = fuse(graph, capabilities);
  expect(groups).toHaveLength(1);
  expect(groups[0]!.stores.map((id) => fused.nodes[id]!.op.name)).toEqual(["exp", "mul"]);
});

test("values that are read twice, again and again, before a product reads them", () => {
  const graph = declare("doubled", (b) => {
    let x = linear(b.input("x", "f32", [4, 4]), b.parameter("w", "f32", [4, 4]));
    // Along every path there would be more steps than any machine does.
    for (let i = 0; i < 64; i++) x = add(x, x);
    return { y: linear(x, b.parameter("v", "f32", [4, 4])) };
  });
  expect(groupsOf(graph).length).toBe(2);
});

test("a kernel does not hold two products", () => {
  const graph = declare("two", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const w = (name: string): Tensor => b.parameter(name, "f32", [5, 3]);
    const [v, u] = [linear(x, w("v")), linear(x, w("u"))];
    return { v, u, y: exp(add(v, u)), z: mul(v, u) };
  });
  expect(groupsOf(graph)).toEqual(["dot_general", "dot_general add exp mul"]);
});

test("rows are gathered while a product reads them", () => {
  const graph = declare("gather", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const rows = b.input("rows", "i32", [7]);
    return { y: linear(take(x, rows, 0), b.parameter("w", "f32", [5, 3])) };
  });
  expect(groupsOf(graph)).toEqual(["take dot_general"]);
});

test("a costly value with two readers is stored, a cheap one is computed twice", () => {
  const graph = declare("shared", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const costly = exp(x);
    const cheap = mul(x, 2);
    return { a: sum(costly, [0]), b: sum(costly, [1]), c: sum(cheap, [0]), d: sum(cheap, [1]) };
  });
  expect(groupsOf(graph)).toEqual(["exp", "sum", "sum", "broadcast mul sum", "broadcast mul sum"]);
});

test("computed rows that two products gather are stored in the order they are read in", () => {
  const graph = declare("dispatch", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const order = b.input("order", "i32", [4]);
    const scaled = mul(x, broadcastTo(b.input("s", "f32", [4]), [4, 3], [0]));
    const rows = take(reshape(scaled, [4, 3, 1]), order, 0);
    const w = (name: string): Tensor => b.parameter(name, "f32", [5, 3]);
    const read = reshape(rows, [4, 3]);
    return { y: linear(read, w("v")), z: linear(read, w("w")) };
  });
  expect(groupsOf(graph)).toEqual([
    "broadcast mul reshape take",
    "reshape dot_general",
    "reshape dot_general",
  ]);
});

test("rows that are gathered several times each are computed as often", () => {
  const graph = declare("repeated", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const rows = take(mul(x, x), b.input("order", "i32", [8]), 0);
    const w = (name: string): Tensor => b.parameter(name, "f32", [5, 3]);
    return { y: linear(rows, w("v")), z: linear(rows, w("w")) };
  });
  expect(groupsOf(graph)).toEqual(["mul take dot_general", "mul take dot_general"]);
});

test("what broadcasts is not computed again for every element", () => {
  const graph = declare("repeat", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const total = exp(b.input("s", "f32", [4]));
    return { y: div(x, broadcastTo(reshape(total, [4, 1]), [4, 3])) };
  });
  expect(groupsOf(graph)).toEqual(["exp", "reshape broadcast div"]);
});

test("a reshape of something in memory is a view", () => {
  const graph = declare("view", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    return { y: reshape(exp(x), [12]), z: reshape(x, [2, 6]) };
  });
  expect(groupsOf(graph)).toEqual(["exp", "[reshape]", "[reshape]"]);
});

test("simplification removes what changes nothing and shares what is equal", () => {
  const graph = declare("simplify", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    const same = mul(transpose(transpose(x)), 1);
    return { y: exp(same), z: exp(x) };
  });
  expect(groupsOf(graph)).toEqual(["exp"]);
});

test("without fusion every node is a kernel of its own", () => {
  const graph = declare("unfused", (b) => {
    const x = b.input("x", "f32", [4, 3]);
    return { y: exp(add(x, x)) };
  });
  expect(groupsOf(graph, { fuse: false })).toEqual(["add", "exp"]);
});

test("an optimizer's moments and its parameter are one kernel", () => {
  const graph = declare("moments", (b) => {
    const [w, m, g] = [
      b.parameter("w", "f32", [9]),
      b.state("m", "f32", [9]),
      b.input("g", "f32", [9]),
    ];
    const next = add(mul(m, 0.9), mul(g, 0.1));
    b.update(m, next);
    b.update(w, add(w, div(next, 3)));
    return {};
  });
  const { graph: fused, groups } = fuse(graph, capabilities);
  expect(groups.map(({ stores }) => stores.length)).toEqual([2]);
  expect(fused.updates.map(({ value }) => value.node)).toEqual(groups[0]!.stores);
});

test("loops are not merged over something that lies between them", () => {
  const graph = declare("between", (b) => {
    const x = exp(b.input("x", "f32", [4, 3]));
    const total = sum(x, [1]);
    return { x, y: div(x, broadcastTo(reshape(total, [4, 1]), [4, 3])) };
  });
  expect(groupsOf(graph)).toEqual(["exp", "sum", "reshape broadcast div"]);
});

test("a kernel does not take more buffers than the device binds", () => {
  const graph = declare("buffers", (b) => {
    const inputs = Array.from({ length: 4 }, (_, i) => b.input(`x${i}`, "f32", [8]));
    const left = exp(add(inputs[0]!, inputs[1]!));
    const right = exp(add(inputs[2]!, inputs[3]!));
    return { left, right, both: mul(left, right) };
  });
  expect(groupsOf(graph)).toHaveLength(2);
});
