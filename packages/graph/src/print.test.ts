import { readdirSync } from "node:fs";
import { expect, test } from "vitest";

import { builtInOps } from "./declare/built-in-ops.ts";
import { declare } from "./declare/declare.ts";
import { applyOne, defineOp } from "./declare/define-op.ts";
import { sum } from "./declare/ops/broadcast.ts";
import { add, convert, mul } from "./declare/ops/elementwise.ts";
import { pad, reshape } from "./declare/ops/movement.ts";
import { apply, axis, integer, literal, load, local, round, select } from "./expression.ts";
import type { Graph } from "./graph.ts";
import { hashGraph, hashText } from "./hash.ts";
import { hostTensor } from "./host-tensor.ts";
import type { Kernel } from "./kernel.ts";
import { parseGraph, parseKernel, parseProgram } from "./parse.ts";
import { printGraph, printKernel, printProgram } from "./print.ts";
import type { Attribute } from "./op.ts";
import type { Program } from "./program.ts";
import { addDims, size } from "./shape.ts";
import { verifyGraph, verifyKernel, verifyProgram } from "./verify.ts";

const small = (): Graph =>
  declare("small", (b) => {
    const T = b.size("T", 0, 127);
    const x = b.input("x", "bf16", [T, 4]);
    const w = b.parameter("layers.0.weight", "f32", [4]);
    const y = b.scope("layers.0", () => mul(convert(x, "f32"), w));
    const padded = pad(reshape(y, [addDims(T, T), 2]), 0, T, 1, -Infinity);
    b.update(w, add(w, b.constant(hostTensor("f32", [4], [1, -0, 0.1, Infinity]))));
    return { y, total: sum(padded, [0]), "odd name": y };
  });

test("a graph prints one node a line, with scope and bounds", () => {
  expect(printGraph(small())).toMatchInlineSnapshot(`
    "graph small {
      size T in 0..127
      %0 = input() {name: "x"}: bf16[T, 4]
      %1 = state() {name: "layers.0.weight"}: f32[4]
      %2 = convert(%0) {dtype: "f32"}: f32[T, 4] // layers.0
      %3 = broadcast(%1) {axes: [1], shape: [size(T), 4]}: f32[T, 4] // layers.0
      %4 = mul(%2, %3): f32[T, 4] // layers.0
      %5 = reshape(%4) {shape: [size(2*T), 2]}: f32[2*T, 2]
      %6 = pad(%5) {axis: 0, high: 1, low: size(T), value: -inf}: f32[3*T+1, 2]
      %7 = constant(): f32[4] = [1, -0, 0.10000000149011612, inf]
      %8 = add(%1, %7): f32[4]
      %9 = sum(%6) {axes: [0]}: f32[2]
      output y = %4
      output total = %9
      output "odd name" = %4
      update layers.0.weight = %8
    }
    "
  `);
});

test("a graph reads back equal", () => {
  const graph = small();
  verifyGraph(graph);
  expect(parseGraph(printGraph(graph))).toEqual(graph);
  expect(hashGraph(parseGraph(printGraph(graph)))).toBe(hashGraph(graph));
});

