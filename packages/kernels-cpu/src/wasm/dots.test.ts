// Products with few rows, whose weights are widened in registers: against the kernel interpreter, for every format and every
// code; and against themselves, because a row's bits depend neither on the rows beside it nor on f16 and bf16 storage.
import type { HostTensor, NarrowFloatDType } from "@millrace/graph";
import {
  buildProgram,
  compile,
  decodeFloats,
  declare,
  dequantizeBlocks,
  encodeGroups,
  groupLinear,
  groupRaggedDot,
  hostTensor,
  linear,
  raggedDot,
  size,
} from "@millrace/graph";
import type { Backend, DType, GraphBuilder, Tensor } from "@millrace/graph";
import { expectSameValues } from "@millrace/conformance";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { createWasmBackend } from "./backend.ts";
import { probeWasm } from "./capabilities.ts";

type Inputs = Readonly<Record<string, HostTensor>>;

async function run(
  backend: Backend,
  body: (b: GraphBuilder, given: Readonly<Record<string, Tensor>>) => Tensor,
  inputs: Inputs,
): Promise<HostTensor> {
  const graph = declare("product", (b) => {
    const given = Object.entries(inputs).map(
      ([name, { dtype, shape }]) => [name, b.input(name, dtype, shape)] as const,
    );
    return { y: body(b, Object.fromEntries(given)) };
  });
  const program = await compile(graph, backend);
  const { y } = await program.run(inputs);
  program.dispose();
  return y!;
}

function values(count: number, seed: number, scale = 1): number[] {
  let state = seed | 1;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * scale;
  });
}

const random = (dtype: DType, shape: readonly number[], seed: number, scale = 1): HostTensor =>
  hostTensor(
    dtype,
    shape,
    values(
      shape.reduce((a, b) => a * b, 1),
      seed,
      scale,
    ),
  );

// Whether the engine joins pairs of registers or not; one that cannot has no such option.
const shapes = probeWasm().revectorize ? [{ revectorize: false }, { revectorize: true }] : [{}];
const backends = shapes
  .flatMap((shape) => [
    { ...shape },
    { ...shape, relaxedSimd: false },
    { ...shape, threads: 2 },
    { ...shape, threads: 4 },
  ])
  .map((options) => createWasmBackend(options));

/** Sums of a few hundred products of numbers up to 1, in another order. */
const tolerance = { ulps: 8, absolute: 1e-4 };

async function check(
  body: (b: GraphBuilder, given: Readonly<Record<string, Tensor>>) => Tensor,
  inputs: Inputs,
): Promise<void> {
  const expected = await run(createInterpreterBackend(), body, inputs);
  for (const backend of backends)
    expectSameValues(
      { y: await run(backend, body, inputs) },
      { y: expected },
      {
        what: "wasm",
        where: JSON.stringify(inputs["w"]?.shape),
        tolerances: { y: tolerance },
      },
    );
}

const formats = ["f32", "f16", "bf16", "e4m3fn"] as const;

describe.each([8, 4] as const)("weights in %s bits", (bits) => {
  const weight = (shape: readonly number[], seed: number, group: number): Inputs => {
    const { codes, scales } = encodeGroups(random("f32", shape, seed), bits, group);
    return { w: codes, s: scales };
  };

  it("of any number of rows and columns", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.integer({ min: 1, max: 17 }), fc.constant(33)),
        fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(127, 129, 1030)),
        // Groups whose scales are read by fours or not, with and without groups that are left, in one block or several.
        fc.constantFrom(
          [32, 32],
          [96, 32],
          [128, 32],
          [288, 32],
          [64, 64],
          [192, 64],
          [256, 128],
          [512, 256],
          [384, 384],
          [288, 96],
        ),
        fc.integer(),
        (m, n, [k = 0, group = 0], seed) =>
          check((_, { x, w, s }) => groupLinear(x!, w!, s!), {
            x: random("f32", [m, k], seed),
            ...weight([n, k], seed + 1, group),
          }),
      ),
      { numRuns: 6 },
    );
  });

  it("of a whole block of columns, whose quarters overlap", () =>
    check((_, { x, w, s }) => groupLinear(x!, w!, s!), {
      x: random("f32", [3, 32], 1),
      ...weight([1024, 32], 2, 32),
    }));

  it("of each expert's rows", () =>
    check((_, { x, w, s, o }) => groupRaggedDot(x!, w!, s!, o!), {
      x: random("f32", [20, 64], 1),
      ...weight([4, 7, 64], 2, 32),
      o: hostTensor("i32", [5], [0, 18, 18, 19, 20]),
    }));

  it("that are all at the ends of their range", () =>
    check((_, { x, w, s }) => groupLinear(x!, w!, s!), {
      x: hostTensor(
        "f32",
        [2, 128],
        Array.from({ length: 256 }, (_, i) => (i < 128 ? 1 : -1)),
      ),
      w:
        bits === 8
          ? hostTensor(
              "i8",
              [3, 128],
              Array.from({ length: 384 }, () => -128),
            )
          : hostTensor(
              "u8",
              [3, 64],
              Array.from({ length: 192 }, () => 0),
            ),
      s: hostTensor("bf16", [3, 1], [1, 1 / 3, 0]),
    }));

  it("gives a row the same bits whatever rows come with it", async () => {
    const inputs = weight([21, 160], 6, 32);
    const x = random("f32", [40, 160], 5);
    const of = async (m: number): Promise<HostTensor["data"]> => {
      const some = { dtype: "f32", shape: [m, 160], data: x.data.slice(0, m * 160) } as HostTensor;
      const all = { x: some, ...inputs };
      const body = (_: GraphBuilder, g: Readonly<Record<string, Tensor>>): Tensor =>
        groupLinear(g["x"]!, g["w"]!, g["s"]!);
      return (await run(createWasmBackend(), body, all)).data;
    };
    const all = await of(40);
    for (const m of [1, 2, 3, 16, 17]) expect(await of(m)).toEqual(all.subarray(0, m * 21));
  });
});

