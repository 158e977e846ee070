/**
 * Elementwise ops on the values that go wrong: every op on every pair of edge values of every dtype it takes, conversions between
 * all dtypes, and functions where they are steep, flat or undefined.
 */
import type { DType, HostTensor, Operand, Tensor } from "@millrace/graph";
import * as ops from "@millrace/graph";
import { hostTensor, isFloat } from "@millrace/graph";
import { edgeValues, seededTensor } from "../arbitraries/tensor.ts";
import type { SuiteContext } from "../describe-backend.ts";
import { opTolerance } from "../tolerance.ts";
import { checkGraph } from "../check-graph.ts";
import { checkSample } from "./case.ts";

const unary = { neg: ops.neg, abs: ops.abs, sign: ops.sign };
const roundings = { floor: ops.floor, ceil: ops.ceil, round: ops.round, sqrt: ops.sqrt };
const arithmetic = {
  add: ops.add,
  sub: ops.sub,
  mul: ops.mul,
  div: ops.div,
  maximum: ops.maximum,
  minimum: ops.minimum,
};
const comparisons = { eq: ops.eq, ne: ops.ne, lt: ops.lt, le: ops.le, gt: ops.gt, ge: ops.ge };
const bitwise = { and: ops.bitAnd, or: ops.bitOr, xor: ops.bitXor };
const integers = { rem: ops.rem };
const functions = {
  exp: ops.exp,
  log: ops.log,
  sin: ops.sin,
  cos: ops.cos,
  tanh: ops.tanh,
  sigmoid: ops.sigmoid,
  silu: ops.silu,
};

type Unary = (x: Tensor) => Tensor;
type Binary = (x: Operand, y: Operand) => Tensor;

/** Every pair of edge values, as two tensors of one length. */
function pairs(dtype: DType): { readonly x: HostTensor; readonly y: HostTensor } {
  const values = [...edgeValues(dtype), ...(dtype === "bool" ? [] : [2, 3, 7])];
  const all = values.flatMap((a) => values.map((b) => [a, b] as const));
  const side = (i: 0 | 1): HostTensor =>
    hostTensor(
      dtype,
      [all.length],
      all.map((pair) => pair[i]),
    );
  return { x: side(0), y: side(1) };
}

/** Everything of these tables applied to x, and to x and y, as outputs of one graph. */
const applied =
  (one: Readonly<Record<string, Unary>>, two: Readonly<Record<string, Binary>>) =>
  (_: unknown, { x, y }: Readonly<Record<string, Tensor>>): Record<string, Tensor> => ({
    ...Object.fromEntries(Object.entries(one).map(([name, op]) => [name, op(x!)])),
    ...Object.fromEntries(Object.entries(two).map(([name, op]) => [name, op(x!, y!)])),
  });

/** Ops that take a dtype and give the same bits everywhere. */
function exactOps(dtype: DType): ReturnType<typeof applied> {
  if (dtype === "bool") return applied({ not: ops.not }, { ...bitwise, ...comparisons });
  if (isFloat(dtype)) return applied({ ...unary, ...roundings }, { ...arithmetic, ...comparisons });
  return applied(
    { ...unary, not: ops.not },
    { ...arithmetic, ...comparisons, ...bitwise, ...integers },
  );
}

const computed = (context: SuiteContext): readonly DType[] =>
  context.dtypes.filter((dtype) => dtype !== "i64");

/** Arguments of functions: near their turning points, zeros, overflow and underflow, and undefined ones. */
const awkward = [
  0,
  -0,
  1,
  -1,
  0.5,
  2,
  -2,
  1e-3,
  1e-8,
  1e-30,
  2 ** -126,
  2 ** -149,
  Math.PI,
  Math.PI / 2,
  3,
  -3,
  9,
  -9,
  10.5,
  -10.5,
  20,
  40,
  80,
  -80,
  88,
  -100,
  100,
  1000,
  -1000,
  Infinity,
  -Infinity,
  NaN,
];

