import { checkGradient, checkOp, seededTensor, smoothInputs } from "@millrace/conformance";
import { createWasmBackend, interpret } from "@millrace/kernels-cpu";
import fc from "fast-check";
import { test } from "vitest";
import { softplus, softplusOp } from "./softplus.ts";
import { ternarizeOp } from "./ternarize.ts";

const shapes = fc.constantFrom([0], [1], [5, 7], [2, 129]);
const cases = fc
  .tuple(shapes, fc.nat())
  .map(([shape, seed]) => ({ inputs: [seededTensor("f32", shape, seed)], attrs: {} }));
const options = { interpret, backend: createWasmBackend(), numRuns: 10 };

test("softplus computes alike everywhere, and differentiates", async () => {
  await checkOp(softplusOp, cases, options);
  await checkGradient(([x]) => softplus(x!), smoothInputs([{ dtype: "f32", shape: [9] }]), {
    interpret,
  });
});

test("ternarize computes alike everywhere", async () => {
  const filled = cases.filter(({ inputs }) => inputs[0]!.data.length > 0);
  await checkOp(ternarizeOp, filled, options);
});
