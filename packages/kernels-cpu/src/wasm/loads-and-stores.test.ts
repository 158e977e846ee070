// Where elements are read and written, and under which conditions: emitted code against the kernel interpreter.
import { dtypes, hostTensor } from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { edges, expectSame, fill } from "../../test/kernel-text.ts";

describe("loads and stores", () => {
  for (const dtype of dtypes)
    it(`copies ${dtype} contiguously, reversed, transposed and gathered`, async () => {
      for (const n of edges)
        await expectSame(
          `kernel k { read x: ${dtype}[${n}, 3] read p: i32[${n}]
            write y: ${dtype}[${n}, 3] write z: ${dtype}[3, ${n}] write r: ${dtype}[${n}, 3] write g: ${dtype}[${n}]
            parallel i < ${n} { parallel j < 3 { store y[i, j] = x[i, j] } }
            parallel i < ${n} { parallel j < 3 { store z[j, i] = x[i, j] } }
            parallel i < ${n} { parallel j < 3 { store r[i, j] = x[${n - 1} - i, 2 - j] } }
            parallel i < ${n} { store g[i] = x[p[i], p[${n - 1} - i] % 3] } }`,
          { tolerance: 0, inputs: { p: fill("i32", [n], 7, n) } },
        );
    });

  it("scatters to computed places", async () => {
    await expectSame(
      `kernel k { read p: i32[9] read x: bf16[9] write y: bf16[9] write z: i64[9]
      parallel i < 9 { store y[p[i]] = x[i] store z[p[i]] = i - 4 } }`,
      {
        tolerance: 0,
        inputs: { p: hostTensor("i32", [9], [3, 1, 4, 0, 5, 8, 2, 7, 6]) },
      },
    );
  });

  it("splits and merges axes with aligned and unaligned divisors", async () => {
    for (const d of [4, 8, 12, 3, 6])
      await expectSame(`kernel k { read x: f32[5, ${d}] read w: f32[${d}] write y: f32[${5 * d}]
        parallel i < ${5 * d} { store y[i] = x[i / ${d}, i % ${d}] + w[i % ${d}] } }`);
  });

  it("takes strides from sizes", async () => {
    for (const T of [1, 2, 5, 130])
      await expectSame(
        `kernel k { size T in 1..200 read x: f32[T, 3, T] write y: f32[T, 3*T] write s: f32[T]
          parallel i < T { parallel h < 3 { parallel j < T { store y[i, h * size(T) + j] = x[j, h, i] } } }
          parallel i < T { store s[i] = x[i, 1, i] + to_f32(size(2*T)) } }`,
        { sizes: { T }, inputs: { x: fill("f32", [T, 3, T], 1) } },
      );
  });

  it("works in place", async () => {
    const text = `kernel k { read x: f32[3, 10] write y: f32[3, 10]
      parallel b < 3 {
        reduce m: f32 over i < 10 { values x[b, i] combine max(l0, r0) identity -inf }
        reduce s: f32 over i < 10 { values exp(x[b, i] - m) combine l0 + r0 identity 0.0 }
        parallel i < 10 { let v = exp(x[b, i] - m) store y[b, i] = v / s } } }`;
    const apart = await expectSame(text);
    const together = await expectSame(text, { inPlace: { y: "x" } });
    expect(together["y"]!.data).toEqual(apart["y"]!.data);
  });
});

describe("guarded loads", () => {
  it("pads, concatenates and masks without reading outside", async () => {
    for (const n of edges)
      await expectSame(
        `kernel k { read x: f32[${n}] read p: i32[${n}] write y: f32[${n + 7}] write c: f32[${2 * n}] write g: f32[${n}]
        parallel i < ${n + 7} { store y[i] = select((i >= 3) & (i < ${n + 3}), x[i - 3], -1.0) }
        parallel i < ${2 * n} { store c[i] = select(i < ${n}, x[i], exp(x[i - ${n}])) }
        parallel i < ${n} { store g[i] = select(p[i] < ${n}, select(p[i] >= 0, x[p[i]] * 2.0, x[i]), 7.0) } }`,
        {
          inputs: {
            p: hostTensor(
              "i32",
              [n],
              Array.from({ length: n }, (_, i) => ((i * 5) % (2 * n)) - (i % 3 === 0 ? 1e9 : 0)),
            ),
          },
        },
      );
  });

  it("reads where the place of the first lane, which takes no part, would lie before the memory", async () => {
    for (const dtype of dtypes)
      await expectSame(
        `kernel k { read x: ${dtype}[7, 63, 2] write y: ${dtype}[9, 63, 2] write z: ${dtype}[63, 7]
        parallel i < 9 { parallel j < 63 { parallel k < 2 {
          store y[i, j, k] = select(i >= 1, select(i - 1 < 7, x[i - 1, j, k], x[0, j, k]), x[6, j, k]) } } }
        parallel j < 63 { parallel i < 9 { if i >= 2 { store z[j, i - 2] = x[i - 2, j, 1] } } } }`,
        { tolerance: 0 },
      );
  });

  it("guards with conditions that are the same in all lanes", async () => {
    await expectSame(
      `kernel k { read x: f32[6, 9] read s: bool[6] read far: i32[6] write y: f32[6, 9]
      parallel b < 6 { parallel i < 9 { store y[b, i] = select(s[b], x[far[b], i], select(b > 2, x[b, 0], 1.0)) } } }`,
      {
        inputs: {
          s: hostTensor("bool", [6], [1, 0, 1, 0, 0, 1]),
          far: hostTensor("i32", [6], [5, 1e9, 0, -1e9, 1e9, 2]),
        },
      },
    );
  });

  it("stores and assigns under conditions", async () => {
    for (const n of [3, 4, 9])
      await expectSame(`kernel k { read x: f32[${n}] read w: f32[3] update y: f32[${n}] write z: f32[${n}]
        parallel i < ${n} {
          if x[i] > 0.0 { store y[i] = x[i] * 3.0 if x[i] > 1.0 { store y[i] = w[i % 3] } }
          variable v = x[i]
          if i % 2 == 0 { set v = v + 10.0 }
          serial j < 3 { set v = v * 0.5 + w[j] if v < 0.0 { set v = neg(v) } }
          store z[i] = v } }`);
  });
});
