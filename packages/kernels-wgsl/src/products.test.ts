// Kernels with products, one way of computing them at a time: tiles, lines, and products within a block with arrays.
import { hostTensor, parseKernel, toNumbers } from "@millrace/graph";
import { seededTensor } from "@millrace/conformance";
import { describe, expect, it } from "vitest";
import { backendWith, expectSame } from "../test/expect-same.ts";
import { noAdapter } from "../test/gpu.ts";
import { leastCapabilities } from "./capabilities.ts";
import type { ProductForm } from "./configure/contract.ts";
import { programOf } from "./tune/one-kernel.ts";

describe("tiles", () => {
  const product = (m: string, n: string, k: string, dtype = "f32"): string =>
    `kernel k {
      ${m === "T" ? "size T in 1..130" : ""}
      read a: f32[${m}, ${k}]
      read b: ${dtype}[${n}, ${k}]
      write y: f32[${m}, ${n}]
      contract rows m < ${m}, columns n < ${n}, depth k < ${k}
        lhs a[m, k] rhs b[n, k]
        result p { store y[m, n] = p * 0.5 }
    }`;
  const close = { tolerance: 1e-5 };
  // Products of the sizes for which these tiles are chosen take software too long.
  const tile = (across: number, down: number, rows: number, columns: number): ProductForm => ({
    kind: "tile",
    across,
    down,
    tileRows: rows * down,
    tileColumns: columns * across,
    tileDepth: 16,
  });
  const largest = { products: { "*": tile(16, 16, 8, 8) } };
  for (const [m, n, k] of [
    [150, 136, 40],
    [129, 127, 36],
    [127, 132, 39],
  ] as const)
    it(`of 128 by 128 for ${m} by ${n} by ${k}`, () =>
      expectSame(product(String(m), String(n), String(k), "bf16"), {
        ...close,
        form: /tiles of 128 by 128 by 16/,
        capabilities: largest,
      }));
  it("of operands that lie along rows and columns, and a narrow result", () =>
    expectSame(
      `kernel k {
        read a: e4m3fn[40, 36]
        read b: f32[40, 44]
        read s: f32[40]
        write y: e5m2[36, 44]
        contract rows m < 36, columns n < 44, depth k < 40
          lhs a[k, m] * s[k] rhs select(n < 20, b[k, n], b[k, n - 20] * 2.0)
          result p { store y[m, n] = p * 0.1 }
      }`,
      {
        tolerance: 0.13,
        form: /tiles of 32 by 64 by 16.*owned words/,
        capabilities: { products: { "*": tile(16, 4, 8, 4) } },
      },
    ));
  for (const T of [1, 17, 130])
    it(`of a product with ${T} rows`, () =>
      expectSame(product("T", "33", "20"), {
        ...close,
        form: /tiles of 32 by 32 by 16/,
        sizes: { T },
      }));
  it("of a long sum", () =>
    expectSame(product("40", "33", "150"), {
      ...close,
      form: /tiles of 32 by 32 by 32/,
      capabilities: { workgroupBytes: 49152 },
    }));
  it("of few tiles and a long sum, whose parts are added", () =>
    expectSame(product("40", "33", "600"), {
      ...close,
      form: /tiles of 32 by 32 by 64 in 4 parts over one point, workgroup 256/,
      capabilities: { workgroupBytes: 32768 },
    }));
  it("of a software device", () =>
    expectSame(product("T", "33", "20"), {
      ...close,
      form: /tiles of 32 by 32 by 16/,
      sizes: { T: 50 },
      capabilities: { software: true, rolled: true },
    }));
  it("of narrow operands", () =>
    expectSame(product("19", "16", "40", "e4m3fn"), { ...close, form: /tiles/ }));
  it("of the rows of each expert", () =>
    expectSame(
      `kernel k {
        read offsets: i32[5]
        read x: f32[90, 24]
        read w: bf16[4, 10, 24]
        write y: bf16[90, 10]
        parallel e < 4 {
          contract rows m < 90 from offsets[e] to offsets[e + 1], columns n < 10, depth k < 24
            lhs x[m, k] rhs w[e, n, k]
            result p { store y[m, n] = round_bf16(p) }
        }
      }`,
      {
        form: /tiles.*owned words/,
        tolerance: 0.01,
        inputs: { offsets: hostTensor("i32", [5], [0, 20, 20, 33, 90]) },
      },
    ));
  it.each([
    [[0, 0, 0, 96, 96]],
    [[0, 32, 64, 96, 96]],
    [[0, 1, 33, 65, 96]],
    [[0, 96, 96, 96, 96]],
    [[0, 31, 32, 95, 96]],
  ])("of experts whose rows begin at %j", (offsets) =>
    expectSame(
      `kernel k {
        read offsets: i32[5]
        read x: f32[96, 8]
        read w: f32[4, 10, 8]
        write y: f32[96, 10]
        parallel e < 4 {
          contract rows m < 96 from offsets[e] to offsets[e + 1], columns n < 10, depth k < 8
            lhs x[m, k] rhs w[e, n, k]
            result p { store y[m, n] = p }
        }
      }`,
      {
        form: /tiles of 32 by 32/,
        tolerance: 1e-5,
        capabilities: { software: true },
        inputs: { offsets: hostTensor("i32", [5], offsets) },
      },
    ),
  );
  it("over the rows of each expert", () =>
    expectSame(
      `kernel k {
        read offsets: i32[5]
        read a: f32[50, 12]
        read b: f32[50, 9]
        write y: f32[4, 12, 9]
        parallel e < 4 {
          contract rows m < 12, columns n < 9, depth k < 50 from offsets[e] to offsets[e + 1]
            lhs a[k, m] rhs b[k, n]
            result p { store y[e, m, n] = p }
        }
      }`,
      {
        form: /tiles/,
        tolerance: 1e-5,
        inputs: { offsets: hostTensor("i32", [5], [0, 20, 20, 33, 50]) },
      },
    ));
});

