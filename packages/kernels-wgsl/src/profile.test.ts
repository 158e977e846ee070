// A measured run on a device: an event for each step, the bits of any other run, and no buffer left behind.
import { expectSameBits, seededTensor } from "@millrace/conformance";
import type { Graph } from "@millrace/graph";
import {
  compile,
  countingSort,
  declare,
  exp,
  hostTensor,
  linear,
  mul,
  softmax,
  sum,
  UnsupportedError,
} from "@millrace/graph";
import { afterAll, expect, it } from "vitest";
import { noAdapter, nullGpu } from "../test/gpu.ts";
import type { WgslBackend } from "./backend.ts";
import { createWgslBackend } from "./backend.ts";

const graph: Graph = declare("layers", (b) => {
  const rows = b.size("B", 0, 40);
  const x = b.input("x", "f32", [rows, 24]);
  const hidden = b.scope("layers.0", () => exp(linear(x, b.parameter("w", "f32", [32, 24]))));
  const y = softmax(linear(hidden, b.parameter("v", "f32", [48, 32])));
  // A step of several dispatches.
  const { permutation } = countingSort(b.input("ids", "i32", [64]), 8);
  return { y, permutation, loss: sum(mul(y, y)) };
});
const ids = hostTensor(
  "i32",
  [64],
  Array.from({ length: 64 }, (_, i) => (i * 5) % 8),
);

const backends: WgslBackend[] = [];
afterAll(() => backends.forEach((backend) => backend.dispose()));

it.skipIf(noAdapter)("every step once, in its time, with the same results", async () => {
  const backend = await createWgslBackend();
  backends.push(backend);
  const program = await compile(graph, backend);
  await program.store.write("w", seededTensor("f32", [32, 24], 2));
  await program.store.write("v", seededTensor("f32", [48, 32], 3));
  const inputs = { x: seededTensor("f32", [33, 24], 1), ids };
  const expected = await program.run(inputs);
  const before = backend.liveBuffers;
  for (let time = 0; time < 3; time++) {
    const { outputs, profile } = await program.profile(inputs);
    expectSameBits(outputs, expected, "measured", graph.name);
    expect(profile.rows).toEqual(["queue"]);
    const steps = program.program.steps.map((_, i) => i);
    expect(profile.events.map(({ step }) => step).toSorted((a, b) => a - b)).toEqual(steps);
    // Sums of times are rounded.
    const end = profile.start + profile.duration + 1e-6;
    for (const { start, duration } of profile.events) {
      expect(duration).toBeGreaterThanOrEqual(0);
      expect(start).toBeGreaterThanOrEqual(profile.start);
      expect(start + duration).toBeLessThanOrEqual(end);
    }
    expect(profile.duration).toBeGreaterThan(0);
  }
  expectSameBits(await program.run(inputs), expected, "afterwards", graph.name);
  expect(backend.liveBuffers).toBe(before);
  // Steps of no rows are not dispatched, and so have no time.
  const { profile } = await program.profile({ x: seededTensor("f32", [0, 24], 1), ids });
  expect(profile.events.length).toBeLessThan(program.program.steps.length);
  program.dispose();
  await expect(program.profile(inputs)).rejects.toThrow(/disposed/);
});

it.skipIf(noAdapter)("the device's ceilings leave nothing behind", async () => {
  const backend = await createWgslBackend();
  backends.push(backend);
  const { flops, bytes } = await backend.measureCeilings();
  expect(flops).toBeGreaterThan(0);
  expect(bytes).toBeGreaterThan(0);
  expect(backend.liveBuffers).toBe(0);
});

it("a device without timestamps says so, and computes all the same", async () => {
  const gpu = nullGpu();
  const backend = await createWgslBackend({ gpu, capabilities: { timestamps: false } });
  backends.push(backend);
  const program = await compile(graph, backend);
  const inputs = { x: seededTensor("f32", [2, 24], 1), ids };
  await expect(program.profile(inputs)).rejects.toThrow(UnsupportedError);
  await expect(program.profile(inputs)).rejects.toThrow(
    /no timestamps .*"timestamp-query".* at layers\. Use another adapter/,
  );
  expect(Object.keys(await program.run(inputs))).toEqual(["y", "permutation", "loss"]);
});
