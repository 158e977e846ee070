// How programs reach the device: in one command buffer, with pipelines compiled side by side and once, large data in pieces, and no run
// waits for what an earlier one gives back. Dawn's null device takes commands on every machine, so nothing here is skipped.
import type { Graph } from "@millrace/graph";
import { add, compile, declare, exp, hostTensor, linear, mul, sum } from "@millrace/graph";
import { afterEach, expect, it, vi } from "vitest";
import { nullGpu } from "../../test/gpu.ts";
import type { WgslBackend, WgslBackendOptions } from "../backend.ts";
import { createWgslBackend } from "../backend.ts";
import type { OpenDevice } from "../device.ts";
import { closeDevice, openDevice } from "../device.ts";
import { DeviceMemory, usage } from "./buffers.ts";
import { DeviceGuard } from "./device-errors.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function open(options: WgslBackendOptions = {}): Promise<WgslBackend> {
  const backend = await createWgslBackend({ gpu: nullGpu(), ...options });
  closing.push(() => backend.dispose());
  return backend;
}

async function openNull(): Promise<OpenDevice> {
  const opened = await openDevice({ gpu: nullGpu() });
  closing.push(() => closeDevice(opened));
  return opened;
}

/** Several kernels, a state and two outputs. */
const several = (): Graph =>
  declare("several", (b) => {
    const x = b.input("x", "f32", [8, 16]);
    const y = linear(x, b.parameter("w", "f32", [12, 16]));
    const z = linear(exp(y), b.parameter("v", "f32", [16, 12]));
    return { z, total: sum(mul(add(z, x), 2)) };
  });
const x = hostTensor("f32", [8, 16], new Float32Array(128).fill(1));

it("a run is one command buffer, with every step and every output in it", async () => {
  const backend = await open();
  const program = await compile(several(), backend);
  expect(program.program.steps.length).toBeGreaterThan(2);
  const submit = vi.spyOn(backend.device.queue, "submit");
  const encoders = vi.spyOn(backend.device, "createCommandEncoder");
  await program.run({ x });
  expect(submit.mock.calls.map(([buffers]) => [...buffers].length)).toEqual([1]);
  expect(encoders).toHaveBeenCalledTimes(1);
  await program.run({ x });
  expect(submit).toHaveBeenCalledTimes(2);
});

it("pipelines are compiled side by side, and once", async () => {
  const backend = await open();
  const { device } = backend;
  const original = device.createComputePipelineAsync.bind(device);
  let begun = 0;
  let mostAtOnce = 0;
  let running = 0;
  device.createComputePipelineAsync = async (descriptor) => {
    begun++;
    mostAtOnce = Math.max(mostAtOnce, ++running);
    try {
      return await original(descriptor);
    } finally {
      running--;
    }
  };
  await compile(several(), backend);
  expect(begun).toBeGreaterThan(1);
  expect(mostAtOnce).toBe(begun);
  const before = begun;
  await compile(several(), backend);
  expect(begun).toBe(before);
});

it("a run is under way before the results of earlier ones are read", async () => {
  const backend = await open();
  const program = await compile(several(), backend);
  const submit = vi.spyOn(backend.device.queue, "submit");
  const atFirstResult = await Promise.race(
    Array.from({ length: 10 }, async () => {
      await program.run({ x });
      return submit.mock.calls.length;
    }),
  );
  expect(atFirstResult).toBe(10);
});

it("what is read back goes through buffers that are used again", async () => {
  const backend = await open();
  const program = await compile(several(), backend);
  const create = vi.spyOn(backend.device, "createBuffer");
  for (let i = 0; i < 20; i++) await program.run({ x });
  expect(create).toHaveBeenCalledTimes(1);
});

it("large data goes to the device in pieces, each waited for", async () => {
  const { device, capabilities } = await openNull();
  const memory = new DeviceMemory(device, new DeviceGuard(device), capabilities.maxBufferBytes, 64);
  const buffer = memory.create(1000, "data", usage.storage | usage.copyTarget);
  const order: string[] = [];
  vi.spyOn(device.queue, "writeBuffer").mockImplementation((...[, at, , , size]) => {
    order.push(`${at}+${size ?? "rest"}`);
    return undefined;
  });
  const done = device.queue.onSubmittedWorkDone.bind(device.queue);
  vi.spyOn(device.queue, "onSubmittedWorkDone").mockImplementation(async () => {
    order.push("wait");
    return done();
  });
  const data = new Uint8Array(150).fill(7);
  await memory.upload({ buffer, offset: 8, bytes: 150 }, data, "data");
  // The last two bytes fill a word of their own.
  expect(order).toEqual(["8+64", "wait", "72+64", "wait", "136+20", "156+rest", "wait"]);
  memory.destroy(buffer);
  expect(memory.liveBuffers).toBe(0);
});

it("more workgroups than a dispatch takes are refused with the step's name", async () => {
  const backend = await open({ capabilities: { maxGroups: 1 } });
  const graph = declare("wide", (b) => {
    const T = b.size("T", 1, 2 ** 24);
    return { y: b.scope("layers.7", () => mul(b.input("x", "u8", [T]), 2)) };
  });
  const program = await compile(graph, backend);
  const run = program.run({ x: hostTensor("u8", [2 ** 24], new Uint8Array(2 ** 24)) });
  await expect(run).rejects.toThrow(
    /a step of \d+ workgroups is more than the device dispatches at once at wide: layers\.7 .* Use a smaller batch/,
  );
  expect((await program.run({ x: hostTensor("u8", [1], [1]) }))["y"]!.shape).toEqual([1]);
});
