// Kernels as text, one way of running them at a time: each form that `configure` may choose, against the kernel interpreter.
import { programOf } from "./tune/one-kernel.ts";
import type { HostTensor, Values } from "@millrace/graph";
import {
  elementCount,
  evaluateDim,
  hostTensor,
  isFloat,
  parseKernel,
  toNumbers,
  verifyKernel,
} from "@millrace/graph";
import { createInterpreterBackend } from "@millrace/kernels-cpu";
import { seededTensor } from "@millrace/conformance";
import { afterAll, describe, expect, it } from "vitest";
import { noAdapter } from "../test/gpu.ts";
import type { WgslBackend } from "./backend.ts";
import { createWgslBackend } from "./backend.ts";
import type { WgslCapabilities } from "./capabilities.ts";
import { leastCapabilities } from "./capabilities.ts";
import type { ProductForm } from "./configure/contract.ts";
import { configureKernel, printConfiguration } from "./configure/configure.ts";
import { unshared } from "./emit/bindings.ts";

const reference = createInterpreterBackend();
const backends = new Map<string, Promise<WgslBackend>>();

/** One backend for each set of assumptions, since a device takes a while to open. */
function backendWith(capabilities: Partial<WgslCapabilities>): Promise<WgslBackend> {
  const key = JSON.stringify(capabilities);
  const known = backends.get(key) ?? createWgslBackend({ capabilities });
  backends.set(key, known);
  return known;
}
afterAll(async () => {
  for (const backend of backends.values()) (await backend).dispose();
});

interface Options {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly inputs?: Values;
  /** Relative to the largest value; 0, the default, means equal. */
  readonly tolerance?: number;
  readonly capabilities?: Partial<WgslCapabilities>;
  /** What `configure` must have chosen. */
  readonly form: RegExp;
}

async function expectSame(text: string, options: Options): Promise<void> {
  const { sizes = {}, tolerance = 0, form } = options;
  // A software device takes seconds to compile a loop that it unrolls.
  const capabilities = { ...leastCapabilities, rolled: true, ...options.capabilities };
  const kernel = parseKernel(text);
  verifyKernel(kernel);
  const chosen = configureKernel(kernel, unshared(kernel), capabilities);
  expect(printConfiguration(chosen)).toMatch(form);
  if (noAdapter) return;
  const program = programOf(kernel);
  const bound = new Map(Object.entries(sizes));
  const inputs: Record<string, HostTensor> = {};
  program.inputs.forEach(({ name, type }, i) => {
    const shape = type.shape.map((dim) => evaluateDim(dim, bound));
    inputs[name] = options.inputs?.[name] ?? seededTensor(type.dtype, shape, i, "small");
  });
  const backend = await backendWith(capabilities);
  const results: Record<string, HostTensor>[] = [];
  for (const on of [reference, backend]) {
    const store = on.createStore();
    const executable = await on.load(program, store);
    expect(executable.bytes).toBe(program.arenaBytes);
    // Twice, because the second run finds what the first left.
    await executable.run(inputs, sizes);
    results.push(await executable.run(inputs, sizes));
    executable.dispose();
    store.dispose();
  }
  expect(backend.liveBuffers).toBe(0);
  const [expected, actual] = results;
  for (const [name, want] of Object.entries(expected!)) {
    const got = actual![name]!;
    expect(got.shape).toEqual(want.shape);
    if (tolerance === 0 || !isFloat(want.dtype)) {
      expect(toNumbers(got), `${name} of ${text}`).toEqual(toNumbers(want));
      continue;
    }
    const [a, b] = [toNumbers(got), toNumbers(want)];
    const scale = Math.max(1, ...b.map(Math.abs));
    b.forEach((value, i) =>
      expect(Math.abs(a[i]! - value), `${name}[${i}]: ${a[i]} and ${value}`).toBeLessThanOrEqual(
        tolerance * scale,
      ),
    );
  }
}

