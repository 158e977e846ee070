import { checkKernel, describeBackend, tensorArbitrary } from "@millrace/conformance";
import { hostTensor, parseKernel } from "@millrace/graph";
import { describe, test } from "vitest";

import { createInterpreterBackend } from "../interpreter/backend.ts";
import { interpret } from "../interpreter/interpret.ts";
import { createWasmBackend } from "./backend.ts";

const reference = createInterpreterBackend();

const suite = { interpret, reference, describe, test };
describeBackend("wasm", () => createWasmBackend({ threads: 1 }), suite);
// Two threads share all they can, however small it is; fewer cases, since there are as many calls to them.
describeBackend("wasm, two threads", () => createWasmBackend({ threads: 2, divideFrom: 0 }), {
  ...suite,
  numRuns: 10,
});

test("an address first needed inside a guarded load is there outside of it too", async () => {
  const kernel = parseKernel(`kernel guarded {
    read x: f32[4, 0, 2]
    write y: f32[4, 2]
    parallel i < 4 {
      parallel j < 2 {
        store y[i, j] = select(j < 0, x[i, 0, j], 0.0)
      }
    }
  }`);
  const cases = tensorArbitrary("f32", [4, 2]).map((y) => ({
    buffers: { x: hostTensor("f32", [4, 0, 2], []), y },
  }));
  await checkKernel(kernel, cases, { backend: createWasmBackend(), reference, numRuns: 5 });
});
