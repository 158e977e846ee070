import fc from "fast-check";
import { expect, test } from "vitest";

import { declare } from "./declare/declare.ts";
import { sum } from "./declare/ops/broadcast.ts";
import { add } from "./declare/ops/elementwise.ts";
import { slice } from "./declare/ops/movement.ts";
import type { Expr, ScalarOp } from "./expression.ts";
import { apply, integer, literal, load, round, sizeOf } from "./expression.ts";
import { MillraceError } from "./errors.ts";
import { hostTensor } from "./host-tensor.ts";
import type { Kernel } from "./kernel.ts";
import { parseGraph, parseKernel, parseProgram } from "./parse.ts";
import { printGraph, printKernel, printProgram } from "./print.ts";
import { decodeBase64, encodeBase64 } from "./text.ts";
import { size } from "./shape.ts";
import { verifyGraph, verifyKernel, verifyProgram } from "./verify.ts";

const T = size("T", 0, 127);

/** Well-typed expressions of every kind over a buffer `x`, with the type they are asked for. */
const expressions = fc.letrec<{ f32: Expr; i32: Expr; u32: Expr; bool: Expr }>((tie) => {
  const f32 = tie("f32");
  const i32 = tie("i32");
  const u32 = tie("u32");
  const bool = tie("bool");
  const call = (op: ScalarOp, ...args: readonly fc.Arbitrary<Expr>[]): fc.Arbitrary<Expr> =>
    fc.tuple(...args).map((values) => apply(op, ...values));
  const arithmetic = (x: fc.Arbitrary<Expr>): fc.Arbitrary<Expr>[] =>
    (["add", "sub", "mul", "div", "min", "max"] as const).map((op) => call(op, x, x));
  const bits = (x: fc.Arbitrary<Expr>): fc.Arbitrary<Expr>[] =>
    (["and", "or", "xor"] as const).map((op) => call(op, x, x));
  const compare = (x: fc.Arbitrary<Expr>): fc.Arbitrary<Expr>[] =>
    (["eq", "ne", "lt", "le", "gt", "ge"] as const).map((op) => call(op, x, x));
  return {
    f32: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      fc.double().map((value) => literal(value)),
      ...arithmetic(f32),
      ...(["neg", "exp", "tanh", "round"] as const).map((op) => call(op, f32)),
      i32.map((index) => load("x", [index, integer(0)], "bf16")),
      f32.map((value) => round(value, "e4m3fn")),
      call("select", bool, f32, f32),
      call("to_f32", u32),
      call("bitcast_f32", u32),
    ),
    i32: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      fc.integer().map(integer),
      ...arithmetic(i32),
      ...bits(i32),
      ...(["rem", "shl", "shr"] as const).map((op) => call(op, i32, i32)),
      fc.constant(sizeOf(T)),
      call("to_i32", f32),
    ),
    u32: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      fc.nat().map((value) => literal(value, "u32")),
      ...arithmetic(u32),
      call("shl", u32, u32),
      call("bitcast_u32", f32),
      call("not", u32),
    ),
    bool: fc.oneof(
      { depthSize: "medium", withCrossShrink: true },
      fc.boolean().map((value) => literal(value ? 1 : 0, "bool")),
      ...compare(f32),
      ...compare(i32),
      ...bits(bool),
      call("not", bool),
    ),
  };
});

const kernelWith = (condition: Expr, index: Expr, value: Expr): Kernel => ({
  name: "k",
  buffers: [
    { name: "x", dtype: "bf16", shape: [T, 1], access: "read" },
    { name: "y", dtype: "f32", shape: [T], access: "write" },
  ],
  body: [
    {
      kind: "if",
      condition,
      body: [{ kind: "store", buffer: "y", index: [index], value }],
    },
  ],
});

test("legal expressions verify and read back equal", () => {
  fc.assert(
    fc.property(expressions.bool, expressions.i32, expressions.f32, (condition, index, value) => {
      const kernel = kernelWith(condition, index, value);
      verifyKernel(kernel);
      expect(parseKernel(printKernel(kernel))).toEqual(kernel);
    }),
    { numRuns: 300 },
  );
});

test("base64 keeps every byte", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 130 }), (bytes) => {
      expect(decodeBase64(encodeBase64(bytes))).toEqual(bytes);
      expect(encodeBase64(bytes)).toBe(Buffer.from(bytes).toString("base64"));
    }),
  );
});

const graphText = printGraph(
  declare("g", (b) => {
    const x = b.input("x", "f32", [T, 20]);
    const w = b.state("w", "bf16", []);
    b.update(w, w);
    b.constant(
      hostTensor(
        "f16",
        [18],
        Array.from({ length: 18 }, (_, i) => i),
      ),
    );
    const constant = b.constant(hostTensor("f32", [2], [1, -0.5]));
    return b.scope("layers.0", () => ({ y: add(slice(x, 1, 0, 2), constant), z: sum(x, [0]) }));
  }),
);
const kernelText = printKernel(kernelWith(literal(1, "bool"), integer(1), literal(0.5)));
const programText = `program p {
  size T in 0..127
  arena 508 bytes
  state w: f32[2]
  buffer $0: f32[T] at arena 0
  buffer $1: f32[2] = [1, 2]
  buffer $2: f32[2] at state w
  input x: f32[T] in $0
  output x: f32[T] in $0
  kernel k {
    read x: f32[2]
    write y: f32[2]
    reduce s: f32, at: i32 over i < 2 from 0 to 2 {
      values x[i], i
      combine max(l0, r0), select(l0 < r0, r1, l1)
      identity -inf, 0
    }
    store y[0] = s
    contract rows a < 1, columns b < 1, depth c < 2
      lhs x[c]
      rhs x[c]
      result acc {
        store y[1] = acc
      }
  }
  step 0 ($1, $2) // first
}
`;

const forms: [string, string, (text: string) => void][] = [
  ["graph", graphText, (text) => verifyGraph(parseGraph(text))],
  ["kernel", kernelText, (text) => verifyKernel(parseKernel(text))],
  ["program", programText, (text) => verifyProgram(parseProgram(text))],
];

test.each(forms)(
  "mutated %s text reads and verifies, or is refused with an error of ours",
  (_, text, check) => {
    check(text);
    const token = fc.oneof(
      fc.constantFrom(...(text.match(/[A-Za-z0-9_.]+|\s+|[^A-Za-z0-9_.\s]/g) ?? [])),
      fc.constantFrom(
        "",
        "-",
        "1e999",
        "9007199254740993",
        "\n",
        '"',
        "\\",
        "// ",
        "nan",
        "%",
        "{",
      ),
      fc.string({ maxLength: 3 }),
    );
    const edit = fc.record({ at: fc.nat(text.length), length: fc.nat(12), token });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let mutated = text;
        for (const { at, length, token: inserted } of edits)
          mutated = mutated.slice(0, at) + inserted + mutated.slice(at + length);
        try {
          check(mutated);
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
        }
      }),
      { numRuns: 1500 },
    );
  },
);

test("programs read back equal", () => {
  expect(printProgram(parseProgram(programText))).toBe(programText);
});
