// Kernels as text, one construct of the kernel language at a time: emitted code against the kernel interpreter.
import type {
  DType,
  HostTensor,
  Kernel,
  Program,
  ScalarOp,
  SizeSymbol,
  Values,
} from "@millrace/graph";
import {
  byteWidth,
  elementCount,
  evaluateDim,
  hostTensor,
  isFloat,
  maxDim,
  parseKernel,
  symbolsOf,
  toNumbers,
  verifyKernel,
} from "@millrace/graph";
import { describe, expect, it } from "vitest";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { createWasmBackend } from "./backend.ts";

/** A program of one kernel; what it reads are inputs, what it writes outputs. `inPlace` binds a written buffer to a read one. */
function programOf(kernel: Kernel, inPlace: Readonly<Record<string, string>> = {}): Program {
  let arenaBytes = 0;
  const sizes = new Map<string, SizeSymbol>();
  const buffers = kernel.buffers.map(({ dtype, shape }) => {
    for (const dim of shape) for (const symbol of symbolsOf(dim)) sizes.set(symbol.name, symbol);
    const offset = arenaBytes;
    const bytes = elementCount(shape.map(maxDim)) * byteWidth(dtype);
    arenaBytes = Math.ceil((offset + bytes) / 64) * 64;
    return { type: { dtype, shape }, place: { kind: "arena", offset } as const };
  });
  const index = (name: string): number =>
    kernel.buffers.findIndex((buffer) => buffer.name === (inPlace[name] ?? name));
  const bindings = (...accesses: string[]): Program["inputs"] =>
    kernel.buffers
      .filter(({ access }) => accesses.includes(access))
      .map(({ name, dtype, shape }) => ({ name, type: { dtype, shape }, buffer: index(name) }));
  return {
    name: kernel.name,
    sizes: [...sizes.values()],
    inputs: bindings("read", "update"),
    outputs: bindings("write", "update"),
    states: [],
    buffers,
    kernels: [kernel],
    steps: [{ kernel: 0, buffers: kernel.buffers.map(({ name }) => index(name)), label: "test" }],
    arenaBytes,
  };
}

/** Repeatable numbers: whole and small where the dtype is an integer. */
function fill(dtype: DType, shape: readonly number[], seed: number, limit = 5): HostTensor {
  let state = (seed + 1) * 2654435761;
  const values = Array.from({ length: elementCount(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const unit = state / 2 ** 32;
    if (isFloat(dtype)) return (unit - 0.5) * 4;
    return Math.floor(unit * (dtype === "bool" ? 2 : limit));
  });
  return hostTensor(dtype, shape, values);
}

interface Options {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly inputs?: Values;
  readonly inPlace?: Readonly<Record<string, string>>;
  /** Relative to the largest value; 0 means equal bits. */
  readonly tolerance?: number;
  readonly relaxedSimd?: boolean;
}

async function expectSame(
  text: string,
  options: Options = {},
): Promise<Record<string, HostTensor>> {
  const { sizes = {}, inPlace = {}, tolerance = 1e-6, relaxedSimd = true } = options;
  const kernel = parseKernel(text);
  verifyKernel(kernel);
  const program = programOf(kernel, inPlace);
  const bound = new Map(Object.entries(sizes));
  const inputs: Record<string, HostTensor> = {};
  program.inputs.forEach(({ name, type }, i) => {
    const shape = type.shape.map((dim) => evaluateDim(dim, bound));
    inputs[name] = options.inputs?.[name] ?? fill(type.dtype, shape, i);
  });
  const results = [];
  for (const backend of [createInterpreterBackend(), createWasmBackend({ relaxedSimd })]) {
    const executable = await backend.load(program, backend.createStore());
    expect(executable.bytes).toBe(program.arenaBytes);
    results.push(await executable.run(inputs, sizes), await executable.run(inputs, sizes));
    executable.dispose();
  }
  const [expected, , actual, again] = results;
  for (const [name, want] of Object.entries(expected!)) {
    const got = actual![name]!;
    expect(got.shape).toEqual(want.shape);
    expect(again![name]!.data, "second run").toEqual(got.data);
    if (tolerance === 0 || !isFloat(got.dtype)) {
      expect(got.data, `${name} of ${text}`).toEqual(want.data);
      continue;
    }
    const [a, b] = [toNumbers(got), toNumbers(want)];
    const scale = Math.max(1, ...b.filter((x) => Number.isFinite(x)).map(Math.abs));
    b.forEach((value, i) => {
      if (Object.is(a[i], value) || (a[i] !== a[i] && value !== value)) return;
      expect(Math.abs(a[i]! - value), `${name}[${i}]: ${a[i]} and ${value}`).toBeLessThanOrEqual(
        tolerance * scale,
      );
    });
  }
  return actual!;
}

const floats = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  1e10,
  -1e10,
  3e38,
  -3e38,
  1e-40,
  NaN,
  Infinity,
  -Infinity,
  2147483648,
  4294967296,
  7.25,
  -3.75,
  100,
  -0.001,
];
const integers = [0, 1, -1, 2, 3, -7, 31, 32, 33, 100, -2147483648, 2147483647, 65536, -65536];
const operandValues: Record<string, readonly number[]> = {
  f32: floats,
  i32: integers,
  u32: integers.map((x) => x >>> 0),
  bool: [0, 1],
};

