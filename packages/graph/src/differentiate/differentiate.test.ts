import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, InternalError, ShapeError } from "../errors.ts";
import type { Node } from "../graph.ts";
import { formatType } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { GraphBuilder } from "../declare/builder.ts";
import { declare } from "../declare/declare.ts";
import { applyOne, defineOp } from "../declare/define-op.ts";
import { sum } from "../declare/ops/broadcast.ts";
import { convert, exp, mul } from "../declare/ops/elementwise.ts";
import { sort } from "../declare/ops/sort.ts";
import { differentiate, gradients } from "./differentiate.ts";

const newNodes = (b: GraphBuilder, body: () => void): readonly Node[] => {
  const before = b.nodes.length;
  body();
  return b.nodes.slice(before);
};

describe("gradients", () => {
  test("are zeros where the loss does not depend on a value", () => {
    const b = new GraphBuilder("test");
    const T = b.size("T", 0, 3);
    const x = b.input("x", "f32", [2]);
    const other = b.input("other", "bf16", [T]);
    const [dx, dOther] = gradients(sum(x), [x, other]);
    expect([dx!, dOther!].map(({ type }) => formatType(type))).toEqual(["f32[2]", "bf16[T]"]);
    const zero = b.nodes[b.nodeOf(dOther!).inputs[0]!.node]!;
    expect(zero.value!.data[0]).toBe(0);
  });

  test("of uses are added, of narrow floats in f32", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "bf16", [3]);
    const loss = sum(mul(x, mul(x, x)));
    const nodes = newNodes(b, () => gradients(loss, [x]));
    expect(nodes.filter((node) => node.op.name === "add")).toHaveLength(2);
    for (const node of nodes.filter(({ op }) => op.name === "add"))
      expect(node.outputs[0]!.dtype).toBe("f32");
    expect(formatType(nodes.at(-1)!.outputs[0]!)).toBe("bf16[3]");
  });

  test("pass over what does not depend on a wanted value", () => {
    const b = new GraphBuilder("test");
    const frozen = b.input("frozen", "f32", [3]);
    const x = b.input("x", "f32", [3]);
    const loss = sum(mul(exp(exp(frozen)), x));
    const nodes = newNodes(b, () => gradients(loss, [x]));
    expect(nodes.map((node) => node.op.name)).not.toContain("add");
    expect(nodes.filter((node) => node.op.name === "mul").length).toBeLessThan(3);
  });

  test("by a value inside go on to what it depends on", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const y = exp(x);
    const [dy, dx] = gradients(sum(mul(y, y)), [y, x]);
    expect(b.nodeOf(dx!).inputs[0]).toEqual(dy!.ref);
  });

  test("keep the scope of what they differentiate", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const y = b.scope("layers.3", () => exp(x));
    const [dx] = gradients(sum(y), [x]);
    expect(b.nodeOf(dx!).scope).toBe("layers.3");
  });

  test("can be differentiated again", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const [dx] = gradients(sum(exp(mul(x, x))), [x]);
    const [ddx] = gradients(sum(mul(dx!, dx!)), [x]);
    expect(formatType(ddx!.type)).toBe("f32[3]");
  });

  test("do not flow through integers", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const through = convert(convert(x, "i32"), "f32");
    const indices = convert(sort(x)[1], "f32");
    for (const loss of [sum(through), sum(indices)]) {
      const [dx] = gradients(loss, [x]);
      expect(b.nodes[b.nodeOf(dx!).inputs[0]!.node]!.value!.data[0]).toBe(0);
    }
  });

  test.each([
    ["a loss with axes", ShapeError, (x: Tensor) => gradients(x, [x])],
    ["an integer loss", DTypeError, (x: Tensor) => gradients(sum(convert(x, "i32")), [x])],
    ["an integer value", DTypeError, (x: Tensor) => gradients(sum(x), [convert(x, "i32")])],
    [
      "a value of another graph",
      AttributeError,
      (x: Tensor) => gradients(sum(x), [new GraphBuilder("other").input("x", "f32", [3])]),
    ],
  ])("refuse %s", (_, type, body) => {
    const b = new GraphBuilder("test");
    expect(() => body(b.input("x", "f32", [3]))).toThrow(type);
  });
});

describe("composites", () => {
  const squareOp = defineOp({
    name: "test.square",
    infer: (inputs) => [inputs[0]!],
    body: { class: "composite", decompose: ([x]) => [mul(x!, x!)] },
  });
  const itselfOp = defineOp({
    name: "test.itself",
    infer: (inputs) => [inputs[0]!],
    body: { class: "composite", decompose: ([x]) => [x!] },
  });

  test("without a vjp are walked through", () => {
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const y = applyOne(squareOp, [applyOne(itselfOp, [x], {})], {});
    const nodes = newNodes(b, () => gradients(sum(y), [x]));
    expect(nodes.map((node) => node.op.name)).toEqual(
      expect.arrayContaining(["mul", "mul", "mul", "add"]),
    );
  });

  test("a vjp that gives another type is reported with its op", () => {
    const wrong = defineOp({
      name: "test.wrong",
      infer: (inputs) => [inputs[0]!],
      vjp: ({ cotangents: [ct] }) => [ct && sum(ct)],
      body: { class: "elementwise", scalar: ([x]) => x! },
    });
    const b = new GraphBuilder("test");
    const x = b.input("x", "f32", [3]);
    const y = b.scope("layers.3", () => applyOne(wrong, [x], {}));
    expect(() => gradients(sum(y), [x])).toThrow(/test\.wrong gave f32\[\].*layers\.3/);
  });
});

describe("differentiate", () => {
  const graph = declare("model", (b) => {
    const T = b.size("T", 1, 4);
    const w = b.parameter("w", "f32", [4]);
    const step = b.state("step", "f32", []);
    const x = b.input("x", "f32", [T, 4]);
    b.update(step, mul(step, 2));
    return { y: mul(x, w), loss: sum(mul(x, w)) };
  });

  test("adds outputs and keeps everything else in its place", () => {
    const result = differentiate(graph, "loss", ["w", "x"]);
    expect(result.outputs.map(({ name }) => name)).toEqual(["y", "loss", "grad.w", "grad.x"]);
    expect(result.nodes.slice(0, graph.nodes.length)).toEqual(graph.nodes);
    expect(result.updates).toEqual(graph.updates);
    expect(result.sizes).toEqual(graph.sizes);
  });

  test.each([
    ["an output that is not there", () => differentiate(graph, "error", ["w"])],
    ["a value that is not there", () => differentiate(graph, "loss", ["v"])],
    ["a name twice", () => differentiate(graph, "loss", ["w", "w"])],
  ])("refuses %s", (_, body) => {
    expect(body).toThrow(AttributeError);
    expect(body).not.toThrow(InternalError);
  });
});