export function describeElementwise(context: SuiteContext): void {
  const { describe, test, timeout } = context;
  describe("elementwise", () => {
    for (const dtype of computed(context))
      test(
        `ops of ${dtype} on every pair of edge values`,
        () =>
          checkSample(
            { name: `edges of ${dtype}`, inputs: pairs(dtype), declare: exactOps(dtype) },
            context,
          ),
        timeout,
      );
    for (const dtype of computed(context))
      test(`conversions of ${dtype}`, () => checkConversions(dtype, context), timeout);
    test("functions", () => checkFunctions(context), timeout);
    test("what is padded with has the dtype's own values", () => checkPadding(context), timeout);
    test(
      "shifts by up to 31",
      () =>
        checkSample(
          {
            name: "shifts",
            inputs: {
              i: hostTensor(
                "i32",
                [32],
                Array.from({ length: 32 }, () => -0x7654321),
              ),
              u: hostTensor(
                "u32",
                [32],
                Array.from({ length: 32 }, () => 0xf7654321),
              ),
            },
            declare: (b, { i, u }) => ({
              iLeft: ops.shiftLeft(i!, ops.iota(b, "i32", [32], 0)),
              iRight: ops.shiftRight(i!, ops.iota(b, "i32", [32], 0)),
              uLeft: ops.shiftLeft(u!, ops.iota(b, "u32", [32], 0)),
              uRight: ops.shiftRight(u!, ops.iota(b, "u32", [32], 0)),
            }),
          },
          context,
        ),
      timeout,
    );
  });
}

/** To every dtype, of edge values, ties between neighbours, and every code of a format of one byte. */
function checkConversions(from: DType, context: SuiteContext): Promise<void> {
  const codes = Uint8Array.from({ length: 256 }, (_, i) => i);
  const inputs: Record<string, HostTensor> = {
    edges: hostTensor(from, [edgeValues(from).length], edgeValues(from)),
    wide: seededTensor(from, [513], 1, "wide"),
    small: seededTensor(from, [129], 2, "small"),
  };
  if (from === "e4m3fn" || from === "e5m2" || from === "u8")
    inputs["all"] = { dtype: from, shape: [256], data: codes };
  if (from === "f32") {
    // Multiples of 1/64 up to 32 hit the ties of all formats of one byte.
    const values = Array.from({ length: 2048 }, (_, i) => i / 64);
    inputs["ties"] = hostTensor("f32", [2048], values);
  }
  const declare = (_: unknown, values: Readonly<Record<string, Tensor>>): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(values).flatMap(([name, x]) =>
        computed(context).map((to) => [`${name} to ${to}`, ops.convert(x, to)]),
      ),
    );
  return checkSample({ name: `conversions of ${from}`, inputs, declare }, context);
}

/** Fused or not; no narrow format has a third, and some have no infinity. */
function checkPadding(context: SuiteContext): Promise<void> {
  const dtypes = computed(context).filter(isFloat);
  const inputs = Object.fromEntries(dtypes.map((dtype) => [dtype, hostTensor(dtype, [2], [1, 2])]));
  const declare = (_: unknown, values: Readonly<Record<string, Tensor>>): Record<string, Tensor> =>
    Object.fromEntries(
      Object.entries(values).flatMap(([name, x]) =>
        [1 / 3, -Infinity].map((value) => [
          `${name} and ${value}`,
          ops.div(ops.pad(x, 0, 1, 1, value), -2.5),
        ]),
      ),
    );
  return checkSample({ name: "padding", inputs, declare }, context);
}

async function checkFunctions(context: SuiteContext): Promise<void> {
  const { interpret, reference } = context;
  const backend = await context.backend();
  for (const dtype of computed(context).filter(isFloat)) {
    const b = new ops.GraphBuilder(`functions of ${dtype}`);
    const x = hostTensor(dtype, [awkward.length], awkward);
    const input = b.input("x", dtype, x.shape);
    const outputs = Object.entries(functions).map(([name, op]) => [name, op(input)] as const);
    // Results below the smallest normal number may be flushed to zero.
    const tolerance = { ...opTolerance(dtype), absolute: 2 ** -126 };
    await checkGraph(
      {
        graph: b.finish(Object.fromEntries(outputs)),
        inputs: { x },
        states: {},
        sizes: {},
        tolerances: Object.fromEntries(outputs.map(([name]) => [name, tolerance])),
        stateTolerances: {},
      },
      { interpret, backend, ...(reference && { reference }) },
    );
  }
}