describe("lines", () => {
  const few = (n: number, k: number, rhs = "b[n, k]", shape = `${n}, ${k}`): string =>
    `kernel k {
      size T in 1..11
      read a: f32[T, ${k}]
      read g: f32[${k}]
      read b: bf16[${shape}]
      write y: bf16[T, ${n}]
      contract rows m < T, columns n < ${n}, depth k < ${k}
        lhs a[m, k] * g[k] rhs ${rhs}
        result p { store y[m, n] = p }
    }`;
  const close = { tolerance: 0.01 };
  for (const [how, subgroupSize, n, k] of [
    ["alone", 0, 33, 70],
    ["alone", 0, 12, 1028],
    ["in subgroups", 8, 33, 70],
    ["in subgroups", 8, 64, 128],
  ] as const)
    for (const T of [1, 8, 11]) {
      const capabilities = { subgroupSize };
      it(`along the depth, ${how}: ${T} rows, ${n} columns, ${k} deep`, () =>
        expectSame(few(n, k), {
          ...close,
          form: /8 rows by .* along the depth/,
          sizes: { T },
          capabilities,
        }));
      it(`along the columns, ${how}: ${T} rows, ${n} columns, ${k} deep`, () =>
        expectSame(few(n, k, "b[k, n]", `${k}, ${n}`), {
          ...close,
          form: /8 rows by .* along the columns/,
          sizes: { T },
          capabilities,
        }));
    }
  it("of the rows of each expert", () =>
    expectSame(
      `kernel k {
        read offsets: i32[5]
        read x: f32[24, 40]
        read w: e4m3fn[4, 10, 40]
        write y: f32[24, 10]
        parallel e < 4 {
          contract rows m < 24 from offsets[e] to offsets[e + 1], columns n < 10, depth k < 40
            lhs x[m, k] rhs w[e, n, k]
            result p { store y[m, n] = p }
        }
      }`,
      {
        form: /8 rows by .* along the depth, 4 at once over e < 4/,
        tolerance: 1e-5,
        inputs: { offsets: hostTensor("i32", [5], [0, 11, 11, 13, 24]) },
        capabilities: { subgroupSize: 8 },
      },
    ));
  it("give a row the same bits whatever rows are beside it", async () => {
    if (noAdapter) return;
    const backend = await backendWith({ ...leastCapabilities, rolled: true, subgroupSize: 8 });
    const store = backend.createStore();
    const executable = await backend.load(programOf(parseKernel(few(64, 128))), store);
    const inputs = {
      a: seededTensor("f32", [11, 128], 1),
      g: seededTensor("f32", [128], 2),
      b: seededTensor("bf16", [64, 128], 3),
    };
    const { y: all } = await executable.run(inputs);
    for (const T of [1, 5]) {
      const a = hostTensor("f32", [T, 128], [...toNumbers(inputs.a)].slice(0, T * 128));
      const { y } = await executable.run({ ...inputs, a });
      expect(toNumbers(y!)).toEqual(toNumbers(all!).slice(0, T * 64));
    }
    executable.dispose();
    store.dispose();
  });
});