test("attributes of every kind, long constants and strange names read back equal", () => {
  const everyKind = defineOp<{ value: Attribute }>({
    name: "mylib.every_kind",
    infer: (inputs) => inputs,
    vjp: "none",
    body: { class: "elementwise", scalar: ([x]) => x! },
  });
  const T = size("T", 1, 3);
  const value = {
    numbers: [1, -1.5, 1e-30, 1e300, Infinity, -Infinity, NaN, -0],
    nested: { "odd key": null, true: [true, false, []], __proto__x: '// " \n \u2028' },
    dim: addDims(T, 1),
  };
  const bits = {
    dtype: "f32",
    shape: [2],
    data: new Float32Array(new Uint32Array([0x7fc00001, 0xff800001]).buffer),
  } as const;
  const graph = declare('a "strange" name', (b) =>
    b.scope("// strange \n path", () => {
      const x = b.input("inf", "i32", [T]);
      b.constant(hostTensor("i64", [3], [1, -(2 ** 52), 0]));
      b.constant(
        hostTensor(
          "e4m3fn",
          [17],
          Array.from({ length: 17 }, (_, i) => i - 8),
        ),
      );
      b.constant(hostTensor("bool", [0], []));
      b.constant(bits);
      return { true: applyOne(everyKind, [x], { value }) };
    }),
  );
  const read = parseGraph(printGraph(graph), { ops: [everyKind] });
  expect(read).toEqual(graph);
  const constant = read.nodes.at(-2)!.value!;
  expect(new Uint32Array(constant.data.buffer)).toEqual(new Uint32Array(bits.data.buffer));
  expect(() => parseGraph(printGraph(graph))).toThrow(
    /no op "mylib.every_kind".* at line \d+, column/,
  );
});

test("every op of the package is known to the parser", async () => {
  const known = new Set(builtInOps);
  for (const folder of ["declare/ops", "declare/composites", "differentiate"])
    for (const file of readdirSync(new URL(folder, import.meta.url))) {
      if (file.includes(".test.")) continue;
      const module = (await import(new URL(`${folder}/${file}`, import.meta.url).href)) as object;
      for (const [name, value] of Object.entries(module))
        if (name.endsWith("Op")) expect(known, `${folder}/${file} ${name}`).toContain(value);
    }
  expect(new Set(builtInOps.map((op) => op.name)).size).toBe(builtInOps.length);
});

const T = size("T", 1, 127);
const t = axis("t", T);
const k = axis("k", 64);

const kernel: Kernel = {
  name: "mixed",
  buffers: [
    { name: "x", dtype: "bf16", shape: [T, 64], access: "read" },
    { name: "offsets", dtype: "i32", shape: [2], access: "read" },
    { name: "strange name", dtype: "u32", shape: [], access: "update" },
    { name: "y", dtype: "e5m2", shape: [T], access: "write" },
  ],
  body: [
    {
      kind: "loop",
      range: { axis: "t", extent: T, start: load("offsets", [integer(0)], "i32") },
      order: "parallel",
      body: [
        {
          kind: "reduce",
          ranges: [{ axis: "k", extent: 64, end: load("offsets", [integer(1)], "i32") }],
          results: [
            { name: "best", type: "f32" },
            { name: "at", type: "i32" },
          ],
          identity: [literal(-Infinity), integer(0)],
          body: [{ kind: "let", name: "v", value: load("x", [t, k], "bf16") }],
          values: [local("v", "f32"), k],
          combine: [
            apply("max", local("l0", "f32"), local("r0", "f32")),
            select(
              apply("ge", local("l0", "f32"), local("r0", "f32")),
              local("l1", "i32"),
              local("r1", "i32"),
            ),
          ],
        },
        {
          kind: "if",
          condition: apply(
            "and",
            apply("lt", local("at", "i32"), { kind: "size", type: "i32", dim: addDims(T, 1) }),
            literal(1, "bool"),
          ),
          body: [
            {
              kind: "store",
              buffer: "y",
              index: [t],
              value: round(
                apply("sub", local("best", "f32"), apply("sub", literal(1), literal(-0.5))),
                "e5m2",
              ),
            },
          ],
        },
      ],
    },
    { kind: "variable", name: "sum", value: literal(4294967295, "u32") },
    {
      kind: "loop",
      range: { axis: "i", extent: 3 },
      order: "serial",
      body: [
        {
          kind: "assign",
          name: "sum",
          value: apply(
            "xor",
            local("sum", "u32"),
            apply("shl", apply("bitcast_u32", literal(NaN)), literal(3, "u32")),
          ),
        },
      ],
    },
    { kind: "store", buffer: "strange name", index: [], value: local("sum", "u32") },
    { kind: "array", name: "sums", dtype: "f32", shape: [2, 3] },
    { kind: "store", buffer: "sums", index: [integer(0), integer(2)], value: literal(1) },
    {
      kind: "contract",
      rows: { axis: "m", extent: T },
      columns: { axis: "n", extent: T },
      depth: { axis: "d", extent: 64 },
      lhs: load("x", [axis("m", T), axis("d", 64)], "bf16"),
      rhs: apply("mul", load("x", [axis("n", T), axis("d", 64)], "bf16"), literal(2)),
      result: "acc",
      body: [],
    },
  ],
};

