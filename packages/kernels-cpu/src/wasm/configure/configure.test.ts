// What is decided for typical kernels, and that split indices are seen through.
import type { Expr } from "@millrace/graph";
import { applyExpr, axisExpr, integerExpr, parseKernel } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { configure } from "./configure.ts";
import { mergeIndex } from "./merge-index.ts";
import { printConfiguration } from "./print-configuration.ts";

const choices = (text: string): string => printConfiguration(configure(parseKernel(text)));

describe("configure", () => {
  it("moves the axis of neighbours inwards", () => {
    expect(
      choices(`kernel k { read x: f32[8, 64] write y: f32[8, 64]
        parallel j < 64 { parallel i < 8 { store y[i, j] = x[i, j] } } }`),
    ).toBe("loop i\n  loop j: 4 lanes");
  });

  it("does not move a loop out of one whose index bounds it", () => {
    expect(
      choices(`kernel k { read x: f32[64, 64] write y: f32[64, 64]
        parallel i < 64 { parallel j < 64 to i { store y[i, j] = x[i, j] } } }`),
    ).toBe("loop i\n  loop j: 4 lanes");
  });

  it("reduces rows in lanes and columns side by side", () => {
    const reduce = (at: string): string =>
      choices(`kernel k { read x: f32[64, 64] write y: f32[64]
        parallel i < 64 { reduce s: f32 over j < 64 { values ${at} combine l0 + r0 identity 0.0 } store y[i] = s } }`);
    expect(reduce("x[i, j]")).toBe("loop i\n  reduce j: 4 lanes");
    expect(reduce("x[j, i]")).toBe("loop i: 4 lanes\n  reduce j");
  });

  it("keeps serial loops, short axes and assignments from outside one by one", () => {
    expect(
      choices(`kernel k { read x: f32[64, 3] write y: f32[64, 3]
        serial i < 64 { parallel j < 3 { store y[i, j] = x[i, j] } } }`),
    ).toBe("loop i\n  loop j");
  });

  it("runs a search side by side rather than guess how each row's branches go", () => {
    expect(
      choices(`kernel k { read x: f32[64, 16] write y: f32[64]
        parallel i < 64 { variable best = 0.0
          serial j < 16 { let a = x[i, j] if a > best { set best = a } } store y[i] = best } }`),
    ).toBe("loop i: 4 lanes\n  loop j");
  });

  it("reads the operands of a product along their neighbours", () => {
    expect(
      choices(`kernel k { read x: f32[300, 40] read w: bf16[40, 700] write y: f32[300, 700]
        contract rows i < 300, columns j < 700, depth k < 40 lhs x[i, k] rhs w[k, j] result a { store y[i, j] = a } }`),
    ).toBe(
      "contract blocks of 96 rows, 704 columns, 40 deep; left read along depth, right along side; body: 4 lanes",
    );
  });
});

describe("mergeIndex", () => {
  const x = axisExpr("x", 24);
  const over = (op: "div" | "rem", value: Expr, by: number): Expr =>
    applyExpr(op, value, integerExpr(by));

  it("joins quotient and remainder", () => {
    expect(mergeIndex([over("div", x, 6), over("rem", x, 6)], [4, 6])).toEqual([
      { index: x, dimension: 1 },
    ]);
  });

  it("joins chains from the inside", () => {
    const index = [over("div", x, 6), over("rem", over("div", x, 2), 3), over("rem", x, 2)];
    expect(mergeIndex(index, [4, 3, 2])).toEqual([{ index: x, dimension: 2 }]);
  });

  it("leaves alone what does not cancel", () => {
    const other = axisExpr("z", 24);
    for (const index of [
      [over("div", x, 6), over("rem", other, 6)],
      [over("div", x, 6), over("rem", x, 5)],
      [over("div", x, 3), over("rem", x, 3)],
    ])
      expect(mergeIndex(index, [4, 6])).toHaveLength(2);
  });
});
