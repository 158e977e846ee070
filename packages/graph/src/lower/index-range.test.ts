// Reads at positions that an order gives have no guard; all others keep it.
import { describe, expect, it } from "vitest";
import { buildProgram } from "../compile.ts";
import type { GraphBuilder } from "../declare/builder.ts";
import { countingSort, declare, reshape, sort, take, topK } from "../index.ts";
import { printKernel } from "../print.ts";
import type { Tensor } from "../tensor.ts";

const capabilities = {
  dtypes: ["f32", "i32"] as const,
  alignment: 16,
  maxBytes: 2 ** 30,
  maxBuffersPerKernel: 16,
  arrayBytes: 0,
};

/** Whether rows of x [rows, 3] taken at these positions are guarded. */
function isGuarded(rows: number, positions: (b: GraphBuilder) => Tensor): boolean {
  const graph = declare("taken", (b) => ({
    y: take(b.input("x", "f32", [rows, 3]), positions(b), 0),
  }));
  const { kernels } = buildProgram(graph, capabilities).program;
  const taken = kernels.map(printKernel).filter((text) => text.includes(`f32[${rows}, 3]`));
  expect(taken).toHaveLength(1);
  return taken[0]!.includes("select");
}

const scores = (b: GraphBuilder): Tensor => b.input("scores", "f32", [5, 7]);
/** The two best of seven for each of five, as keys of groups. */
const keys = (b: GraphBuilder): Tensor => reshape(topK(scores(b), 2)[1], [10]);

describe("guards of reads", () => {
  it("go where the index is a place in an order", () => {
    expect(isGuarded(7, (b) => topK(scores(b), 2)[1])).toBe(false);
    expect(isGuarded(9, (b) => keys(b))).toBe(false);
    expect(isGuarded(7, (b) => sort(scores(b))[1])).toBe(false);
    expect(isGuarded(10, (b) => countingSort(keys(b), 7).permutation)).toBe(false);
    expect(isGuarded(10, (b) => countingSort(keys(b), 9).inverse)).toBe(false);
    expect(isGuarded(11, (b) => countingSort(keys(b), 7).offsets)).toBe(false);
  });

  it("stay where it may be outside", () => {
    expect(isGuarded(6, (b) => topK(scores(b), 2)[1])).toBe(true);
    expect(isGuarded(10, (b) => countingSort(keys(b), 7).offsets)).toBe(true);
    expect(isGuarded(10, (b) => b.input("at", "i32", [4]))).toBe(true);
    expect(isGuarded(10, (b) => countingSort(keys(b), 6).permutation)).toBe(true);
    const given = (b: GraphBuilder): Tensor => b.input("at", "i32", [10]);
    expect(isGuarded(10, (b) => countingSort(given(b), 7).permutation)).toBe(true);
  });
});
