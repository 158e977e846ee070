import { checkKernel, describeBackend, tensorArbitrary } from "@millrace/conformance";
import { hostTensor, parseKernel } from "@millrace/graph";
import { describe, test } from "vitest";

import { createInterpreterBackend } from "../interpreter/backend.ts";
import { interpret } from "../interpreter/interpret.ts";
import { createWasmBackend } from "./backend.ts";

const reference = createInterpreterBackend();

describeBackend("wasm", createWasmBackend, { interpret, reference, describe, test });

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