describe("a workgroup with arrays", () => {
  // Attention of blocks of rows over blocks of keys, as the compiler lowers it, with odd sizes.
  const attention = `kernel k {
    size T in 1..50
    read q: f32[2, T, 12]
    read key: bf16[2, T, 12]
    read v: f32[2, T, 20]
    write y: f32[2, T, 20]
    write total_log: f32[2, T]
    parallel h < 2 {
      parallel i < 4 from 0 to (size(T) + 15) / 16 {
        let first = i * 16
        let count = min(16, size(T) - first)
        array scores: f32[16, 8]
        array result: f32[16, 20]
        array largest: f32[16]
        array total: f32[16]
        array factor: f32[16]
        parallel r < 16 from 0 to count {
          store largest[r] = -inf
          store total[r] = 0.0
        }
        parallel r < 16 from 0 to count { parallel d < 20 { store result[r, d] = 0.0 } }
        serial j < 7 from 0 to (min(first + 16, size(T)) + 7) / 8 {
          let from = j * 8
          let keys = min(8, size(T) - from)
          contract rows r < 16 from 0 to count, columns c < 8 from 0 to keys, depth d < 12
            lhs q[h, first + r, d] rhs key[h, from + c, d]
            result p { store scores[r, c] = select(first + r >= from + c, p * 0.3, -inf) }
          parallel r < 16 from 0 to count { parallel c < 8 from keys to 8 { store scores[r, c] = -inf } }
          parallel r < 16 from 0 to count {
            reduce top: f32 over c < 8 { values scores[r, c] combine max(l0, r0) identity -inf }
            let before = largest[r]
            let now = max(before, top)
            let shrink = exp(before - now)
            store largest[r] = now
            store factor[r] = shrink
            parallel c < 8 { store scores[r, c] = exp(scores[r, c] - now) }
            reduce sum: f32 over c < 8 { values scores[r, c] combine l0 + r0 identity 0.0 }
            store total[r] = total[r] * shrink + sum
          }
          contract rows r < 16 from 0 to count, columns d < 20, depth c < 8 from 0 to keys
            lhs scores[r, c] rhs v[h, from + c, d]
            result p { store result[r, d] = result[r, d] * factor[r] + p }
        }
        parallel r < 16 from 0 to count {
          let whole = total[r]
          parallel d < 20 { store y[h, first + r, d] = result[r, d] / whole }
          store total_log[h, first + r] = largest[r] + log(whole)
        }
      }
    }
  }`;
  const wide = { workgroupBytes: 32768, maxInvocations: 256 };
  for (const [name, capabilities] of Object.entries({
    "that share nothing but memory": wide,
    "in subgroups": { ...wide, subgroupSize: 8 },
    "of a software device": { ...wide, subgroupSize: 8, software: true },
  }))
    for (const T of [50, 17])
      it(`${name}, ${T} rows`, () =>
        expectSame(attention, {
          form: /a workgroup with arrays each over h < 2, i < 4/,
          sizes: { T },
          tolerance: 1e-5,
          capabilities,
        }));
});
