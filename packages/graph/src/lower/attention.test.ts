import { expect, test } from "vitest";

import type { Capabilities } from "../capabilities.ts";
import { buildProgram } from "../compile.ts";
import { attention } from "../declare/composites/attention.ts";
import { latentAttention } from "../declare/composites/latent-attention.ts";
import { declare } from "../declare/declare.ts";
import { mul } from "../declare/ops/elementwise.ts";
import { sum } from "../declare/ops/broadcast.ts";
import { differentiate } from "../differentiate/differentiate.ts";
import { dtypes } from "../dtype.ts";
import type { Graph } from "../graph.ts";
import { arrayBytesOf } from "../kernel.ts";
import { parseProgram } from "../parse.ts";
import { printProgram } from "../print.ts";
import type { Program } from "../program.ts";
import { maxDim, shapeSize } from "../shape.ts";
import { verifyProgram } from "../verify.ts";

const device = (arrayBytes: number): Capabilities => ({
  dtypes,
  alignment: 64,
  maxBytes: 2 ** 32,
  maxBuffersPerKernel: 16,
  arrayBytes,
});

interface Sizes {
  readonly batch: number;
  readonly heads: number;
  readonly tokens: number;
}

/** Training through attention of keys of 192 and values of 128. */
function naive({ batch, heads, tokens }: Sizes): Graph {
  const graph = declare("naive", (b) => {
    const part = (name: string, width: number) =>
      b.input(name, "f32", [batch, tokens, heads, width]);
    const [q, k, v] = [part("q", 192), part("k", 192), part("v", 128)];
    const out = attention(q, k, v, { scale: 0.1 });
    return { loss: sum(mul(out, out)) };
  });
  return differentiate(graph, "loss", ["q", "k", "v"]);
}

/** Training through the absorbed form. */
function absorbed({ batch, heads, tokens }: Sizes): Graph {
  const graph = declare("absorbed", (b) => {
    const query = (name: string, width: number) =>
      b.input(name, "f32", [batch, tokens, heads, width]);
    const key = (name: string, width: number) => b.input(name, "f32", [batch, tokens, width]);
    const out = latentAttention(query("q", 512), query("qr", 64), key("c", 512), key("kr", 64), {
      scale: 0.1,
    });
    return { loss: sum(mul(out, out)) };
  });
  return differentiate(graph, "loss", ["q", "qr", "c", "kr"]);
}

const programOf = (graph: Graph, arrayBytes: number): Program => {
  const { program } = buildProgram(graph, device(arrayBytes));
  verifyProgram(program, device(arrayBytes));
  expect(printProgram(parseProgram(printProgram(program)))).toBe(printProgram(program));
  return program;
};

const largestBuffer = ({ buffers }: Program): number =>
  Math.max(...buffers.map(({ type }) => maxDim(shapeSize(type.shape))));

const namesOf = ({ kernels }: Program): readonly string[] =>
  kernels.map(({ name }) => name.replace(/(_fused)?_\d+$/, ""));

test.each([
  [naive, 2 ** 18],
  [naive, 2 ** 14],
  [absorbed, 2 ** 18],
])("%o with arrays of %i bytes takes no memory for scores", (declared, arrayBytes) => {
  const tokens = 2048;
  const graph = declared({ batch: 1, heads: 2, tokens });
  const whole = programOf(graph, arrayBytes);
  const inParts = programOf(graph, 0);
  expect(largestBuffer(inParts)).toBeGreaterThanOrEqual(2 * tokens * tokens);
  expect(largestBuffer(whole)).toBeLessThanOrEqual(2 * tokens * 512);
  expect(whole.arenaBytes).toBeLessThan(inParts.arenaBytes - 4 * 2 * tokens * tokens);
  const arrays = whole.kernels.map(arrayBytesOf);
  expect(Math.max(...arrays)).toBeGreaterThan(arrayBytes / 8);
});

test("decoding, unknown widths and devices without room for a block keep to the parts", () => {
  const few = declare("few", (b) => {
    const T = b.size("T", 1, 4);
    const S = b.size("S", 1, 4096);
    const start = b.input("start", "i32", []);
    const q = b.input("q", "f32", [1, T, 16, 192]);
    const k = b.input("k", "f32", [1, S, 16, 192]);
    const v = b.input("v", "f32", [1, S, 16, 128]);
    return { out: attention(q, k, v, { scale: 0.1, start }) };
  });
  expect(namesOf(programOf(few, 2 ** 18))).not.toContain("attention");
  const unknown = declare("unknown", (b) => {
    const width = b.size("D", 1, 64);
    const x = b.input("x", "f32", [1, 256, 1, width]);
    return { out: attention(x, x, x, { scale: 0.1 }) };
  });
  expect(namesOf(programOf(unknown, 2 ** 18))).not.toContain("attention");
  const graph = naive({ batch: 1, heads: 1, tokens: 128 });
  expect(namesOf(programOf(graph, 2 ** 18))).toContain("attention");
  expect(namesOf(programOf(graph, 2 ** 10))).not.toContain("attention");
});

test("the gradient is one kernel where heads are enough to keep threads busy, else two", () => {
  const one = programOf(naive({ batch: 2, heads: 4, tokens: 128 }), 2 ** 18);
  expect(namesOf(one)).toContain("attention_gradient");
  for (const [heads, arrayBytes] of [
    [3, 2 ** 18],
    [4, 2 ** 16],
  ] as const) {
    const two = namesOf(programOf(naive({ batch: 2, heads, tokens: 128 }), arrayBytes));
    expect(two).toContain("attention_gradient_queries");
    expect(two).toContain("attention_gradient_keys");
  }
});

test("kernels whose outputs nothing reads are left out", () => {
  const { nodes, ...rest } = naive({ batch: 1, heads: 1, tokens: 128 });
  const outputs = rest.outputs.filter(({ name }) => name === "grad.q");
  const names = namesOf(programOf({ ...rest, nodes, outputs }, 2 ** 18));
  expect(names).toContain("attention_gradient_queries");
  expect(names).not.toContain("attention_gradient_keys");
});