describe.each(formats)("weights in %s", (dtype) => {
  it("of any number of rows and columns", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 17 }),
        fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constantFrom(127, 128, 129, 520)),
        fc.constantFrom(0, 1, 31, 32, 33, 64, 96, 127, 128, 129, 160),
        fc.integer(),
        (m, n, k, seed) =>
          check((_, { x, w }) => linear(x!, w!), {
            x: random("f32", [m, k], seed),
            w: random(dtype, [n, k], seed + 1),
          }),
      ),
      { numRuns: 6 },
    );
  });

  it("with a scale for each block", async () => {
    for (const [n, k] of [
      [1, 32],
      [5, 128],
      [130, 160],
      [257, 384],
    ] as const)
      await check((_, { x, w, s }) => linear(x!, dequantizeBlocks(w!, s!)), {
        x: random("f32", [2, k], 1),
        w: random(dtype, [n, k], 2, dtype === "e4m3fn" ? 448 : 1),
        s: random("f32", [Math.ceil(n / 128), Math.ceil(k / 128)], 3, 1 / 448),
      });
  });

  it("of each expert's rows", () =>
    check((_, { x, w, o }) => raggedDot(x!, w!, o!), {
      x: random("f32", [20, 64], 1),
      w: random(dtype, [4, 7, 64], 2),
      o: hostTensor("i32", [5], [0, 18, 18, 19, 20]),
    }));

  it("gives a row the same bits whatever rows come with it", async () => {
    const N = 9;
    const K = 160;
    const rows = size("M", 0, 4);
    const x = random("f32", [4, K], 5);
    const w = random(dtype, [N, K], 6);
    const graph = declare("product", (b) => ({
      y: linear(b.input("x", "f32", [rows, K]), b.input("w", dtype, [N, K])),
    }));
    const program = await compile(graph, createWasmBackend());
    const of = async (m: number): Promise<ArrayLike<number>> => {
      const some = { dtype: "f32", shape: [m, K], data: x.data.slice(0, m * K) } as HostTensor;
      return (await program.run({ x: some, w }))["y"]!.data as Float32Array;
    };
    const all = await of(4);
    for (const m of [0, 1, 2, 3])
      expect(await of(m)).toEqual((all as Float32Array).subarray(0, m * N));
  });
});

it.each(["f16", "bf16"] as const)(
  "%s weights give the bits of their values in f32",
  async (dtype) => {
    const x = random("f32", [3, 352], 1);
    const w = random(dtype, [37, 352], 2);
    const wide: HostTensor = {
      dtype: "f32",
      shape: w.shape,
      data: decodeFloats(dtype, w.data as Uint16Array),
    };
    for (const backend of backends) {
      const narrow = await run(backend, (_, given) => linear(given["x"]!, given["w"]!), { x, w });
      const same = await run(backend, (_, given) => linear(given["x"]!, given["w"]!), {
        x,
        w: wide,
      });
      expect(narrow.data).toEqual(same.data);
    }
  },
);

/** One weight row for each code, which stands in front of zeros. */
function everyCode(dtype: NarrowFloatDType): HostTensor {
  const codes = dtype === "e4m3fn" ? 2 ** 8 : 2 ** 16;
  const data = dtype === "e4m3fn" ? new Uint8Array(codes * 32) : new Uint16Array(codes * 32);
  for (let code = 0; code < codes; code++) data[code * 32 + (code % 32)] = code;
  return { dtype, shape: [codes, 32], data };
}

it.each(["f16", "bf16", "e4m3fn"] as const)("any code of %s is what it is", async (dtype) => {
  const w = everyCode(dtype);
  // Two rows of x: other functions than for one.
  const x = hostTensor(
    "f32",
    [3, 32],
    Array.from({ length: 96 }, () => 1),
  );
  const [rows = 0, width = 0] = w.shape;
  const each = decodeFloats(dtype, w.data as Uint16Array);
  // A NaN or an infinity beside zeros stays what it is; a subnormal bf16 is one of f32.
  const expected = Float32Array.from({ length: rows }, (_, i) => each[i * width + (i % width)]!);
  const y = await run(createWasmBackend(), (_, given) => linear(given["x"]!, given["w"]!), {
    x,
    w,
  });
  for (const row of [0, 1, 2]) {
    const got = (y.data as Float32Array).subarray(row * rows, (row + 1) * rows);
    const same = Array.from(expected, (value, i) => value === got[i] || Object.is(value, got[i]));
    expect(same.indexOf(false)).toBe(-1);
  }
});

