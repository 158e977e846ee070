// Composites against references written out with loops, and their gradients against central differences. Everything runs in
// doubles, so that the two agree to many digits.
import type { GraphBuilder, Tensor } from "@millrace/graph";
import {
  attention,
  crossEntropy,
  declare,
  elementCount,
  gradients,
  latentAttention,
  logSoftmax,
  mul,
  permuteRows,
  repeatRows,
  rmsNorm,
  rope,
  ropeTables,
  routingWeights,
  sigmoid,
  silu,
  softmax,
  sum,
  swiglu,
} from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interpret } from "./interpret.ts";
import type { InterpreterValue } from "./value.ts";

type Values = Readonly<Record<string, InterpreterValue>>;
type Build = (b: GraphBuilder, inputs: Readonly<Record<string, Tensor>>) => Tensor;

/** Repeatable numbers from about -2 to 2. */
function numbers(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state / 2 ** 32 - 0.5) * 4;
  };
}

function floats(next: () => number, ...shape: number[]): InterpreterValue {
  return { dtype: "f32", shape, data: Float64Array.from({ length: elementCount(shape) }, next) };
}

function ints(shape: readonly number[], values: ArrayLike<number>): InterpreterValue {
  return { dtype: "i32", shape, data: Float64Array.from(values) };
}

function declareInputs(b: GraphBuilder, values: Values): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(values).map(([name, { dtype, shape }]) => [name, b.input(name, dtype, shape)]),
  );
}

function evaluate(build: Build, values: Values): Float64Array {
  const graph = declare("composite", (b) => ({ y: build(b, declareInputs(b, values)) }));
  return interpret(graph, values, { precision: "f64" }).outputs["y"]!.data;
}

function expectClose(got: ArrayLike<number>, want: ArrayLike<number>, tolerance = 1e-7): void {
  expect(got.length).toBe(want.length);
  for (let i = 0; i < want.length; i++)
    if (!(Math.abs(got[i]! - want[i]!) <= tolerance * Math.max(1, Math.abs(want[i]!))))
      expect.fail(`element ${i} is ${got[i]}, expected ${want[i]}`);
}

/** Gradients of a weighted sum of the outputs by each of `names`, against differences of every element. */
function checkGradients(build: Build, values: Values, names: readonly string[]): void {
  const weigh = (b: GraphBuilder, inputs: Record<string, Tensor>): Tensor => {
    const y = build(b, inputs);
    return sum(mul(y, b.input("weights", "f32", y.shape)));
  };
  const shape = declare("shape", (b) => ({ y: build(b, declareInputs(b, values)) }));
  const { node, output } = shape.outputs[0]!.value;
  const sizes = shape.nodes[node]!.outputs[output]!.shape as number[];
  const all: Values = { ...values, weights: floats(numbers(99), ...sizes) };
  const graph = declare("gradient", (b) => {
    const inputs = declareInputs(b, values);
    const loss = weigh(b, inputs);
    const found = gradients(
      loss,
      names.map((name) => inputs[name]!),
    );
    return { loss, ...Object.fromEntries(found.map((x, i) => [names[i]!, x])) };
  });
  const { outputs } = interpret(graph, all, { precision: "f64" });
  const lossAt = (inputs: Values): number =>
    interpret(graph, inputs, { precision: "f64" }).outputs["loss"]!.data[0]!;
  const step = 1e-4;
  for (const name of names) {
    const value = values[name]!;
    const differences = value.data.map((x, i) => {
      const moved = (by: number): number =>
        lossAt({ ...all, [name]: { ...value, data: value.data.with(i, x + by) } });
      return (moved(step) - moved(-step)) / (2 * step);
    });
    expectClose(outputs[name]!.data, differences, 2e-6);
  }
}

const few = { numRuns: 12 };
const seeds = fc.integer({ min: 0, max: 1e6 });
const upTo = (max: number): fc.Arbitrary<number> => fc.integer({ min: 1, max });
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function softmaxOf(values: readonly number[]): number[] {
  const largest = Math.max(...values);
  const exponentials = values.map((x) => Math.exp(x - largest));
  return exponentials.map((x) => x / total(exponentials));
}