describe("an invocation per element", () => {
  it("of several axes, with a rest", () =>
    expectSame(
      `kernel k {
        size T in 0..9
        read a: f32[T, 7]
        read b: f32[7]
        write y: f32[T, 7]
        parallel i < T { parallel j < 7 {
          let x = a[i, j] * b[j]
          store y[i, j] = select(j < 3, x + a[i, j], x)
        } }
      }`,
      { form: /^an invocation each over i < T, j < 7/, sizes: { T: 9 } },
    ));
  it("of no elements", () =>
    expectSame(
      `kernel k {
        size T in 0..9
        read a: f32[T]
        write y: f32[T]
        parallel i < T { store y[i] = a[i] }
      }`,
      { form: /an invocation each/, sizes: { T: 0 } },
    ));
  for (const dtype of ["bf16", "f16", "e4m3fn", "e5m2", "u8", "bool"] as const) {
    const zero = dtype === "bool" ? "false" : dtype === "u8" ? "0" : "0.0";
    it(`that fills whole words of ${dtype}`, () =>
      expectSame(
        `kernel k {
          size T in 1..131
          read a: ${dtype}[T]
          write y: ${dtype}[T]
          parallel i < T { store y[i] = a[i] }
        }`,
        { form: /owned words/, sizes: { T: 131 } },
      ));
    it(`that shares words of ${dtype}`, () =>
      expectSame(
        `kernel k {
          read a: ${dtype}[5, 7]
          write y: ${dtype}[7, 5]
          parallel i < 5 { parallel j < 7 {
            store y[j, i] = select(i == 2, ${zero}, a[i, j])
          } }
        }`,
        { form: /atomic words/ },
      ));
  }
  it.each(["e4m3fn", "e5m2"] as const)("of all %s codes", (dtype) =>
    expectSame(
      `kernel k {
        read a: ${dtype}[256]
        write y: f32[256]
        write z: ${dtype}[256]
        parallel i < 256 {
          store y[i] = select(a[i] == a[i], a[i], 7.0)
          store z[i] = a[i]
        }
      }`,
      {
        form: /an invocation per 4/,
        inputs: { a: { dtype, shape: [256], data: Uint8Array.from({ length: 256 }, (_, i) => i) } },
      },
    ),
  );
  it.each([true, false])("of all f16 codes, as what they are: %s", (f16) =>
    expectSame(
      `kernel k {
        read a: f16[256, 256]
        read x: f32[256, 256]
        write y: f32[256, 256]
        write z: f16[256, 256]
        write w: f16[256, 256]
        parallel i < 256 { parallel j < 256 {
          store y[i, j] = select(a[i, j] == a[i, j], a[i, j], 7.0)
          store z[j, i] = select(a[j, i] == a[j, i], a[j, i], 7.0)
          store w[i, j] = round_f16(x[i, j])
        } }
      }`,
      {
        form: f16
          ? /an invocation each over i < 256, j < 256, workgroup 64$/
          : /over i < 256, j < 256, workgroup 64, atomic words/,
        capabilities: { f16 },
        inputs: {
          a: {
            dtype: "f16",
            shape: [256, 256],
            data: Uint16Array.from({ length: 65536 }, (_, i) => i),
          },
          // Values between neighbouring codes, from the smallest to too large.
          x: hostTensor(
            "f32",
            [256, 256],
            Array.from(
              { length: 65536 },
              (_, i) => (i % 2 ? -1 : 1) * 2 ** ((i - 56000) / 2200) * 1e4,
            ),
          ),
        },
      },
    ),
  );
  it("of f16 in tiles and in parts", () =>
    expectSame(
      `kernel k {
        read a: f16[40, 36]
        read b: f16[36, 44]
        write y: f16[40, 44]
        contract rows m < 40, columns n < 44, depth k < 36
          lhs a[m, k] rhs b[k, n]
          result p { store y[m, n] = p * 0.1 }
      }`,
      {
        form: /tiles of 32 by 32 by 16/,
        tolerance: 0.001,
        capabilities: { f16: true, maxBindingBytes: 1024, maxBindings: 16 },
      },
    ));
  it("whose store is conditional", () =>
    expectSame(
      `kernel k {
        read a: u8[40]
        update y: u8[40]
        parallel i < 40 { if i % 3 != 0 { store y[i] = (a[i] + y[i]) & 255 } }
      }`,
      { form: /an invocation each over i < 40, workgroup 64, atomic words/ },
    ));
});

describe("loops of fixed order", () => {
  it("keep the columns of a scatter-add apart", () =>
    expectSame(
      `kernel k {
        read rows: i32[9]
        read a: f32[9, 6]
        update y: f32[4, 6]
        parallel i < 4 { parallel j < 6 { store y[i, j] = 0.0 } }
        serial n < 9 {
          let row = rows[n]
          if (row >= 0) & (row < 4) { parallel d < 6 { store y[row, d] = y[row, d] + a[n, d] } }
        }
      }`,
      {
        form: /over i < 4, j < 6.*\nan invocation each over d < 6/,
        inputs: { rows: hostTensor("i32", [9], [1, 3, 1, -1, 0, 7, 3, 1, 2]) },
      },
    ));
  it("stay whole where an iteration reads another's element", () =>
    expectSame(
      `kernel k {
        update y: f32[12]
        serial n < 3 { parallel d < 11 { if d % 2 == 0 { store y[d] = y[d] + y[d + 1] } } }
      }`,
      { form: /an invocation each over one point/ },
    ));
  it("carry variables", () =>
    expectSame(
      `kernel k {
        read a: f32[3, 20]
        write y: f32[3, 20]
        parallel i < 3 {
          variable total = 0.0
          serial j < 20 { set total = total + a[i, j]
          store y[i, j] = total }
        }
      }`,
      { form: /over i < 3/ },
    ));
});

