// Attention in one pass: a query's bits depend neither on the queries beside it nor on the number of threads.
import type { CompiledProgram, Graph, HostTensor, Tensor, Values } from "@millrace/graph";
import {
  attention,
  compile,
  declare,
  differentiate,
  hostTensor,
  mul,
  reshape,
  sum,
  take,
} from "@millrace/graph";
import { expectSameBits, seededTensor } from "@millrace/conformance";
import { expect, it } from "vitest";
import { createWasmBackend } from "./backend.ts";

const HEADS = 4;

/** Attention over a cache, queries and visible keys in any number. */
const cached: Graph = declare("cached", (b) => {
  const T = b.size("T", 1, 280);
  const S = b.size("S", 1, 320);
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
  const q = seededTensor("f32", [1, 280, HEADS, 20], 1);
  const keys = (S: number): Values => {
    const [k, v] = [
      seededTensor("f32", [1, 320, 2, 20], 2),
      seededTensor("f32", [1, 320, 2, 12], 3),
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
  const all = await run(0, 280, 280);
  for (const [from, to, S] of [
    [0, 1, 1],
    [0, 63, 63],
    [63, 64, 64],
    [64, 70, 80],
    [100, 164, 256],
    [199, 200, 200],
    [130, 131, 256],
    [255, 257, 257],
    [260, 270, 320],
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
    const T = b.size("T", 1, 290);
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
  const results = async (threads: number): Promise<Record<string, HostTensor>> => {
    const program = await compile(graph, createWasmBackend({ threads, divideFrom: 0 }));
    const all: Record<string, HostTensor> = {};
    for (const T of [1, 65, 290])
      for (const [name, value] of Object.entries(await program.run(inputs(T))))
        all[`${name} of ${T} tokens`] = value;
    program.dispose();
    program.store.dispose();
    return all;
  };
  const expected = await results(1);
  for (const threads of [2, 3, 4])
    expectSameBits(await results(threads), expected, `${threads} threads`, "forward");
});

it.each([
  [4, 3, "read where they are"],
  [128, 70, "copied once"],
])("takes keys from pages: with up to %i queries, here %i, they are %s", async (most, T) => {
  const [S, page] = [128, 16];
  const table = [7, 0, 3, 9, 1, 8, 2, 5];
  const graph = declare("paged", (b) => {
    const tokens = b.size("T", 1, most);
    const start = b.input("start", "i32", []);
    const order = b.input("table", "i32", [1, S / page]);
    const keys = (name: string, width: number): Tensor =>
      reshape(take(b.input(name, "f32", [10, page, 2, width]), order, 0), [1, S, 2, width]);
    const q = b.input("q", "f32", [1, tokens, HEADS, 20]);
    const [k, v] = [keys("k", 20), keys("v", 12)];
    return { out: attention(q, k, v, { scale: 0.3, start }) };
  });
  const plain = declare("plain", (b) => {
    const tokens = b.size("T", 1, most);
    const start = b.input("start", "i32", []);
    const [q, k, v] = [
      b.input("q", "f32", [1, tokens, HEADS, 20]),
      b.input("k", "f32", [1, S, 2, 20]),
      b.input("v", "f32", [1, S, 2, 12]),
    ];
    return { out: attention(q, k, v, { scale: 0.3, start }) };
  });
  const pages = (width: number): HostTensor => seededTensor("f32", [10, page, 2, width], width);
  const inOrder = (width: number): HostTensor => {
    const all = Array.from(pages(width).data, Number);
    const size = page * 2 * width;
    const rowsOf = table.flatMap((at) => all.slice(at * size, (at + 1) * size));
    return hostTensor("f32", [1, S, 2, width], rowsOf);
  };
  const shared = {
    q: seededTensor("f32", [1, T, HEADS, 20], 1),
    start: hostTensor("i32", [], [S - T - 9]),
  };
  const run = async (declared: Graph, inputs: Values): Promise<[CompiledProgram, Values]> => {
    const program = await compile(declared, createWasmBackend());
    return [program, await program.run(inputs)];
  };
  const [paged, actual] = await run(graph, {
    ...shared,
    table: hostTensor("i32", [1, S / page], table),
    k: pages(20),
    v: pages(12),
  });
  const [contiguous, expected] = await run(plain, { ...shared, k: inOrder(20), v: inOrder(12) });
  expectSameBits(actual, expected, "pages", "paged");
  const copies = paged.program.kernels.length - contiguous.program.kernels.length;
  expect(copies).toBe(most === 4 ? 0 : 2);
  for (const program of [paged, contiguous]) program.dispose();
});