describe("softmax", () => {
  const shapes = fc.tuple(upTo(3), upTo(5), upTo(3), fc.integer({ min: 0, max: 2 }), seeds);

  test("and its logarithm along any axis", () => {
    fc.assert(
      fc.property(shapes, ([a, b, c, axis, seed]) => {
        const x = floats(numbers(seed), a, b, c);
        const stride = [b * c, c, 1][axis]!;
        const size = [a, b, c][axis]!;
        const want = x.data.map((_, i) => {
          const first = i - (Math.floor(i / stride) % size) * stride;
          return softmaxOf(range(size).map((j) => x.data[first + j * stride]!))[
            (i - first) / stride
          ]!;
        });
        expectClose(
          evaluate((_, t) => softmax(t["x"]!, axis), { x }),
          want,
        );
        expectClose(
          evaluate((_, t) => logSoftmax(t["x"]!, axis), { x }),
          want.map(Math.log),
        );
      }),
      few,
    );
  });

  test("stays finite for large inputs", () => {
    const x: InterpreterValue = { dtype: "f32", shape: [3], data: Float64Array.of(1e4, 0, -1e30) };
    expect([...evaluate((_, t) => softmax(t["x"]!), { x })]).toEqual([1, 0, 0]);
    expectClose(
      evaluate((_, t) => logSoftmax(t["x"]!), { x }),
      [0, -1e4, -1e30],
    );
  });

  test("gradients", () => {
    const x = floats(numbers(1), 2, 5);
    for (const f of [softmax, logSoftmax])
      for (const axis of [0, 1]) checkGradients((_, t) => f(t["x"]!, axis), { x }, ["x"]);
  });
});

describe("rmsNorm and swiglu", () => {
  test("values and gradients", () => {
    fc.assert(
      fc.property(upTo(3), upTo(7), seeds, (rows, width, seed) => {
        const next = numbers(seed);
        const values = { x: floats(next, rows, width), w: floats(next, width) };
        const norm: Build = (_, t) => rmsNorm(t["x"]!, t["w"]!, 1e-2);
        const want = values.x.data.map((x, i) => {
          const row = values.x.data.slice(i - (i % width), i - (i % width) + width);
          const square = total([...row].map((y) => y * y)) / width;
          return (x / Math.sqrt(square + 1e-2)) * values.w.data[i % width]!;
        });
        expectClose(evaluate(norm, values), want);
        checkGradients(norm, values, ["x", "w"]);

        const gates = { gate: floats(next, rows, width), up: floats(next, rows, width) };
        const gated: Build = (_, t) => swiglu(t["gate"]!, t["up"]!);
        expectClose(
          evaluate(gated, gates),
          gates.gate.data.map((g, i) => (g / (1 + Math.exp(-g))) * gates.up.data[i]!),
        );
        checkGradients(gated, gates, ["gate", "up"]);
        checkGradients((_, t) => silu(t["gate"]!), gates, ["gate"]);
      }),
      few,
    );
  });
});

describe("rope", () => {
  const frequencies = floats(() => 0.7, 3).data.map((x, j) => x ** j);
  const rotate: Build = (_, t) => {
    const { cos, sin } = ropeTables(t["positions"]!, t["frequencies"]!);
    return rope(t["x"]!, cos, sin);
  };
  const f: InterpreterValue = { dtype: "f32", shape: [3], data: frequencies };

  test("turns each interleaved pair by position times frequency, positions per sequence or for all", () => {
    fc.assert(
      fc.property(upTo(2), upTo(4), upTo(3), fc.boolean(), seeds, (b, t, h, own, seed) => {
        const x = floats(numbers(seed), b, t, h, 6);
        const places = range(own ? b * t : t).map((i) => (i * 7 + seed) % 50);
        const positions = ints(own ? [b, t] : [t], places);
        const want = x.data.map((value, i) => {
          const token = Math.floor(i / (h * 6));
          const angle = places[own ? token : token % t]! * frequencies[(i % 6) >> 1]!;
          const partner = x.data[i ^ 1]!;
          return value * Math.cos(angle) + (i % 2 ? 1 : -1) * partner * Math.sin(angle);
        });
        expectClose(evaluate(rotate, { x, positions, frequencies: f }), want);
      }),
      few,
    );
  });

  test("keeps lengths, and its derivative turns back", () => {
    const x = floats(numbers(3), 2, 2, 6);
    const values = { x, positions: ints([2], [0, 9]), frequencies: f };
    const square = (data: Float64Array): number => total([...data].map((v) => v * v));
    expect(square(evaluate(rotate, values))).toBeCloseTo(square(x.data), 6);
    checkGradients(rotate, values, ["x"]);
  });
});

