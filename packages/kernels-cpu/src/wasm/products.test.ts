// Matrix products of every layout and size against the kernel interpreter, and against themselves: the bits of a row do not
// depend on the rows that come with it, so neither on the path that the emitter takes.
import type { HostTensor } from "@millrace/graph";
import { hostTensor, parseKernel } from "@millrace/graph";
import { expectSameValues } from "@millrace/conformance";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Given } from "../../test/kernel-text.ts";
import { fill, runText } from "../../test/kernel-text.ts";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { createWasmBackend } from "./backend.ts";
import { probeWasm } from "./capabilities.ts";

/** Below a unit in the last place of the largest sum for each of a few hundred additions. */
const tolerance = { ulps: 4, absolute: 1.2e-4 };

/** With narrow tiles and with wide ones. */
const ways = [
  {},
  { relaxedSimd: false },
  ...(probeWasm().revectorize ? [{ revectorize: true }, { revectorize: false }] : []),
];

async function check(text: string, inputs: Given["inputs"] = {}, sizes: Given["sizes"] = {}) {
  const expected = await runText(createInterpreterBackend(), text, { inputs, sizes });
  for (const options of ways) {
    const actual = await runText(createWasmBackend(options), text, { inputs, sizes });
    expectSameValues(actual, expected, {
      what: `wasm, ${JSON.stringify(options)}`,
      where: text,
      tolerances: { y: tolerance },
    });
  }
}

const layouts = {
  "left and right along the depth": ["f32[M, K]", "x[i, k]", "f32[N, K]", "w[j, k]"],
  "right along the columns": ["f32[M, K]", "x[i, k]", "bf16[K, N]", "w[k, j]"],
  "both across": ["f32[K, M]", "x[k, i]", "f32[K, N]", "w[k, j]"],
  expressions: ["bf16[M, K]", "round_bf16(x[i, k] * 0.3)", "e4m3fn[N, K]", "w[j, k] * s[j / 2]"],
  "gathered rows": ["f32[M, K]", "x[p[i], k]", "f32[2*N, K]", "w[2 * j, k]"],
  "no axis of neighbours": ["f32[2*M, K]", "x[2 * i, k]", "f32[2*N, 2*K]", "w[2 * j, 2 * k]"],
} as const;
type Layout = keyof typeof layouts;

/** What is stored of a sum: itself or with an addend, where tiles add up right there, or more. */
const bodies = ["acc", "acc + s[j]", "r[i, j] + acc"] as const;

