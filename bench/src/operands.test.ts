import { describe, expect, it } from "vitest";
import type { ProductTask } from "./case.ts";
import { nthWeight, productOperands, referenceSample } from "./operands.ts";

const side = 32;
const task: ProductTask = {
  kind: "product",
  m: 1,
  k: side,
  n: side,
  layout: "nk",
  weights: "f32",
  copies: 3,
};

describe("nthWeight", () => {
  it("has the first weight's rows in another order each time", () => {
    const { values } = productOperands(task).w;
    const rowsOf = (data: Float32Array): string[] =>
      Array.from({ length: side }, (_, row) => data.slice(row * side, (row + 1) * side).join());
    const rows = rowsOf(values);
    expect(nthWeight(task, values, 0)).toBe(values);
    for (const copy of [1, 2, side - 1, side, side + 1])
      expect(rowsOf(nthWeight(task, values, copy))).toEqual(
        rows.map((_, row) => rows[(row + copy) % side]),
      );
  });

  it("is what the reference multiplies by, one after the other", () => {
    const { x, w } = productOperands(task);
    let rows = [...x];
    for (let copy = 0; copy < task.copies; copy++) {
      const weight = nthWeight(task, w.values, copy);
      const before = rows;
      rows = before.map((_, j) => before.reduce((sum, a, d) => sum + a * weight[j * side + d]!, 0));
    }
    const reference = referenceSample(task, side)!;
    rows.forEach((value, j) => expect(reference[j]).toBeCloseTo(value, 12));
  });
});