describe("attention", () => {
  interface Case {
    readonly b: number;
    readonly t: number;
    readonly s: number;
    readonly kvHeads: number;
    readonly shared: number;
    readonly starts?: readonly number[];
    readonly segments?: readonly number[];
  }
  const [dk, dv, scale] = [4, 3, 0.6];

  function reference(q: Float64Array, k: Float64Array, v: Float64Array, c: Case): number[] {
    const heads = c.kvHeads * c.shared;
    return range(c.b).flatMap((b) =>
      range(c.t).flatMap((t) =>
        range(heads).flatMap((h) => {
          const shared = Math.floor(h / c.shared);
          const key = (s: number): number => (b * c.s + s) * c.kvHeads + shared;
          const seen = range(c.s).filter(
            (s) =>
              s <= (c.starts ? c.starts[b % c.starts.length]! : 0) + t &&
              (!c.segments || c.segments[b * c.t + t] === c.segments[b * c.t + s]),
          );
          const weights = softmaxOf(
            seen.map(
              (s) =>
                scale *
                total(
                  range(dk).map(
                    (d) => q[((b * c.t + t) * heads + h) * dk + d]! * k[key(s) * dk + d]!,
                  ),
                ),
            ),
          );
          return range(dv).map((d) => total(seen.map((s, i) => weights[i]! * v[key(s) * dv + d]!)));
        }),
      ),
    );
  }

  function inputsOf(c: Case, seed: number): Values {
    const next = numbers(seed);
    return {
      q: floats(next, c.b, c.t, c.kvHeads * c.shared, dk),
      k: floats(next, c.b, c.s, c.kvHeads, dk),
      v: floats(next, c.b, c.s, c.kvHeads, dv),
      ...(c.starts && { start: ints(c.starts.length === 1 ? [] : [c.b], c.starts) }),
      ...(c.segments && { segments: ints([c.b, c.t], c.segments) }),
    };
  }

  const attend: Build = (_, { q, k, v, start, segments }) =>
    attention(q!, k!, v!, { scale, ...(start && { start }), ...(segments && { segments }) });

  const sizes = fc.record({
    b: upTo(2),
    t: upTo(4),
    kvHeads: upTo(2),
    shared: upTo(3),
    seed: seeds,
    own: fc.boolean(),
    after: fc.integer({ min: 0, max: 4 }),
  });

  test("over all keys up to the query, for each head its own or shared keys", () => {
    fc.assert(
      fc.property(sizes, ({ seed, ...c }) => {
        const whole: Case = { ...c, s: c.t };
        const values = inputsOf(whole, seed);
        const { q, k, v } = values;
        const want = reference(q!.data, k!.data, v!.data, whole);
        expectClose(evaluate(attend, values), want);
      }),
      few,
    );
  });

  test("continuing a cache with room behind it, at one position or one for each sequence", () => {
    fc.assert(
      fc.property(sizes, ({ seed, own, after, ...c }) => {
        const starts = own && c.b > 1 ? range(c.b).map((b) => (after + b) % 5) : [after];
        const cached: Case = { ...c, s: 10, starts };
        const values = inputsOf(cached, seed);
        const { q, k, v } = values;
        expectClose(evaluate(attend, values), reference(q!.data, k!.data, v!.data, cached));
      }),
      few,
    );
  });

  test("of packed samples sees nothing of its neighbours", () => {
    const packed: Case = {
      b: 2,
      t: 5,
      s: 5,
      kvHeads: 2,
      shared: 1,
      segments: [0, 0, 1, 1, 1, 4, 4, 4, 4, 2],
    };
    const values = inputsOf(packed, 5);
    const { q, k, v } = values;
    expectClose(evaluate(attend, values), reference(q!.data, k!.data, v!.data, packed));
  });

  test("gradients, with own and with shared keys", () => {
    for (const shared of [1, 2]) {
      const c: Case = { b: 1, t: 3, s: 3, kvHeads: 2, shared };
      checkGradients(attend, inputsOf(c, 7), ["q", "k", "v"]);
    }
    const cached: Case = { b: 2, t: 2, s: 4, kvHeads: 1, shared: 2, starts: [1, 2] };
    checkGradients(attend, inputsOf(cached, 8), ["q", "k", "v"]);
  });

  const latent: Build = (_, { qLatent, qRope, cKv, kRope, start }) =>
    latentAttention(qLatent!, qRope!, cKv!, kRope!, { scale, ...(start && { start }) });

  test("latent attention is multi-query attention over the cache", () => {
    fc.assert(
      fc.property(sizes, ({ b, t, shared, after, seed }) => {
        const next = numbers(seed);
        const [rank, width, s] = [3, 1, t + after]; // rank + width = dk, values of width rank = dv
        const q = floats(next, b, t, shared, dk);
        const k = floats(next, b, s, dk);
        const part = (x: InterpreterValue, from: number, to: number): InterpreterValue => ({
          ...x,
          shape: [...x.shape.slice(0, -1), to - from],
          data: x.data.filter((_, i) => i % dk >= from && i % dk < to),
        });
        const values: Values = {
          qLatent: part(q, 0, rank),
          qRope: part(q, rank, rank + width),
          cKv: part(k, 0, rank),
          kRope: part(k, rank, rank + width),
          start: ints([], [after]),
        };
        const c: Case = { b, t, s, kvHeads: 1, shared, starts: [after] };
        const want = reference(q.data, k.data, values["cKv"]!.data, c);
        expectClose(evaluate(latent, values), want);
      }),
      few,
    );
  });

  test("latent gradients", () => {
    const next = numbers(11);
    const values = {
      qLatent: floats(next, 1, 3, 2, 3),
      qRope: floats(next, 1, 3, 2, 2),
      cKv: floats(next, 1, 3, 3),
      kRope: floats(next, 1, 3, 2),
    };
    checkGradients(latent, values, ["qLatent", "qRope", "cKv", "kRope"]);
  });
});