describe("a workgroup per reduction", () => {
  const rows = (length: number, count: number): string =>
    `kernel k {
      read a: f32[${count}, ${length}]
      write y: f32[${count}]
      parallel i < ${count} {
        reduce r: f32 over k < ${length} { values a[i, k] combine max(l0, r0) identity -inf }
        store y[i] = r
      }
    }`;
  for (const length of [33, 64, 127, 600, 2049])
    it(`of ${length} elements`, () =>
      expectSame(rows(length, 3), { form: /^a workgroup each over i < 3/ }));
  it("of 600 elements, in subgroups", () =>
    expectSame(rows(600, 3), {
      form: /^a workgroup each over i < 3/,
      capabilities: { subgroupSize: 8 },
    }));
  it.each([0, 8])(
    "over two axes, with two components, and a sum after it, subgroups of %i",
    (subgroupSize) =>
      expectSame(
        `kernel k {
        size T in 1..70
        read a: f32[T, 5]
        write at: i32[]
        write total: f32[]
        reduce best: f32, place: i32 over i < T, j < 5 {
          values a[i, j], i * 5 + j
          combine select((r0 > l0) | ((r0 == l0) & (r1 < l1)), r0, l0), select((r0 > l0) | ((r0 == l0) & (r1 < l1)), r1, l1)
          identity -inf, 2147483647
        }
        reduce sum: f32 over i < T, j < 5 { values a[i, j] - best combine l0 + r0 identity 0.0 }
        store at[] = place
        store total[] = sum
      }`,
        {
          form: /a workgroup each over one point/,
          sizes: { T: 70 },
          tolerance: 1e-5,
          capabilities: { subgroupSize },
        },
      ),
  );
  it("whose rows are loaded", () =>
    expectSame(
      `kernel k {
        read offsets: i32[4]
        read a: f32[200]
        write y: f32[3]
        parallel e < 3 {
          reduce r: f32 over k < 200 from offsets[e] to offsets[e + 1] { values a[k] combine l0 + r0 identity 0.0 }
          store y[e] = r
        }
      }`,
      {
        form: /a workgroup each/,
        tolerance: 1e-5,
        inputs: { offsets: hostTensor("i32", [4], [0, 101, 101, 200]) },
      },
    ));
  it("then a parallel loop over what it reduced, in place", () =>
    expectSame(
      `kernel k {
        update a: f32[4, 100]
        parallel i < 4 {
          reduce r: f32 over k < 100 { values a[i, k] combine max(l0, r0) identity -inf }
          parallel j < 100 { store a[i, j] = a[i, j] - r }
          reduce s: f32 over k < 100 { values a[i, k] combine max(l0, r0) identity -inf }
          store a[i, 0] = s
        }
      }`,
      { form: /a workgroup each/ },
    ));
});

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

describe("buffers larger than a binding", () => {
  const small = { maxBindingBytes: 256, maxBindings: 16 };
  it("are bound in parts", () =>
    expectSame(
      `kernel k {
        read a: f32[150]
        write y: f32[150]
        parallel i < 150 { store y[i] = a[149 - i] }
      }`,
      { form: /an invocation each/, capabilities: small },
    ));
  it("of packed elements too", () =>
    expectSame(
      `kernel k {
        read a: u8[20, 31]
        write y: u8[31, 20]
        write z: bf16[300]
        parallel i < 20 { parallel j < 31 { store y[j, i] = a[i, j] } }
        parallel i < 300 { store z[i] = to_f32(a[i / 31, i % 31]) }
      }`,
      { form: /atomic words\n.*owned words/, capabilities: small },
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

it.skipIf(noAdapter)("the arena may be several buffers", async () => {
  const backend = await backendWith({ ...leastCapabilities, maxBufferBytes: 2048 });
  const kernel = parseKernel(`kernel k {
    read a: f32[500]
    read b: f32[100]
    write y: f32[350]
    parallel i < 350 { store y[i] = a[i] + b[i % 100] }
  }`);
  const program = programOf(kernel);
  const store = backend.createStore();
  const executable = await backend.load(program, store);
  expect(backend.liveBuffers).toBeGreaterThanOrEqual(3);
  const inputs = { a: seededTensor("f32", [500], 1), b: seededTensor("f32", [100], 2) };
  const { y } = await executable.run(inputs);
  expect([...(y!.data as Float32Array)]).toEqual(
    Array.from({ length: 350 }, (_, i) =>
      Math.fround((inputs.a.data[i] as number) + (inputs.b.data[i % 100] as number)),
    ),
  );
  executable.dispose();
  expect(elementCount(y!.shape)).toBe(350);
});
