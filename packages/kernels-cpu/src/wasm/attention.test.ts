// Attention in one pass: a query's bits depend neither on the queries beside it nor on the number of threads.
import type { Graph, HostTensor, Values } from "@millrace/graph";
import { attention, compile, declare, differentiate, hostTensor, mul, sum } from "@millrace/graph";
import { expectSameBits, seededTensor } from "@millrace/conformance";
import { expect, it } from "vitest";
import { createWasmBackend } from "./backend.ts";

const HEADS = 4;

/** Attention over a cache, queries and visible keys in any number. */
const cached: Graph = declare("cached", (b) => {
  const T = b.size("T", 1, 200);
  const S = b.size("S", 1, 256);
  const start = b.input("start", "i32", []);
  const q = b.input("q", "f32", [1, T, HEADS, 20]);
  const k = b.input("k", "f32", [1, S, 2, 20]);
  const v = b.input("v", "f32", [1, S, 2, 12]);
  return { out: attention(q, k, v, { scale: 0.3, start }) };
});

const rows = ({ dtype, data }: HostTensor, width: number, from: number, to: number): HostTensor =>
  hostTensor(
    dtype,
    [1, to - from, HEADS, width / HEADS],
    Array.from(data.slice(from * width, to * width), Number),
  );

it("gives a query the same bits however many come with it, and however many keys follow", async () => {
  const program = await compile(cached, createWasmBackend());
  expect(program.program.kernels.some(({ name }) => name.startsWith("attention"))).toBe(true);
  const q = seededTensor("f32", [1, 200, HEADS, 20], 1);
  const keys = (S: number): Values => {
    const [k, v] = [
      seededTensor("f32", [1, 256, 2, 20], 2),
      seededTensor("f32", [1, 256, 2, 12], 3),
    ];
    const first = ({ dtype, data, shape }: HostTensor): HostTensor =>
      hostTensor(dtype, [1, S, 2, shape[3]!], Array.from(data.slice(0, S * 2 * shape[3]!), Number));
    return { k: first(k), v: first(v) };
  };
  const run = async (from: number, to: number, S: number): Promise<HostTensor> => {
    const start = hostTensor("i32", [], [from]);
    const inputs = { q: rows(q, HEADS * 20, from, to), start, ...keys(S) };
    return (await program.run(inputs))["out"]!;
  };
  const all = await run(0, 200, 200);
  for (const [from, to, S] of [
    [0, 1, 1],
    [0, 63, 63],
    [63, 64, 64],
    [64, 70, 80],
    [100, 164, 256],
    [199, 200, 200],
    [130, 131, 256],
  ] as const) {
    const expected = { out: rows(all, HEADS * 12, from, to) };
    const actual = { out: await run(from, to, S) };
    expectSameBits(actual, expected, `queries ${from} to ${to} of ${S} keys`, "cached");
  }
  program.dispose();
});

it.each([
  [1, 2],
  [2, 4],
])("has the same bits with 1 to 4 threads: %i sequences, %i heads", async (batch, heads) => {
  const forward = declare("forward", (b) => {
    const T = b.size("T", 1, 160);
    const q = b.input("q", "f32", [batch, T, heads, 12]);
    const k = b.input("k", "f32", [batch, T, heads, 12]);
    const v = b.input("v", "f32", [batch, T, heads, 8]);
    const out = attention(q, k, v, { scale: 0.3 });
    return { out, loss: sum(mul(out, out)) };
  });
  const graph = differentiate(forward, "loss", ["q", "k", "v"]);
  const inputs = (T: number): Values => ({
    q: seededTensor("f32", [batch, T, heads, 12], 1),
    k: seededTensor("f32", [batch, T, heads, 12], 2),
    v: seededTensor("f32", [batch, T, heads, 8], 3),
  });
  const results = async (threads: number, T: number): Promise<Record<string, HostTensor>> => {
    const program = await compile(graph, createWasmBackend({ threads, divideFrom: 0 }));
    const outputs = await program.run(inputs(T));
    program.dispose();
    program.store.dispose();
    return outputs;
  };
  for (const T of [1, 65, 160]) {
    const expected = await results(1, T);
    for (const threads of [2, 3, 4])
      expectSameBits(await results(threads, T), expected, `${threads} threads`, `T = ${T}`);
  }
});
