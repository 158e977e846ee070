import { describe, expect, test } from "vitest";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { Shape } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { GraphBuilder } from "../builder.ts";
import { attention } from "./attention.ts";
import { latentAttention } from "./latent-attention.ts";

const b = new GraphBuilder("attention");
let count = 0;
const f32 = (...shape: Shape): Tensor => b.input(`f${count++}`, "f32", shape);
const i32 = (...shape: Shape): Tensor => b.input(`i${count++}`, "i32", shape);
const scale = 0.5;
const q = f32(2, 3, 4, 6);

describe("attention refuses", () => {
  test("heads that do not share keys evenly", () => {
    expect(() => attention(q, f32(2, 3, 3, 6), f32(2, 3, 3, 5), { scale })).toThrow(ShapeError);
  });
  test("keys of another width or number than queries or values", () => {
    expect(() => attention(q, f32(2, 3, 4, 5), f32(2, 3, 4, 5), { scale })).toThrow(ShapeError);
    expect(() => attention(q, f32(2, 3, 4, 6), f32(2, 4, 4, 5), { scale })).toThrow(ShapeError);
  });
  test("more keys than queries without a start", () => {
    expect(() => attention(q, f32(2, 5, 4, 6), f32(2, 5, 4, 6), { scale })).toThrow(/Pass start/);
  });
  test("a start per head, float positions, segments of another length", () => {
    const [k, v] = [f32(2, 3, 4, 6), f32(2, 3, 4, 5)];
    expect(() => attention(q, k, v, { scale, start: i32(4) })).toThrow(ShapeError);
    expect(() => attention(q, k, v, { scale, start: f32() })).toThrow(DTypeError);
    expect(() => attention(q, k, v, { scale, segments: i32(2, 4) })).toThrow(ShapeError);
    expect(() => attention(q, k, v, { scale, start: i32(), segments: i32(2, 3) })).toThrow(
      AttributeError,
    );
  });
  test("integers and scales that are no factor", () => {
    const [k, v] = [f32(2, 3, 4, 6), f32(2, 3, 4, 5)];
    expect(() => attention(i32(2, 3, 4, 6), k, v, { scale })).toThrow(DTypeError);
    for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => attention(q, k, v, { scale: bad })).toThrow(AttributeError);
  });
});

test("no key is repeated for the heads that share it", () => {
  const c = new GraphBuilder("shared");
  const [keys, width] = [9, 5];
  const cached = (name: string): Tensor => c.input(name, "f32", [1, keys, 2, width]);
  const queries = c.input("q", "f32", [1, 7, 6, width]);
  const out = attention(queries, cached("k"), cached("v"), {
    scale,
    start: c.input("start", "i32", []),
  });
  const { op, inputs, attrs } = c.nodeOf(out);
  const tensors = inputs.map((ref) => c.tensor(ref));
  if (op.body.class !== "composite") expect.unreachable();
  else op.body.decompose(tensors, attrs);
  // Nothing but the inputs has a number for each key and place in a head.
  const wide = c.nodes.filter(({ outputs: [type] }) =>
    [keys, width].every((size) => type!.shape.includes(size)),
  );
  expect(wide.map((node) => node.op.name)).toEqual(["input", "input"]);
});

test("latentAttention names all four operands when one does not fit", () => {
  expect(() =>
    latentAttention(f32(2, 3, 4, 8), f32(2, 3, 4, 2), f32(2, 3, 8), f32(2, 4, 2), { scale }),
  ).toThrow(/qLatent .*qRope .*cKv .*kRope/);
});
