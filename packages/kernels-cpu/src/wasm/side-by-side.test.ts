// Loops that run two times four iterations side by side: emitted code against the kernel interpreter.
import { hostTensor } from "@millrace/graph";
import { describe, it } from "vitest";
import { edges, expectSame, fill } from "../../test/kernel-text.ts";

const lengths = [...new Set([...edges, 7, 8, 9, 12, 15, 16, 17, 23])];

describe("loops side by side", () => {
  it("compute, select and store what later statements read", async () => {
    for (const n of lengths)
      await expectSame(
        `kernel k { read x: f32[3, ${n}] read w: f32[${n}] read s: f32[3] update y: f32[3, ${n}] write z: f32[3, ${n}] write c: i32[3, ${n}]
          parallel b < 3 { parallel i < ${n} {
            let v = x[b, i] * s[b] + w[i]
            store y[b, i] = select(v > x[b, i], v, abs(x[b, i]) - w[i])
            let u = y[b, i]
            store z[b, i] = u * u + select(i > b * 5, 1.5, -2.0)
            store c[b, i] = i * 3 - b } } }`,
        { tolerance: 0 },
      );
  });

  it("take functions, one inside the loop and others called", async () => {
    for (const n of lengths)
      await expectSame(
        `kernel k { read x: f32[${n}] write y: f32[${n}] write z: f32[${n}]
          parallel i < ${n} { let e = exp(neg(x[i])) store y[i] = 1.0 / (1.0 + e) }
          parallel i < ${n} { store z[i] = tanh(x[i]) + exp(x[i]) } }`,
      );
  });

  it("read rows that an index gives, and columns from an offset on", async () => {
    for (const n of lengths)
      await expectSame(
        `kernel k { read x: f32[5, ${n + 6}] read p: i32[7] read o: i32[1] write y: f32[7, ${n}] write z: f32[${n}]
          parallel r < 7 { parallel i < ${n} { store y[r, i] = x[p[r] / 2, i + 5 - o[0]] - x[4 - p[r] / 2, i + 6] } }
          parallel i < ${n} { reduce t: f32 over j < 7 { values x[p[j] / 2, i] combine l0 + r0 identity 0.0 } store z[i] = t } }`,
        {
          tolerance: 0,
          inputs: {
            p: hostTensor("i32", [7], [3, 0, 9, 4, 4, 1, 8]),
            o: hostTensor("i32", [1], [3]),
          },
        },
      );
  });

  it("divide the counter, read outside of nothing, and take bounds from memory", async () => {
    for (const d of [4, 8, 12, 16])
      await expectSame(
        `kernel k { read x: f32[5, ${d}] read w: f32[${d}] read v: f32[5] read o: i32[3] update y: f32[${5 * d}] write z: f32[${5 * d}] write g: f32[${5 * d}]
          parallel i < ${5 * d} { store y[i] = x[i / ${d}, i % ${d}] * w[i % ${d}] + v[i / ${d}] }
          parallel e < 2 { parallel i < ${5 * d} from o[e] to o[e + 1] { store z[i] = y[i] - v[e] } }
          parallel i < ${5 * d} { store g[i] = select(i >= 2000, y[i - 2000], select(i < 4, 1.0, 2.0)) } }`,
        { tolerance: 0, inputs: { o: hostTensor("i32", [3], [0, 2 * d + 3, 5 * d]) } },
      );
  });

  it("are told from others by the first statement that is none, whatever the later ones read", async () => {
    for (const n of lengths)
      await expectSame(
        `kernel k { read x: f32[${n}, 8] write y: f32[${n}] write at: i32[${n}]
          parallel i < ${n} {
            reduce most: f32, where: i32 over j < 8 {
              let v = x[i, j] let u = v + v values u, j
              combine select(r0 > l0, r0, l0), select(r0 > l0, r1, l1) identity -inf, 0 }
            store y[i] = most store at[i] = where } }`,
        { tolerance: 0 },
      );
  });

  it("finish products", async () => {
    for (const n of lengths)
      await expectSame(
        `kernel k { size T in 1..200 read a: f32[T, 5] read b: f32[${n}, 5] read r: f32[T, ${n}] write y: f32[T, ${n}] write z: f32[T, ${n}]
          contract rows i < T, columns j < ${n}, depth k < 5 lhs a[i, k] rhs b[j, k] result s {
            let g = 1.0 / (1.0 + exp(neg(s)))
            store y[i, j] = g
            store z[i, j] = s * g + select(i >= j, r[i, j], -1.0) } }`,
        { sizes: { T: 9 }, inputs: { a: fill("f32", [9, 5], 3), r: fill("f32", [9, n], 5) } },
      );
  });
});