describe("crossEntropy", () => {
  test("is the negative logarithm of the label's probability, and 0 where there is no label", () => {
    fc.assert(
      fc.property(upTo(4), upTo(9), seeds, (rows, v, seed) => {
        const logits = floats(numbers(seed), rows, v);
        const labels = range(rows).map((i) => ((seed + 3 * i) % (v + 2)) - 1);
        const build: Build = (_, t) => crossEntropy(t["logits"]!, t["labels"]!);
        const want = labels.map((label, i) => {
          if (label < 0 || label >= v) return 0;
          return -Math.log(softmaxOf(Array.from(logits.data.subarray(i * v, (i + 1) * v)))[label]!);
        });
        const values = { logits, labels: ints([rows], labels) };
        expectClose(evaluate(build, values), want);
        checkGradients(build, values, ["logits"]);
      }),
      few,
    );
  });

  test("keeps a row of large logits exact", () => {
    const logits: InterpreterValue = {
      dtype: "f32",
      shape: [1, 2],
      data: Float64Array.of(1e5, 1e5),
    };
    const build: Build = (_, t) => crossEntropy(t["logits"]!, t["labels"]!);
    expectClose(evaluate(build, { logits, labels: ints([1], [1]) }), [Math.LN2]);
  });
});

describe("routing", () => {
  test("weighs by scores without bias", () => {
    const next = numbers(4);
    const values: Values = { logits: floats(next, 3, 6), chosen: ints([3, 2], [5, 0, 1, 2, 3, 1]) };
    for (const normTopkProb of [false, true]) {
      const build: Build = (_, t) =>
        routingWeights(sigmoid(t["logits"]!), t["chosen"]!, {
          normTopkProb,
          routedScalingFactor: 2.5,
        });
      const scores = values["logits"]!.data.map((x) => 1 / (1 + Math.exp(-x)));
      const want = range(3).flatMap((t) => {
        const picked = [0, 1].map((j) => scores[t * 6 + values["chosen"]!.data[t * 2 + j]!]!);
        return picked.map((s) => (2.5 * s) / (normTopkProb ? total(picked) : 1));
      });
      expectClose(evaluate(build, values), want);
      checkGradients(build, values, ["logits"]);
    }
  });
});