/** Every pair of the values, as two inputs. */
function pairs(dtype: DType, values: readonly number[]): { a: HostTensor; b: HostTensor } {
  const all = values.flatMap((x) => values.map((y) => [x, y] as const));
  return {
    a: hostTensor(
      dtype,
      [all.length],
      all.map(([x]) => x),
    ),
    b: hostTensor(
      dtype,
      [all.length],
      all.map(([, y]) => y),
    ),
  };
}

describe("scalar operators, in lanes and one by one", () => {
  const infix: Partial<Record<ScalarOp, string>> = {
    add: "+",
    sub: "-",
    mul: "*",
    div: "/",
    rem: "%",
    and: "&",
    or: "|",
    xor: "^",
    shl: "<<",
    shr: ">>",
    eq: "==",
    ne: "!=",
    lt: "<",
    le: "<=",
    gt: ">",
    ge: ">=",
  };
  const arithmetic: ScalarOp[] = ["add", "sub", "mul", "div", "rem", "min", "max"];
  const bits: ScalarOp[] = ["and", "or", "xor"];
  const compares: ScalarOp[] = ["eq", "ne", "lt", "le", "gt", "ge"];
  const binary: [string, ScalarOp[]][] = [
    ["f32", [...arithmetic.filter((op) => op !== "rem"), ...compares]],
    ["i32", [...arithmetic, ...bits, "shl", "shr", ...compares]],
    ["u32", [...arithmetic, ...bits, "shl", "shr", ...compares]],
    ["bool", [...bits, "eq", "ne"]],
  ];
  const unary: [string, ScalarOp[]][] = [
    [
      "f32",
      [
        "neg",
        "abs",
        "sign",
        "exp",
        "log",
        "sin",
        "cos",
        "tanh",
        "sqrt",
        "floor",
        "ceil",
        "round",
        "to_f32",
        "to_i32",
        "to_u32",
        "to_bool",
        "bitcast_u32",
      ],
    ],
    ["i32", ["neg", "abs", "sign", "not", "to_f32", "to_i32", "to_u32", "to_bool"]],
    ["u32", ["not", "to_f32", "to_i32", "to_u32", "to_bool", "bitcast_f32"]],
    ["bool", ["not", "to_f32", "to_i32", "to_u32"]],
  ];
  const resultOf = (op: ScalarOp, type: string): string =>
    compares.includes(op) || op === "to_bool"
      ? "bool"
      : op === "to_f32" || op === "bitcast_f32"
        ? "f32"
        : op === "to_i32"
          ? "i32"
          : op === "to_u32" || op === "bitcast_u32"
            ? "u32"
            : type;

  for (const [type, ops] of binary)
    it.each(ops)(`%s of ${type}`, async (op) => {
      const inputs = pairs(type as DType, operandValues[type]!);
      const n = inputs.a.shape[0]!;
      const of = (x: string, y: string): string =>
        infix[op] ? `${x} ${infix[op]} ${y}` : `${op}(${x}, ${y})`;
      const result = resultOf(op, type);
      for (const order of ["parallel", "serial"])
        await expectSame(
          `kernel k { read a: ${type}[${n}] read b: ${type}[${n}] write y: ${result}[${n}]
            ${order} i < ${n} { store y[i] = ${of("a[i]", "b[i]")} } }`,
          { inputs, tolerance: 0 },
        );
    });

  for (const [type, ops] of unary)
    it.each(ops)(`%s of ${type}`, async (op) => {
      const values = operandValues[type]!.filter(
        (x) => (op !== "sin" && op !== "cos") || !(Math.abs(x) > 1e9),
      );
      const n = values.length;
      const result = resultOf(op, type);
      const exact = !["exp", "log", "sin", "cos", "tanh"].includes(op);
      for (const order of ["parallel", "serial"])
        await expectSame(
          `kernel k { read a: ${type}[${n}] write y: ${result}[${n}]
            ${order} i < ${n} { store y[i] = ${op}(a[i]) } }`,
          { inputs: { a: hostTensor(type as DType, [n], values) }, tolerance: exact ? 0 : 1e-6 },
        );
    });

  it("divides by constants", async () => {
    await expectSame(
      `kernel k { read a: i32[14] write y: i32[14, 4]
      parallel i < 14 { store y[i, 0] = a[i] / 4 store y[i, 1] = a[i] % 4
        store y[i, 2] = a[i] / -1 store y[i, 3] = a[i] % 0 } }`,
      {
        inputs: { a: hostTensor("i32", [14], integers) },
      },
    );
  });
});

