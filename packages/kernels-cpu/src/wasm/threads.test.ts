// Several threads: the same bits for any number of them, whatever is divided, and what a team does not share.
import type { Graph, HostTensor, Values } from "@millrace/graph";
import {
  compile,
  countingSort,
  declare,
  dot,
  dotGeneral,
  dtypes,
  exp,
  hostTensor,
  linear,
  mul,
  raggedDot,
  raggedOuter,
  scatterAdd,
  softmax,
  sum,
} from "@millrace/graph";
import { expectSameBits, graphArbitrary, seededTensor } from "@millrace/conformance";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { WasmBackend } from "./backend.ts";
import { createWasmBackend } from "./backend.ts";

const alone = createWasmBackend({ threads: 1 });
/** Threads that share whatever they can, however little there is to do. */
const teams = [2, 3, 4].map((threads) => createWasmBackend({ threads, divideFrom: 0 }));

interface Case {
  readonly graph: Graph;
  readonly inputs: Values;
  readonly states?: Values;
  readonly sizes?: Readonly<Record<string, number>>;
}

/** Outputs and states after two runs. */
async function results(
  backend: WasmBackend,
  { graph, inputs, states = {}, sizes }: Case,
): Promise<Record<string, HostTensor>> {
  const program = await compile(graph, backend);
  const { store } = program;
  for (const { name } of store.specs) if (states[name]) await store.write(name, states[name]);
  await program.run(inputs, sizes);
  const all: Record<string, HostTensor> = { ...(await program.run(inputs, sizes)) };
  for (const { name } of store.specs) all[`state ${name}`] = await store.read(name);
  program.dispose();
  store.dispose();
  return all;
}

async function expectSameForAnyTeam(theCase: Case): Promise<void> {
  const expected = await results(alone, theCase);
  for (const team of teams) {
    const actual = await results(team, theCase);
    expectSameBits(actual, expected, `${team.threads} threads`, theCase.graph.name);
  }
}

it("random graphs", async () => {
  await fc.assert(
    fc.asyncProperty(graphArbitrary({ dtypes, maxNodes: 16 }), expectSameForAnyTeam),
    { numRuns: 60 },
  );
}, 120_000);

const f32 = (seed: number, ...shape: number[]): HostTensor => seededTensor("f32", shape, seed);

it.each([
  [1, 1, 1],
  [3, 700, 40],
  [5, 33, 9],
  [13, 17, 300],
  [130, 8, 260],
  [100, 530, 64],
  [16, 96, 576],
  [40, 1030, 12],
  [127, 600, 521],
  [400, 391, 5],
])("products of %i x %i x %i", async (m, n, k) => {
  const graph = declare("product", (b) => {
    const x = b.input("x", "f32", [m, k]);
    const w = b.input("w", "f32", [n, k]);
    return { y: linear(x, w), z: dot(x, b.input("v", "f32", [k, n])) };
  });
  const inputs = { x: f32(1, m, k), w: f32(2, n, k), v: f32(3, k, n) };
  await expectSameForAnyTeam({ graph, inputs });
});

it.each([0, 1, 4, 5, 47, 48, 97, 200])("%i rows, known when it runs", async (T) => {
  const graph = declare("rows", (b) => {
    const x = b.input("x", "f32", [b.size("T", 0, 200), 20]);
    return { y: softmax(linear(x, b.input("w", "f32", [50, 20])), 1) };
  });
  await expectSameForAnyTeam({ graph, inputs: { x: f32(1, T, 20), w: f32(2, 50, 20) } });
});

it.each([[[0, 64, 64, 64, 64, 64]], [[0, 1, 3, 6, 31, 64]], [[0, 0, 0, 3, 9, 64]]])(
  "experts with rows at %j",
  async (offsets) => {
    const graph = declare("experts", (b) => {
      const x = b.input("x", "f32", [64, 24]);
      const at = b.input("offsets", "i32", [6]);
      const y = raggedDot(x, b.input("w", "f32", [5, 20, 24]), at);
      return { y, outer: raggedOuter(x, y, at) };
    });
    const inputs = {
      x: f32(1, 64, 24),
      w: f32(2, 5, 20, 24),
      offsets: hostTensor("i32", [6], offsets),
    };
    await expectSameForAnyTeam({ graph, inputs });
  },
);

it("batches of products", async () => {
  const graph = declare("batch", (b) => {
    const q = b.input("q", "f32", [3, 5, 13, 8]);
    const k = b.input("k", "f32", [3, 5, 11, 8]);
    const heads = { lhsBatch: [0, 1], rhsBatch: [0, 1], lhsContract: [3], rhsContract: [3] };
    return { scores: exp(dotGeneral(q, k, heads)) };
  });
  await expectSameForAnyTeam({
    graph,
    inputs: { q: f32(1, 3, 5, 13, 8), k: f32(2, 3, 5, 11, 8) },
  });
});

it("what must stay in order: sums of everything, sorting, scattering", async () => {
  const graph = declare("order", (b) => {
    const x = b.input("x", "f32", [37, 29]);
    const at = b.input("at", "i32", [37]);
    const total = b.state("total", "f32", []);
    b.update(total, sum(mul(x, total)));
    const { permutation, offsets } = countingSort(at, 6);
    return { all: sum(x), permutation, offsets, scattered: scatterAdd(at, x, 6) };
  });
  const at = hostTensor(
    "i32",
    [37],
    Array.from({ length: 37 }, (_, i) => (i * 7) % 6),
  );
  await expectSameForAnyTeam({
    graph,
    inputs: { x: f32(1, 37, 29), at },
    states: { total: f32(4) },
  });
});

/** Adds a product to a state, again and again. */
const grow = (name: string): Graph =>
  declare(name, (b) => {
    const w = b.state("w", "f32", [64, 64]);
    const y = mul(dot(w, w), 0.01);
    b.update(w, y);
    return { y };
  });

it("two models on two backends at a time, and calls that nobody waits for", async () => {
  const run = async (backend: WasmBackend): Promise<HostTensor> => {
    const program = await compile(grow("grow"), backend);
    await program.store.write("w", f32(1, 64, 64));
    const all = [program.run({}), program.run({}), program.store.read("w"), program.run({})];
    program.dispose();
    const [, second, between] = await Promise.all(all);
    expect((between as HostTensor).data).toEqual((second as Record<string, HostTensor>)["y"]!.data);
    return program.store.read("w");
  };
  const expected = await run(alone);
  const both = await Promise.all(teams.slice(0, 2).map(run));
  for (const actual of both) expect(actual.data).toEqual(expected.data);
});

it("memory that is given back, however often programs and stores come and go", async () => {
  const [backend] = teams as [WasmBackend, ...WasmBackend[]];
  const store = backend.createStore();
  const ends = new Set<number>();
  for (let i = 0; i < 20; i++) {
    const program = await compile(grow(`grow ${i}`), backend, { store });
    await program.run({});
    program.dispose();
    store.dispose();
    const probe = await compile(grow("probe"), backend, { store });
    ends.add(store.bytes);
    probe.dispose();
  }
  expect(ends.size).toBe(1);
  backend.dispose();
  const again = await compile(grow("again"), backend);
  await expect(again.run({})).resolves.toHaveProperty("y");
});

it("numbers of threads that make no sense are refused", () => {
  for (const threads of [0, 1.5, Number.NaN, 1000])
    expect(() => createWasmBackend({ threads })).toThrow(/not a whole number from 1 to 256/);
});
