/**
 * What outlives a run. In: a backend. Out: tests that states last, are shared by programs over one store, can be written in
 * part, and that one executable serves every size within its bounds.
 */
import type { Backend, Graph, HostTensor, Store } from "@millrace/graph";
import {
  MillraceError,
  add,
  compile,
  declare,
  dotGeneral,
  hostTensor,
  mul,
  softmax,
  sum,
} from "@millrace/graph";
import { seededTensor } from "../arbitraries/tensor.ts";
import type { SuiteContext } from "../describe-backend.ts";
import { ConformanceError, expectSameBits, expectSameValues } from "../report.ts";

const vector = (...values: readonly number[]): HostTensor =>
  hostTensor("f32", [values.length], values);

const counter = (): Graph =>
  declare("counter", (b) => {
    const total = b.state("total", "f32", [4]);
    const next = add(total, b.input("x", "f32", [4]));
    b.update(total, next);
    return { before: mul(total, 1), after: next };
  });

/** Throws unless `action` fails with an error of ours that has one of these codes. */
export async function expectRefused(
  what: string,
  codes: readonly string[],
  action: () => unknown,
): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (error instanceof MillraceError && codes.includes(error.code)) return;
    throw new ConformanceError({
      what: `${what} gives ${String(error)}, expected an error of code ${codes.join(" or ")}`,
      cause: error,
    });
  }
  throw new ConformanceError({
    what: `${what} is accepted, expected an error of code ${codes.join(" or ")}`,
  });
}

export function describeState(context: SuiteContext): void {
  const { describe, timeout } = context;
  const test = (name: string, body: (backend: Backend, store: Store) => Promise<void>): void =>
    context.test(
      name,
      async () => {
        const backend = await context.backend();
        const store = backend.createStore();
        try {
          await body(backend, store);
        } finally {
          store.dispose();
        }
      },
      timeout,
    );
  describe("state", () => {
    test("starts at zero and lasts from run to run", async (backend, store) => {
      const program = await compile(counter(), backend, { store });
      const what = backend.name;
      for (const [before, after] of [
        [0, 1],
        [1, 2],
        [2, 3],
      ] as const) {
        const out = await program.run({ x: vector(1, 1, 1, 1) });
        const expected = {
          before: vector(before, before, before, before),
          after: vector(after, after, after, after),
        };
        expectSameValues(out, expected, { what });
      }
      program.dispose();
      expectSameValues(
        { total: await store.read("total") },
        { total: vector(3, 3, 3, 3) },
        { what },
      );
    });

    test("is shared by programs over one store", async (backend, store) => {
      const train = await compile(counter(), backend, { store });
      const graph = declare("read", (b) => ({ sum: sum(b.state("total", "f32", [4])) }));
      const sample = await compile(graph, backend, { store });
      await train.run({ x: vector(1, 2, 3, 4) });
      const first = await sample.run({});
      await train.run({ x: vector(1, 2, 3, 4) });
      const second = await sample.run({});
      const what = backend.name;
      expectSameValues(first, { sum: hostTensor("f32", [], [10]) }, { what });
      expectSameValues(second, { sum: hostTensor("f32", [], [20]) }, { what });
      train.dispose();
      sample.dispose();
    });

    test("is written whole and in part, and read as a copy", async (backend, store) => {
      const type = { dtype: "f32", shape: [2, 3] } as const;
      store.ensure([{ name: "w", type }]);
      store.ensure([{ name: "w", type }]);
      await store.write("w", hostTensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]));
      await store.write("w", vector(8, 9), 2);
      const copy = await store.read("w");
      const expected = hostTensor("f32", [2, 3], [1, 2, 8, 9, 5, 6]);
      expectSameValues({ w: copy }, { w: expected }, { what: backend.name });
      copy.data.fill(0 as never);
      expectSameValues(
        { w: await store.read("w") },
        { w: expected },
        { what: "after a change of the copy" },
      );
      if (store.bytes < 24)
        throw new ConformanceError({ what: `a store of 24 bytes says it holds ${store.bytes}` });
      await expectRefused("another type for a state", ["input", "shape", "dtype"], () => {
        store.ensure([{ name: "w", type: { dtype: "f32", shape: [3, 2] } }]);
      });
      await expectRefused("a write past the end", ["input", "shape"], () =>
        store.write("w", vector(1, 2), 5),
      );
      await expectRefused("a write of another dtype", ["input", "dtype"], () =>
        store.write("w", hostTensor("i32", [1], [1])),
      );
      await expectRefused("a state that is not there", ["input"], () => store.read("v"));
    });

    test("outputs are copies that later runs leave alone", async (backend, store) => {
      const program = await compile(counter(), backend, { store });
      const first = await program.run({ x: vector(1, 2, 3, 4) });
      const kept = { after: { ...first["after"]!, data: first["after"]!.data.slice() } };
      await program.run({ x: vector(5, 5, 5, 5) });
      expectSameBits({ after: first["after"]! }, kept, "an output after another run", backend.name);
      program.dispose();
    });
  });
  describe("sizes", () => {
    test("one program serves all of them", async (backend) => {
      const graph = declare("attend", (b) => {
        const T = b.size("T", 0, 129);
        const S = b.size("S", 1, 130);
        const q = b.input("q", "f32", [T, 9]);
        const k = b.input("k", "f32", [S, 9]);
        const product = { lhsBatch: [], rhsBatch: [], dtype: "f32" } as const;
        const scores = dotGeneral(q, k, { ...product, lhsContract: [1], rhsContract: [1] });
        const y = dotGeneral(softmax(scores), k, {
          ...product,
          lhsContract: [1],
          rhsContract: [0],
        });
        return { y, total: sum(y, [0]) };
      });
      const program = await compile(graph, backend);
      for (const [t, s] of [
        [129, 130],
        [1, 1],
        [0, 7],
        [128, 127],
        [17, 33],
        [129, 130],
      ] as const) {
        const inputs = { q: seededTensor("f32", [t, 9], t), k: seededTensor("f32", [s, 9], s) };
        const { outputs } = context.interpret(graph, inputs);
        const tolerances = {
          y: { ulps: 0, absolute: 1e-5 },
          total: { ulps: 0, absolute: 1e-5 * (1 + t) },
        };
        expectSameValues(await program.run(inputs), outputs, {
          what: `T = ${t}, S = ${s}`,
          tolerances,
        });
      }
      program.dispose();
      program.store.dispose();
    });
  });
}
