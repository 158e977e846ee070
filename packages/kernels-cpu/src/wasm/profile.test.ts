// A measured run: an event for each step and thread, and the bits of any other run.
import { expectSameBits, seededTensor } from "@millrace/conformance";
import type { CompiledProgram, HostTensor } from "@millrace/graph";
import { compile, declare, exp, linear, mul, softmax, sum } from "@millrace/graph";
import { afterAll, expect, it } from "vitest";
import type { WasmBackend } from "./backend.ts";
import { createWasmBackend } from "./backend.ts";
import { probeWasm } from "./capabilities.ts";
import { configureProgram, emitProgram } from "./emit/emit.ts";

const graph = declare("layers", (b) => {
  const rows = b.size("B", 1, 40);
  const x = b.input("x", "f32", [rows, 24]);
  const hidden = b.scope("layers.0", () => exp(linear(x, b.parameter("w", "f32", [32, 24]))));
  const y = softmax(linear(hidden, b.parameter("v", "f32", [48, 32])));
  return { y, loss: sum(mul(y, y)) };
});
const x = seededTensor("f32", [33, 24], 1);

const backends: WasmBackend[] = [];
afterAll(() => backends.forEach((backend) => backend.dispose()));

async function load(threads: number): Promise<CompiledProgram> {
  const backend = createWasmBackend({ threads, divideFrom: 0 });
  backends.push(backend);
  const program = await compile(graph, backend);
  await program.store.write("w", seededTensor("f32", [32, 24], 2));
  await program.store.write("v", seededTensor("f32", [48, 32], 3));
  return program;
}

it.each([1, 2, 3])("%i threads", async (threads) => {
  const program = await load(threads);
  const { steps } = program.program;
  const expected: Record<string, HostTensor> = await program.run({ x });
  const shared = configureProgram(program.program, { threads, divideFrom: 0 }).map(
    ({ divisions }) => divisions.size > 0,
  );
  const events = steps
    .map(({ kernel }) => (shared[kernel] ? threads : 1))
    .reduce((a, b) => a + b, 0);
  for (let time = 0; time < 2; time++) {
    const { outputs, profile } = await program.profile({ x });
    expectSameBits(outputs, expected, `${threads} threads, measured`, graph.name);
    expect(profile.rows.length).toBe(threads);
    expect(profile.sizes).toEqual(new Map([["B", 33]]));
    expect(profile.events.length).toBe(events);
    expect(new Set(profile.events.map(({ step }) => step)).size).toBe(steps.length);
    // Sums of times are rounded.
    const end = profile.start + profile.duration + 1e-6;
    for (const { start, duration, row } of profile.events) {
      expect(duration).toBeGreaterThanOrEqual(0);
      expect(start).toBeGreaterThanOrEqual(profile.start);
      expect(start + duration).toBeLessThanOrEqual(end);
      expect(row).toBeLessThan(threads);
    }
  }
  expectSameBits(await program.run({ x }), expected, `${threads} threads, afterwards`, graph.name);
  program.dispose();
});

it("threads that are not called have no events", async () => {
  const backend = createWasmBackend({ threads: 2 });
  backends.push(backend);
  const program = await compile(graph, backend);
  const { profile } = await program.profile({ x });
  expect(profile.events.length).toBe(program.program.steps.length);
  expect(profile.events.every(({ row }) => row === 0)).toBe(true);
});

it("a module that does not measure imports no clock", async () => {
  const { program } = await load(1);
  const places = { scratch: 0, constantTable: 0, control: 0, relaxed: false };
  const options = { ...places, addresses: program.buffers.map(() => 0), threads: 1, shared: false };
  const imports = (stepLog?: number): readonly string[] => {
    const bytes = emitProgram(program, configureProgram(program, { threads: 1 }), {
      ...options,
      stepLog,
    });
    return WebAssembly.Module.imports(new WebAssembly.Module(bytes)).map(({ name }) => name);
  };
  expect(imports()).toEqual(["memory"]);
  expect(imports(64)).toEqual(["now", "memory"]);
});

it.each([1, 2])("ceilings of %i threads", async (threads) => {
  const backend = createWasmBackend({ threads });
  backends.push(backend);
  const ceilings = await backend.measureCeilings();
  if (!probeWasm().relaxedSimd) expect(ceilings).toBeUndefined();
  else {
    expect(ceilings!.flops).toBeGreaterThan(0);
    expect(ceilings!.bytes).toBeGreaterThan(0);
  }
  // The threads are free for programs again.
  const program = await compile(graph, backend);
  await program.run({ x });
});

it("a disposed program cannot be measured", async () => {
  const program = await load(1);
  program.dispose();
  await expect(program.profile({ x })).rejects.toThrow(/disposed/);
});