/** A product in which the sizes are numbers, or symbols. */
function product(
  layout: Layout,
  m: number | string,
  n: number,
  k: number | string,
  options: { readonly head?: string; readonly body?: string } = {},
): string {
  const { head = "", body = bodies[1] } = options;
  const [xType, x, wType, w] = layouts[layout];
  const type = (text: string): string =>
    text.replace(/\[.*/, (dims) =>
      dims
        .replace("2*M", `${typeof m === "number" ? 2 * m : `2*${m}`}`)
        .replace("2*N", String(2 * n))
        .replace("2*K", `${typeof k === "number" ? 2 * k : `2*${k}`}`)
        .replace("M", String(m))
        .replace("N", String(n))
        .replace("K", String(k)),
    );
  return `kernel k { ${head} read x: ${type(xType)} read w: ${type(wType)} read s: f32[${n}] read r: f32[${m}, ${n}] read p: i32[${m}] write y: f32[${m}, ${n}]
    contract rows i < ${m}, columns j < ${n}, depth k < ${k} lhs ${x} rhs ${w}
    result acc { store y[i, j] = ${body} } }`;
}

const permutation = (length: number): HostTensor =>
  hostTensor(
    "i32",
    [length],
    Array.from({ length }, (_, i) => length - 1 - i),
  );

const allLayouts = Object.keys(layouts) as Layout[];

describe.each(allLayouts)("%s", (layout) => {
  it("of any size", async () => {
    const some: [number, number, number][] = [
      [1, 1, 1],
      [1, 9, 5],
      [2, 7, 4],
      [4, 16, 12],
      [5, 8, 3],
      [6, 8, 4],
      [7, 17, 9],
      [13, 5, 131],
    ];
    for (const [i, [m, n, k]] of some.entries())
      await check(product(layout, m, n, k, { body: bodies[i % 3]! }), { p: permutation(m) });
    const size = fc.integer({ min: 1, max: 40 });
    await fc.assert(
      fc.asyncProperty(size, size, size, fc.constantFrom(...bodies), (m, n, k, body) =>
        check(product(layout, m, n, k, { body }), { p: permutation(m) }),
      ),
      { numRuns: 8 },
    );
  });

  it.each(bodies)(
    "gives a row the same bits whatever rows come with it, storing %s",
    async (body) => {
      const backend = createWasmBackend();
      const most = 23;
      const K = 262;
      const text = (m: number): string => product(layout, m, 13, K, { body });
      const all = await runText(backend, text(most), { inputs: { p: identity(most) } });
      for (const m of [1, 2, 4, 5, 6, 7, 8, 9, 10, 12]) {
        const x = fill("f32", parseKernel(text(most)).buffers[0]!.shape as number[], 0);
        const rows = layout === "both across" ? columnsOf(x, m) : firstRows(x, layout, m);
        const dtype = layout === "expressions" ? "bf16" : "f32";
        const w = parseKernel(text(most)).buffers[1]!;
        const inputs = {
          p: identity(m),
          x: hostTensor(dtype, rows.shape, rows.data as Float32Array),
          w: fill(w.dtype, w.shape as number[], 1),
        };
        const some = await runText(backend, text(m), { inputs });
        expect(some["y"]!.data).toEqual(all["y"]!.data.subarray(0, m * 13));
      }
    },
  );
});

const identity = (length: number): HostTensor =>
  hostTensor(
    "i32",
    [length],
    Array.from({ length }, (_, i) => i),
  );

function firstRows({ shape, data }: HostTensor, layout: Layout, m: number): HostTensor {
  const rows = layout === "no axis of neighbours" ? 2 * m : m;
  const kept = data.subarray(0, rows * shape[1]!);
  return { dtype: "f32", shape: [rows, shape[1]!], data: kept };
}

function columnsOf({ shape, data }: HostTensor, m: number): HostTensor {
  const [rows, columns] = shape as [number, number];
  const kept = Array.from(
    { length: rows * m },
    (_, i) => data[Math.floor(i / m) * columns + (i % m)] as number,
  );
  return hostTensor("f32", [rows, m], kept);
}

describe("products", () => {
  it.each(bodies)("cross the blocks of rows, columns and depth, storing %s", async (body) => {
    const of = (layout: Layout, m: number, n: number, k: number) =>
      check(product(layout, m, n, k, { body }), { p: permutation(m) });
    await of("left and right along the depth", 101, 9, 515);
    await of("right along the columns", 3, 530, 261);
    await of("both across", 8, 521, 10);
    // Parts of a block of columns, each multiplied with all rows, in two blocks of depth.
    await of("right along the columns", 13, 277, 517);
    await of("left and right along the depth", 7, 531, 520);
    await of("both across", 102, 24, 10);
  });

  it.each(bodies)("of sizes known at run time, none at all included, storing %s", async (body) => {
    const head = "size M in 0..40 size K in 0..300";
    const text = product("left and right along the depth", "M", 10, "K", { head, body });
    for (const [M, K] of [
      [0, 3],
      [1, 0],
      [2, 3],
      [9, 0],
      [9, 257],
      [40, 300],
    ] as const)
      await check(text, { p: permutation(M) }, { M, K });
  });

  it.each(bodies)("of any number of rows beyond whole tiles, storing %s", async (body) => {
    const layout = "both across";
    const text = product(layout, "M", 17, 9, { head: "size M in 0..113", body });
    for (const M of [5, 12, 13, 14, 15, 16, 17, 18, 97, 113])
      for (const [program, sizes] of [
        [text, { M }],
        [product(layout, M, 17, 9, { body }), {}],
      ] as const)
        await check(program, { p: permutation(M) }, sizes);
  });

  const offsets = hostTensor("i32", [5], [0, 2, 2, 19, 30]);

  it("of each expert's rows, with batches around", () =>
    check(
      `kernel k { read x: f32[2, 30, 8] read w: f32[4, 6, 8] read o: i32[5] write y: f32[2, 30, 6]
        parallel b < 2 { parallel e < 4 {
          contract rows r < 30 from o[e] to o[e + 1], columns j < 6, depth k < 8
          lhs x[b, r, k] rhs w[e, j, k] result acc { store y[b, r, j] = acc } } } }`,
      { o: offsets },
    ));

  it("of each expert's rows, with whole tiles and parts of them", () =>
    check(
      `kernel k { read x: f32[2, 30, 8] read w: f32[4, 20, 8] read o: i32[5] write y: f32[2, 30, 20]
        parallel b < 2 { parallel e < 4 {
          contract rows r < 30 from o[e] to o[e + 1], columns j < 20, depth k < 8
          lhs x[b, r, k] rhs w[e, j, k] result acc { store y[b, r, j] = acc } } } }`,
      { o: offsets },
    ));

  it("of one row of sums after the other, stored across", () =>
    check(
      `kernel k { read x: f32[14, 8] read w: f32[20, 8] write y: f32[20, 14]
        contract rows i < 14, columns j < 20, depth k < 8
        lhs x[i, k] rhs w[j, k] result acc { store y[j, i] = acc } }`,
    ));

  it("stored in rows that come in pairs", () =>
    check(
      `kernel k { read x: f32[14, 8] read w: f32[20, 8] write y: f32[7, 2, 20]
        contract rows i < 14, columns j < 20, depth k < 8
        lhs x[i, k] rhs w[j, k] result acc { store y[i / 2, 1 - i % 2, j] = acc } }`,
    ));

  it("sum over each expert's rows, in whole tiles, also of no rows", () =>
    check(
      `kernel k { read a: f32[30, 14] read b: f32[30, 20] read o: i32[5] write y: f32[4, 14, 20]
        parallel e < 4 {
          contract rows i < 14, columns j < 20, depth r < 30 from o[e] to o[e + 1]
          lhs a[r, i] rhs b[r, j] result acc { store y[e, i, j] = acc } } }`,
      { o: offsets },
    ));

  it("of each expert's rows, with nothing to read four at a time", () =>
    check(
      `kernel k { read x: f32[30, 8] read w: f32[4, 12, 16] read o: i32[5] write y: f32[30, 6]
        parallel e < 4 {
          contract rows r < 30 from o[e] to o[e + 1], columns j < 6, depth k < 8
          lhs x[r, k] rhs w[e, 2 * j, 2 * k] result acc { store y[r, j] = acc } } }`,
      { o: offsets },
    ));

  it("sum over each expert's rows", () =>
    check(
      `kernel k { read a: f32[30, 7] read b: f32[30, 6] read o: i32[5] write y: f32[4, 7, 6]
        parallel e < 4 {
          contract rows i < 7, columns j < 6, depth r < 30 from o[e] to o[e + 1]
          lhs a[r, i] rhs b[r, j] result acc { store y[e, i, j] = acc } } }`,
      { o: offsets },
    ));

  it("run bodies that cannot take four columns at once", () =>
    check(
      `kernel k { read x: f32[9, 8] read w: f32[6, 8] write y: f32[9, 6]
        contract rows i < 9, columns j < 6, depth k < 8 lhs x[i, k] rhs w[j, k] result acc {
          variable v = acc
          serial t < 6 to j { set v = v * 0.5 + 1.0 }
          if v > 0.5 { store y[i, j] = v }
          if v <= 0.5 { store y[i, j] = neg(v) } } }`,
    ));
});