describe("rows", () => {
  test("are permuted and repeated, and their gradients come back", () => {
    fc.assert(
      fc.property(upTo(4), upTo(3), upTo(3), seeds, (rows, k, width, seed) => {
        const order = range(rows * k).sort((i, j) => ((i * 7 + seed) % 11) - ((j * 7 + seed) % 11));
        const inverse = range(rows * k).map((i) => order.indexOf(i));
        const values: Values = {
          x: floats(numbers(seed), rows, width),
          order: ints([rows * k], order),
          inverse: ints([rows * k], inverse),
        };
        const build: Build = (_, t) =>
          permuteRows(repeatRows(t["x"]!, k), t["order"]!, t["inverse"]!);
        const want = order.flatMap((i) =>
          range(width).map((d) => values["x"]!.data[Math.floor(i / k) * width + d]!),
        );
        expectClose(evaluate(build, values), want);
        checkGradients(build, values, ["x"]);
      }),
      few,
    );
  });
});

describe("gradients of gradients", () => {
  /** The derivative of a curved function of the output by `name`, as a function itself. */
  const derivative =
    (build: Build, name: string): Build =>
    (b, t) => {
      const y = build(b, t);
      return gradients(sum(mul(mul(y, y), y)), [t[name]!])[0]!;
    };
  const next = numbers(21);
  const cases: Record<string, readonly [Build, Values, string]> = {
    softmax: [(_, t) => softmax(t["x"]!), { x: floats(next, 2, 3) }, "x"],
    rmsNorm: [
      (_, t) => rmsNorm(t["x"]!, t["w"]!, 1e-2),
      { x: floats(next, 2, 3), w: floats(next, 3) },
      "x",
    ],
    swiglu: [
      (_, t) => swiglu(t["gate"]!, t["up"]!),
      { gate: floats(next, 3), up: floats(next, 3) },
      "gate",
    ],
    crossEntropy: [
      (_, t) => crossEntropy(t["x"]!, t["labels"]!),
      { x: floats(next, 2, 3), labels: ints([2], [1, -1]) },
      "x",
    ],
    attention: [
      (_, t) => attention(t["q"]!, t["k"]!, t["v"]!, { scale: 0.5 }),
      { q: floats(next, 1, 2, 2, 3), k: floats(next, 1, 2, 1, 3), v: floats(next, 1, 2, 1, 2) },
      "q",
    ],
    latentAttention: [
      (_, t) => latentAttention(t["q"]!, t["r"]!, t["c"]!, t["k"]!, { scale: 0.5 }),
      {
        q: floats(next, 1, 2, 2, 3),
        r: floats(next, 1, 2, 2, 1),
        c: floats(next, 1, 2, 3),
        k: floats(next, 1, 2, 1),
      },
      "c",
    ],
  };

  test.each(Object.entries(cases))("%s", (_name, [build, values, name]) => {
    const floatNames = Object.keys(values).filter((key) => values[key]!.dtype === "f32");
    checkGradients(derivative(build, name), values, floatNames);
  });
});
