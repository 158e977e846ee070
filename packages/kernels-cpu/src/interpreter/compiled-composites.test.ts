// Composites and their gradients, compiled for symbolic sizes, on the kernel interpreter against the graph interpreter. The two
// add up in different precisions, so they are compared by a tolerance relative to the largest element.
import type { Dim, Graph, GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import {
  add,
  attention,
  bf16Linear,
  compile,
  convert,
  countingSort,
  crossEntropy,
  declare,
  elementCount,
  evaluateDim,
  fp8Linear,
  fp8RaggedDot,
  gradients,
  groupLimitedTopK,
  hostTensor,
  isFloat,
  iota,
  latentAttention,
  leavesNamed,
  linear,
  logSoftmax,
  mean,
  mul,
  multiplyDims,
  permuteRows,
  raggedDot,
  randomNormal,
  repeatRows,
  reshape,
  rmsNorm,
  rope,
  ropeTables,
  routingWeights,
  sigmoid,
  softmax,
  sub,
  sum,
  swiglu,
  take,
  toNumbers,
  updateSlice,
  verifyProgram,
} from "@millrace/graph";
import { expect, test } from "vitest";
import { createInterpreterBackend } from "./backend.ts";
import { interpret } from "./interpret.ts";

type Inputs = Record<string, Tensor>;
interface Case {
  /** Float inputs to differentiate by; others are declared in the body. */
  readonly shapes: (T: Dim) => Record<string, readonly Dim[]>;
  readonly body: (inputs: Inputs, b: GraphBuilder, T: Dim) => Tensor;
  readonly tolerance?: number;
}

const rotated = (x: Tensor, b: GraphBuilder, T: Dim): Tensor => {
  const frequencies = b.constant(hostTensor("f32", [2], [1, 0.3]));
  const { cos, sin } = ropeTables(iota(b, "i32", [T], 0), frequencies);
  return rope(x, cos, sin);
};

/** Tokens to 4 experts, 2 each, and back: all of a mixture-of-experts layer. */
const mixture = ({ x, w, gate }: Inputs, T: Dim, product: typeof raggedDot): Tensor => {
  const scores = sigmoid(linear(x!, gate!));
  const indices = groupLimitedTopK(scores, undefined, {
    nGroup: 2,
    topkGroup: 1,
    k: 2,
    groupScore: "top2_sum",
  });
  const weights = routingWeights(scores, indices, {
    normTopkProb: true,
    routedScalingFactor: 2.5,
  });
  const rows = multiplyDims(T, 2);
  const order = countingSort(reshape(indices, [rows]), 4);
  const sorted = permuteRows(repeatRows(x!, 2), order.permutation, order.inverse);
  const y = permuteRows(product(sorted, w!, order.offsets), order.inverse, order.permutation);
  const parts = reshape(y, [T, 2, w!.shape[1]!]);
  return sum(mul(parts, reshape(weights, [T, 2, 1])), [1]);
};

const cases: Readonly<Record<string, Case>> = {
  softmax: {
    shapes: (T) => ({ x: [T, 5] }),
    body: ({ x }) => mul(softmax(x!), logSoftmax(x!)),
  },
  "softmax along a symbolic axis": {
    shapes: (T) => ({ x: [3, T] }),
    body: ({ x }) => softmax(x!),
  },
  "rmsNorm into a linear and a residual": {
    shapes: (T) => ({ x: [T, 6], w: [6], m: [6, 6] }),
    body: ({ x, w, m }) => add(x!, linear(rmsNorm(x!, w!), m!)),
  },
  swiglu: {
    shapes: (T) => ({ x: [T, 4], gate: [7, 4], up: [7, 4], down: [4, 7] }),
    body: ({ x, gate, up, down }) => linear(swiglu(linear(x!, gate!), linear(x!, up!)), down!),
  },
  "rope and attention": {
    shapes: (T) => ({ q: [2, T, 2, 4], k: [2, T, 1, 4], v: [2, T, 1, 3] }),
    body: ({ q, k, v }, b, T) =>
      attention(rotated(q!, b, T), rotated(k!, b, T), v!, { scale: 0.5 }),
  },
  "latent attention": {
    shapes: (T) => ({ q: [1, T, 2, 3], r: [1, T, 2, 4], c: [1, T, 3], k: [1, T, 4] }),
    body: ({ q, r, c, k }) => latentAttention(q!, r!, c!, k!, { scale: 0.5 }),
  },
  crossEntropy: {
    shapes: (T) => ({ x: [T, 4], head: [9, 4] }),
    body: ({ x, head }, b, T) => crossEntropy(linear(x!, head!), iota(b, "i32", [T], 0)),
  },
  "embedding and mean": {
    shapes: () => ({ table: [6, 4] }),
    body: ({ table }, b, T) => sub(take(table!, iota(b, "i32", [T], 0), 0), mean(table!, [0])),
  },
  "mixture of experts": {
    shapes: (T) => ({ x: [T, 4], w: [4, 3, 4], gate: [4, 4] }),
    body: (inputs, _b, T) => mixture(inputs, T, raggedDot),
  },
  "bf16 products": {
    shapes: (T) => ({ x: [T, 8], w: [6, 8] }),
    body: ({ x, w }) => bf16Linear(x!, w!),
    tolerance: 2 ** -7,
  },
  "FP8 products": {
    shapes: (T) => ({ x: [T, 130], w: [3, 130] }),
    body: ({ x, w }) => fp8Linear(x!, w!),
    tolerance: 0.02,
  },
  "FP8 mixture of experts": {
    shapes: (T) => ({ x: [T, 4], w: [4, 3, 4], gate: [4, 4] }),
    body: (inputs, _b, T) => mixture(inputs, T, (x, w, offsets) => fp8RaggedDot(x, w, offsets)),
    tolerance: 0.02,
  },
};

/** The composite's value and the gradients of half its square sum. */
function graphOf({ shapes, body }: Case): Graph {
  return declare("composite", (b) => {
    const T = b.size("T", 0, 6);
    const inputs: Inputs = Object.fromEntries(
      Object.entries(shapes(T)).map(([name, shape]) => [name, b.input(name, "f32", shape)]),
    );
    // T must be bound even where no input has it.
    b.input("tokens", "i32", [T]);
    const y = body(inputs, b, T);
    const loss = mul(sum(mul(y, y)), 0.5);
    const names = Object.keys(inputs);
    const grads = gradients(loss, Object.values(inputs));
    return {
      y,
      loss,
      ...Object.fromEntries(names.map((name, i) => [`grad.${name}`, grads[i]!])),
    };
  });
}

function inputsOf(graph: Graph, T: number): Record<string, HostTensor> {
  const sizes = new Map([["T", T]]);
  return Object.fromEntries(
    leavesNamed(graph, "input").map(({ name, type }, n) => {
      const shape = type.shape.map((dim) => evaluateDim(dim, sizes));
      const values = Array.from({ length: elementCount(shape) }, (_, i) =>
        type.dtype === "i32" ? i : Math.sin(i * 12.9898 + n * 78.233 + T),
      );
      return [name, hostTensor(type.dtype, shape, values)];
    }),
  );
}

function expectClose(got: HostTensor, want: HostTensor, tolerance: number, where: string): void {
  expect([got.dtype, got.shape], where).toEqual([want.dtype, want.shape]);
  const [a, b] = [toNumbers(got), toNumbers(want)];
  const largest = b.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  const bound = isFloat(want.dtype) ? tolerance * largest : 0;
  for (let i = 0; i < b.length; i++)
    if (!(Math.abs(a[i]! - b[i]!) <= bound))
      expect.fail(`${where}: element ${i} is ${a[i]}, expected ${b[i]}`);
}

test.each(Object.entries(cases))("%s", async (_name, definition) => {
  const graph = graphOf(definition);
  for (const fuse of [true, false]) {
    const backend = createInterpreterBackend({ parallelOrder: fuse ? "descending" : "ascending" });
    const compiled = await compile(graph, backend, { fuse });
    verifyProgram(compiled.program);
    for (const T of [5, 1, 0, 4]) {
      const inputs = inputsOf(graph, T);
      const want = interpret(graph, inputs).outputs;
      const got = await compiled.run(inputs);
      for (const name of Object.keys(want))
        expectClose(
          got[name]!,
          want[name]!,
          definition.tolerance ?? 2e-6,
          `${name}, T = ${T}, ${fuse ? "fused" : "unfused"}`,
        );
    }
  }
});

test("a step of a cache and a moment: state is read, updated in place and read again", async () => {
  const graph = declare("step", (b) => {
    const T = b.size("T", 1, 3);
    const cache = b.state("cache", "bf16", [6, 4]);
    const moment = b.state("moment", "f32", [2, 4]);
    const w = b.parameter("w", "f32", [2, 4]);
    const x = b.input("x", "f32", [T, 4]);
    const start = b.input("start", "i32", []);
    const rows = updateSlice(cache, convert(x, "bf16"), start, 0);
    b.update(cache, rows);
    const y = linear(convert(rows, "f32"), w);
    const [grad] = gradients(sum(mul(y, y)), [w]);
    const next = add(mul(moment, 0.9), mul(grad!, 0.1));
    b.update(moment, next);
    b.update(w, sub(w, mul(next, 0.01)));
    const key = b.constant(hostTensor("u32", [2], [1, 2]));
    return { y, noise: randomNormal(key, [T, 3]) };
  });
  const compiled = await compile(graph, createInterpreterBackend());
  let states: Record<string, HostTensor> = {
    w: hostTensor("f32", [2, 4], [1, -1, 0.5, 0.25, 2, 0, -0.5, 1]),
  };
  await compiled.store.write("w", states["w"]!);
  for (const [start, T] of [
    [0, 3],
    [3, 1],
    [4, 2],
    [5, 3],
  ] as const) {
    const x = hostTensor(
      "f32",
      [T, 4],
      Array.from({ length: T * 4 }, (_, i) => Math.cos(i + start)),
    );
    const inputs = { x, start: hostTensor("i32", [], [start]) };
    const want = interpret(graph, inputs, { states });
    const got = await compiled.run(inputs);
    for (const [name, value] of Object.entries(want.outputs))
      expectClose(got[name]!, value, 1e-6, `${name} at ${start}`);
    for (const [name, value] of Object.entries(want.states))
      expectClose(await compiled.store.read(name), value, 1e-6, `${name} at ${start}`);
    ({ states } = want);
  }
});
