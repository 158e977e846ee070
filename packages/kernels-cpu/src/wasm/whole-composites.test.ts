// A composite with kernels of its own, as a user of the library may write one: it runs whole where it says so, and in parts elsewhere.
import type { Attributes, OpDefinition, WholeKernel } from "@millrace/graph";
import {
  add,
  applyExpr,
  applyOp,
  axisExpr,
  compile,
  declare,
  defineOp,
  literalExpr,
  mul,
  sum,
} from "@millrace/graph";
import { expectSameBits, seededTensor } from "@millrace/conformance";
import { expect, it } from "vitest";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { interpret } from "../interpreter/interpret.ts";
import { createWasmBackend } from "./backend.ts";

/** `x * x` and `x + x` of numbers in a row; whole for rows of 4 only, the second by adding to what it has stored. */
const squareAndDouble: OpDefinition = defineOp<Attributes>({
  name: "mylib.square_and_double",
  infer: ([x]) => [x!, x!],
  body: {
    class: "composite",
    decompose: ([x]) => [mul(x!, x!), add(x!, x!)],
    whole: ({ inputs: [x] }) => {
      if (x!.shape[0] !== 4) return undefined;
      const range = { axis: "i", extent: 4 };
      const i = axisExpr("i", 4);
      const loop = (...body: ReturnType<WholeKernel["body"]>[number][]) => [
        { kind: "loop", range, order: "parallel", body } as const,
      ];
      const square: WholeKernel = {
        name: "mylib.square",
        outputs: [0],
        body: ({ read, store }) =>
          loop(store(0, [i], applyExpr("mul", read(0, [i]), read(0, [i])))),
      };
      const double: WholeKernel = {
        name: "mylib.double",
        outputs: [1],
        readsBack: [1],
        body: ({ read, store, readBack }) => [
          ...loop(store(1, [i], literalExpr(0))),
          ...loop(store(1, [i], read(0, [i]))),
          ...loop(store(1, [i], applyExpr("add", readBack(1, [i]), read(0, [i])))),
        ],
      };
      return [square, double];
    },
  },
});

it.each([
  [4, ["square", "double"], ["mylib_square", "mylib_double"]],
  [4, ["double"], ["mylib_double"]],
  [5, ["square", "double"], []],
])("of %i numbers, when %o are wanted, runs %o", async (count, wanted, kernels) => {
  const graph = declare("user", (b) => {
    const x = b.input("x", "f32", [count]);
    const [square, double] = applyOp(squareAndDouble, [x], {});
    const results: Record<string, typeof x> = { total: sum(x) };
    if (wanted.includes("square")) results["square"] = square!;
    if (wanted.includes("double")) results["double"] = double!;
    return results;
  });
  const inputs = { x: seededTensor("f32", [count], 1) };
  const expected = interpret(graph, inputs).outputs;
  for (const backend of [createInterpreterBackend(), createWasmBackend()]) {
    const program = await compile(graph, backend);
    const names = program.program.kernels.map(({ name }) => name.replace(/_\d+$/, ""));
    expect(names.filter((name) => name.startsWith("mylib"))).toEqual(kernels);
    const { total, ...actual } = await program.run(inputs);
    const { total: wholeSum, ...rest } = expected;
    expect(Number(total!.data[0])).toBeCloseTo(Number(wholeSum!.data[0]), 4);
    expectSameBits(actual, rest, backend.name, "user");
    program.dispose();
  }
});