it.each(["f16", "e4m3fn"] as const)(
  "a code of %s that is no number changes no bit of other rows",
  async (dtype) => {
    const [n, k] = [11, 288];
    const finite = random(dtype, [n, k], 2, 100);
    const odd: HostTensor = { ...finite, data: finite.data.slice() };
    const [row, at] = [6, 200];
    (odd.data as Uint8Array | Uint16Array)[row * k + at] = dtype === "f16" ? 0xfe00 : 0xff;
    for (const m of [1, 2, 3])
      for (const s of [undefined, random("f32", [1, 3], 4)]) {
        const body = (_: GraphBuilder, g: Readonly<Record<string, Tensor>>): Tensor =>
          linear(g["x"]!, g["s"] ? dequantizeBlocks(g["w"]!, g["s"]) : g["w"]!);
        const given = { x: random("f32", [m, k], 1), ...(s && { s }) };
        const [expected, y] = await Promise.all(
          [finite, odd].map((w) => run(createWasmBackend(), body, { ...given, w })),
        );
        const bits = ({ data }: HostTensor): number[] =>
          Array.from(data as Float32Array, (value, i) => (i % n === row ? 0 : value));
        expect(bits(y!)).toEqual(bits(expected!));
        for (let i = 0; i < m; i++) expect(y!.data[i * n + row]).toBeNaN();
      }
  },
);

it.each(["f32", "f16", "bf16", "e4m3fn"] as const)(
  "products with %s give the same bits whatever the number of threads",
  async (dtype) => {
    const inputs = { x: random("f32", [3, 256], 1), w: random(dtype, [530, 256], 2) };
    const [one, ...others] = await Promise.all(
      [1, 2, 4].map((threads) =>
        run(createWasmBackend({ threads }), (_, g) => linear(g["x"]!, g["w"]!), inputs),
      ),
    );
    for (const other of others) expect(other.data).toEqual(one!.data);
  },
);

it.each([
  ["e4m3fn", "e4m3fn"],
  ["i8", "int8"],
  ["u8", "int4"],
] as const)("weights of %s are multiplied where they lie", (dtype, format) => {
  const graph = declare("product", (b) => {
    const x = b.input("x", "f32", [1, 256]);
    const w = b.input("w", dtype, [64, dtype === "u8" ? 128 : 256]);
    if (dtype === "e4m3fn")
      return { y: linear(x, dequantizeBlocks(w, b.input("s", "f32", [1, 2]))) };
    return { y: groupLinear(x, w, b.input("s", "bf16", [64, 4])) };
  });
  const backend = createWasmBackend();
  const { program } = buildProgram(graph, backend.capabilities);
  expect(backend.print(program)).toContain(`dot products with rows of ${format}`);
});

it.runIf(shapes.length > 1).each([...formats, "int8", "int4"] as const)(
  "products with %s give the same bits with pairs of registers and without",
  async (format) => {
    for (const k of [96, 352, 512])
      for (const m of [1, 2, 3])
        for (const relaxedSimd of [true, false]) {
          const x = random("f32", [m, k], 1);
          const whole = format === "int8" || format === "int4";
          const groups = (): Inputs => {
            const { codes, scales } = encodeGroups(
              random("f32", [9, k], 2),
              format === "int8" ? 8 : 4,
              32,
            );
            return { x, w: codes, s: scales };
          };
          const inputs = whole
            ? groups()
            : { x, w: random(format, [9, k], 2), s: random("f32", [1, Math.ceil(k / 128)], 3) };
          const [without, withPairs] = await Promise.all(
            shapes.map((shape) =>
              run(
                createWasmBackend({ ...shape, relaxedSimd }),
                (_, g) =>
                  whole
                    ? groupLinear(g["x"]!, g["w"]!, g["s"]!)
                    : linear(g["x"]!, dequantizeBlocks(g["w"]!, g["s"]!)),
                inputs,
              ),
            ),
          );
          expect(withPairs!.data).toEqual(without!.data);
        }
  },
);

it("threads share the rows of experts", async () => {
  const offsets = hostTensor("i32", [5], [0, 9, 9, 10, 20]);
  const x = random("f32", [20, 256], 1);
  await check((_, { x: rows, w, o }) => raggedDot(rows!, w!, o!), {
    x,
    w: random("bf16", [4, 96, 256], 2),
    o: offsets,
  });
  for (const bits of [8, 4] as const) {
    const { codes, scales } = encodeGroups(random("f32", [4, 96, 256], 3), bits);
    await check((_, { x: rows, w, s, o }) => groupRaggedDot(rows!, w!, s!, o!), {
      x,
      w: codes,
      s: scales,
      o: offsets,
    });
  }
});
