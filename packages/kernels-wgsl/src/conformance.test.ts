// The suite that every backend passes, on whatever adapter there is: a software one in continuous integration.
import { describeBackend } from "@millrace/conformance";
import { createInterpreterBackend, interpret } from "@millrace/kernels-cpu";
import { describe, test } from "vitest";
import { createWgslBackend } from "./backend.ts";
import { listAdapters } from "./device.ts";

const adapters = await listAdapters();
if (adapters.length === 0)
  test.skip("there is no GPU adapter here: install libvulkan1 and mesa-vulkan-drivers", () => undefined);
else
  describeBackend("gpu", () => createWgslBackend(), {
    interpret,
    describe,
    test,
    reference: createInterpreterBackend(),
    numRuns: Number(process.env["NUM_RUNS"] ?? 10),
  });
