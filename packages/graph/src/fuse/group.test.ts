import { expect, test } from "vitest";
import { declare } from "../declare/declare.ts";
import { broadcastTo, sum } from "../declare/ops/broadcast.ts";
import { linear } from "../declare/ops/contract.ts";
import { add, convert, div, exp, mul } from "../declare/ops/elementwise.ts";
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
