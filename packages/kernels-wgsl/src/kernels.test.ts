// Kernels as text, one way of running them at a time: each form that `configure` may choose where there is no product.
import { elementCount, hostTensor, parseKernel } from "@millrace/graph";
import { seededTensor } from "@millrace/conformance";
import { describe, expect, it } from "vitest";
import { backendWith, expectSame } from "../test/expect-same.ts";
import { noAdapter } from "../test/gpu.ts";
import { leastCapabilities } from "./capabilities.ts";
import { programOf } from "./tune/one-kernel.ts";

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
