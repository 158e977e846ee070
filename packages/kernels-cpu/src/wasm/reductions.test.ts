// Sums, extremes and loops in order: emitted code against the kernel interpreter.
import { hostTensor } from "@millrace/graph";
import { describe, it } from "vitest";
import { edges, expectSame } from "../../test/kernel-text.ts";

describe("reductions", () => {
  it("sums, multiplies, finds extremes along rows, columns and everything", async () => {
    for (const n of edges)
      await expectSame(
        `kernel k { read x: bf16[5, ${n}] write r: f32[5] write c: f32[${n}] write all: f32[2] write any: bool[5]
          parallel b < 5 { reduce s: f32 over i < ${n} { values x[b, i] combine l0 + r0 identity 0.0 } store r[b] = s }
          parallel i < ${n} { reduce m: f32 over b < 5 { values abs(x[b, i]) combine max(l0, r0) identity 0.0 } store c[i] = m }
          reduce s: f32, m: f32 over b < 5, i < ${n} { let v = x[b, i] * 0.5 values v * v, v combine l0 + r0, min(l1, r1) identity 0.0, inf }
          store all[0] = s store all[1] = m
          parallel b < 5 { reduce a: bool over i < ${n} { values x[b, i] > 1.9 combine l0 | r0 identity false } store any[b] = a } }`,
      );
  });

  it("sums many rows, sixteen columns and fewer at a time, in the order of the rows", async () => {
    for (const columns of [...edges, 16, 23, 36])
      for (const rows of [63, 64, 101])
        await expectSame(
          `kernel k { read x: f32[${rows}, ${columns}] read y: f32[${rows}] write c: f32[${columns}] write d: f32[${columns}]
            parallel i < ${columns} {
              reduce s: f32, m: f32 over b < ${rows} { let v = x[b, i] * y[b] values v, v combine l0 + r0, max(l1, r1) identity 0.0, -inf }
              let t = s * 0.5
              store c[i] = t + m store d[i] = t } }`,
          // Few columns are summed in another order.
          columns < 16 ? {} : { tolerance: 0 },
        );
  });

  it("finds the first largest element", async () => {
    await expectSame(
      `kernel k { read x: f32[4, 37] write at: i32[4] write best: f32[4]
      parallel b < 4 {
        reduce v: f32, j: i32 over i < 37 { values floor(x[b, i]), i
          combine select((l0 > r0) | (l0 == r0) & (l1 < r1), l0, r0), select((l0 > r0) | (l0 == r0) & (l1 < r1), l1, r1)
          identity -inf, 2147483647 }
        store at[b] = j store best[b] = v } }`,
      { tolerance: 0 },
    );
  });

  it("takes bounds from memory, empty ones too", async () => {
    await expectSame(
      `kernel k { read x: f32[20] read o: i32[5] write y: f32[4] write z: f32[20]
      parallel e < 4 {
        reduce s: f32 over i < 20 from o[e] to o[e + 1] { values x[i] combine l0 + r0 identity 0.0 }
        store y[e] = s
        parallel i < 20 from o[e] to o[e + 1] { store z[i] = x[i] - s } } }`,
      {
        inputs: { o: hostTensor("i32", [5], [0, 7, 7, 8, 20]) },
      },
    );
  });

  it("runs serial loops in order", async () => {
    await expectSame(
      `kernel k { read x: f32[7, 3] read p: i32[7] write y: f32[7, 3] update h: f32[5, 3]
      parallel j < 3 { variable s = 0.0 serial i < 7 { set s = s + x[i, j] store y[i, j] = s } }
      serial i < 7 { parallel j < 3 { store h[p[i], j] = h[p[i], j] + x[i, j] } } }`,
      { tolerance: 0 },
    );
  });
});