test("a kernel prints as loops", () => {
  verifyKernel(kernel);
  expect(printKernel(kernel)).toMatchInlineSnapshot(`
    "kernel mixed {
      size T in 1..127
      read x: bf16[T, 64]
      read offsets: i32[2]
      update "strange name": u32[]
      write y: e5m2[T]
      parallel t < T from offsets[0] {
        reduce best: f32, at: i32 over k < 64 to offsets[1] {
          let v = x[t, k]
          values v, k
          combine max(l0, r0), select(l0 >= r0, l1, r1)
          identity -inf, 0
        }
        if (at < size(T+1)) & true {
          store y[t] = round_e5m2(best - (1.0 - -0.5))
        }
      }
      variable sum = 4294967295u
      serial i < 3 {
        set sum = sum ^ bitcast_u32(nan) << 3u
      }
      store "strange name"[] = sum
      array sums: f32[2, 3]
      store sums[0, 2] = 1.0
      contract rows m < T, columns n < T, depth d < 64
        lhs x[m, d]
        rhs x[n, d] * 2.0
        result acc {}
    }
    "
  `);
});

test("a kernel reads back equal", () => {
  expect(parseKernel(printKernel(kernel))).toEqual(kernel);
});

const program: Program = {
  name: "two steps",
  sizes: [T.terms[0]!.symbols[0]!],
  states: [{ name: "layers.0.weight", type: { dtype: "u32", shape: [] } }],
  inputs: [{ name: "x", type: { dtype: "bf16", shape: [T, 64] }, buffer: 0 }],
  outputs: [{ name: "y", type: { dtype: "e5m2", shape: [T] }, buffer: 3 }],
  buffers: [
    { type: { dtype: "bf16", shape: [T, 64] }, place: { kind: "arena", offset: 0 } },
    {
      type: { dtype: "i32", shape: [2] },
      place: { kind: "constant", value: hostTensor("i32", [2], [0, 64]) },
    },
    { type: { dtype: "u32", shape: [] }, place: { kind: "state", name: "layers.0.weight" } },
    { type: { dtype: "e5m2", shape: [T] }, place: { kind: "arena", offset: 16256 } },
  ],
  kernels: [kernel],
  steps: [{ kernel: 0, buffers: [0, 1, 2, 3], label: "layers.0 (sum)" }],
  arenaBytes: 16256 + 127,
};

test("a program prints its places, kernels and steps", () => {
  verifyProgram(program);
  expect(printProgram({ ...program, kernels: [] })).toMatchInlineSnapshot(`
    "program "two steps" {
      size T in 1..127
      arena 16383 bytes
      state layers.0.weight: u32[]
      buffer $0: bf16[T, 64] at arena 0
      buffer $1: i32[2] = [0, 64]
      buffer $2: u32[] at state layers.0.weight
      buffer $3: e5m2[T] at arena 16256
      input x: bf16[T, 64] in $0
      output y: e5m2[T] in $3
      step 0 ($0, $1, $2, $3) // layers.0 (sum)
    }
    "
  `);
});

test("a program reads back equal", () => {
  expect(parseProgram(printProgram(program))).toEqual(program);
});

test("the hash of a text is FNV-1a", () => {
  expect(hashText("")).toBe("cbf29ce484222325");
  expect(hashText("a")).toBe("af63dc4c8601ec8c");
  expect(hashText("foobar")).toBe("85944171f73967e8");
});
