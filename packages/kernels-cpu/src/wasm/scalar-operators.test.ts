// Scalar operators in lanes and one by one, over values at the edges of their types: emitted code against the kernel interpreter.
import type { DType, HostTensor, ScalarOp } from "@millrace/graph";
import { hostTensor } from "@millrace/graph";
import { describe, it } from "vitest";
import { expectSame } from "../../test/kernel-text.ts";

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
