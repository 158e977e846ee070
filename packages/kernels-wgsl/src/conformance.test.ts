// The suite that every backend passes, on whatever adapter there is: a software one in continuous integration.
import { describeBackend } from "@millrace/conformance";
import { createInterpreterBackend, interpret } from "@millrace/kernels-cpu";
import { afterAll, describe, test } from "vitest";

import { noAdapter } from "../test/gpu.ts";
import { createWgslBackend, type WgslBackend } from "./backend.ts";

let backend: Promise<WgslBackend> | undefined;
afterAll(async () => (await backend)?.dispose());

describeBackend("gpu", () => (backend = createWgslBackend()), {
  interpret,
  describe,
  test: noAdapter ? test.skip : test,
  reference: createInterpreterBackend(),
  // Compiling a shader takes a software device longer than running it.
  numRuns: Number(process.env["NUM_RUNS"] ?? 4),
  // WGSL lets a compiler assume that there are no NaNs, and lavapipe's makes x - x zero, so a random NaN would fail once in a while.
  seed: Number(process.env["SEED"] ?? 1),
});