const edges = [1, 2, 3, 4, 5, 7, 8, 9, 31, 127, 128, 129];

describe("loads and stores", () => {
  const dtypes: DType[] = [
    "f32",
    "f16",
    "bf16",
    "e4m3fn",
    "e5m2",
    "i32",
    "u32",
    "u8",
    "bool",
    "i64",
  ];
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

describe("arrays", () => {
  /** Two products one after the other through an array, block by block, in rows that may not fill the last block. */
  const blocks = (columns: number): string => `kernel k {
    size T in 0..70
    read x: f32[2, T, 12]
    read w: f32[T, 12]
    write y: f32[2, T, 12]
    parallel b < 2 {
      parallel i < 9 to (size(T) + 7) / 8 {
        array sums: f32[8, 12]
        array scores: f32[8, ${columns}]
        array largest: f32[8]
        let count = min(8, size(T) - i * 8)
        parallel r < 8 to count { parallel d < 12 { store sums[r, d] = 0.0 } }
        serial j < 70 to (size(T) + ${columns - 1}) / ${columns} {
          let width = min(${columns}, size(T) - j * ${columns})
          contract rows r < 8 to count, columns c < ${columns} to width, depth d < 12
            lhs x[b, i * 8 + r, d]
            rhs w[j * ${columns} + c, d]
            result acc {
              store scores[r, c] = acc
            }
          parallel r < 8 to count {
            parallel c < ${columns} from width { store scores[r, c] = -inf }
          }
          parallel r < 8 to count {
            reduce top: f32 over c < ${columns} {
              values scores[r, c]
              combine max(l0, r0)
              identity -inf
            }
            store largest[r] = top
            parallel c < ${columns} to width { store scores[r, c] = exp(scores[r, c] - top) }
          }
          contract rows r < 8 to count, columns d < 12, depth c < ${columns} to width
            lhs scores[r, c]
            rhs w[j * ${columns} + c, d]
            result acc {
              store sums[r, d] = sums[r, d] + acc * largest[r]
            }
        }
        parallel r < 8 to count {
          parallel d < 12 { store y[b, i * 8 + r, d] = sums[r, d] }
        }
      }
    }
  }`;
  const columns = [1, 3, 4, 16];
  it.each([0, 1, 7, 8, 9, 31, 70])("hold what products inside loops make of %i rows", async (T) => {
    for (const width of columns) await expectSame(blocks(width), { sizes: { T }, tolerance: 1e-5 });
  });

  it("are one for a whole kernel where they stand outside of all loops", async () => {
    await expectSame(
      `kernel k {
        read x: f32[40]
        write y: f32[40]
        array z: f32[40]
        parallel i < 40 { store z[i] = x[i] * 2.0 }
        parallel i < 40 { store y[i] = z[39 - i] }
      }`,
      { tolerance: 0 },
    );
  });
});
