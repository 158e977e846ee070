// What goes wrong on a device reaches the caller's promise, with the place and the remedy; nothing hangs and nothing is zeroed.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Graph } from "@millrace/graph";
import { add, compile, declare, DeviceError, hostTensor, linear, mul, sum } from "@millrace/graph";
import { afterEach, describe, expect, it, vi } from "vitest";
import { noAdapter, nullGpu } from "../test/gpu.ts";
import type { WgslBackend } from "./backend.ts";
import { createWgslBackend } from "./backend.ts";

const open: WgslBackend[] = [];
async function backend(
  options: Parameters<typeof createWgslBackend>[0] = {},
): Promise<WgslBackend> {
  const made = await createWgslBackend(options);
  open.push(made);
  return made;
}
afterEach(() => {
  for (const made of open.splice(0)) made.dispose();
});

const layer = (): Graph =>
  declare("layer", (b) => {
    const x = b.input("x", "f32", [64, 64]);
    const y = b.scope("layers.0", () => linear(x, b.parameter("w", "f32", [64, 64])));
    return { y: add(y, 1) };
  });
const x = hostTensor("f32", [64, 64], new Float32Array(4096).fill(1));

describe("no device", () => {
  it("no adapter", async () => {
    const gpu = { requestAdapter: async () => null } as unknown as GPU;
    const made = createWgslBackend({ gpu });
    await expect(made).rejects.toThrow(DeviceError);
    await expect(made).rejects.toThrow(/there is no GPU adapter\. .*apt-get install libvulkan1/);
  });

  it("no WebGPU, or no adapter, in a browser, where nothing can be installed", async () => {
    try {
      // As in a browser: a process is Node's, unless a bundler put an empty one there.
      vi.stubGlobal("process", Object.create(process, { versions: { value: {} } }));
      await expect(createWgslBackend()).rejects.toThrow(
        /^this browser does not offer WebGPU here\. .*the WebAssembly backend\.$/,
      );
      vi.stubGlobal("navigator", { gpu: { requestAdapter: async () => null } });
      await expect(createWgslBackend()).rejects.toThrow(
        /^the browser has WebGPU but no graphics adapter for it\. .*the WebAssembly backend\.$/,
      );
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("no adapter of that name", async () => {
    await expect(createWgslBackend({ adapter: "Voodoo 2" })).rejects.toThrow(
      noAdapter
        ? /there is no GPU adapter/
        : /no GPU adapter whose name contains "Voodoo 2"\. Choose one of: /,
    );
  });

  it("no package webgpu, which importing ours does not load", async () => {
    const script = `
      import { registerHooks } from "node:module";
      let asked = 0;
      registerHooks({ resolve(specifier, context, next) {
        if (specifier !== "webgpu") return next(specifier, context);
        asked++;
        throw Object.assign(new Error("not there"), { code: "ERR_MODULE_NOT_FOUND" });
      } });
      const { createWgslBackend } = await import(${JSON.stringify(new URL("index.ts", import.meta.url))});
      const before = asked;
      await createWgslBackend().catch((error) => console.log([before, asked, error.code, error.message].join(" ")));
    `;
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--conditions=millrace-source",
      "--input-type=module",
      "--eval",
      script,
    ]);
    expect(stdout).toBe(
      '0 1 device the optional package "webgpu" is not installed. Run npm install webgpu, or use the WebAssembly backend.\n',
    );
  });
});

describe("a device that is lost", () => {
  it.skipIf(noAdapter)("in mid-run", async () => {
    const on = await backend();
    const program = await compile(layer(), on);
    const running = program.run({ x });
    on.device.destroy();
    await expect(running).rejects.toThrow(DeviceError);
    await expect(running).rejects.toThrow(/the device was lost \(destroyed.* at layer\. /);
  });

  it.skipIf(noAdapter)("in the middle of reads and writes, which leave no buffer", async () => {
    const on = await backend();
    const store = on.createStore();
    store.ensure([{ name: "s", type: { dtype: "u8", shape: [10] } }]);
    const value = hostTensor("u8", [10], new Uint8Array(10));
    await store.write("s", value);
    const before = on.liveBuffers;
    // The second writes part of a word, for which it reads the rest.
    const work = [
      store.read("s"),
      store.write("s", hostTensor("u8", [1], [1]), 5),
      store.read("s"),
    ];
    const settled = Promise.allSettled(work);
    on.device.destroy();
    for (const outcome of await settled)
      expect(outcome.status === "rejected" && (outcome.reason as Error).message).toMatch(
        /the device was lost \(destroyed.*\) at state "s"\. /,
      );
    expect(on.liveBuffers).toBe(before);
    store.dispose();
  });

  it.skipIf(noAdapter)("in a run that is measured", async () => {
    const on = await backend();
    const program = await compile(layer(), on);
    const before = on.liveBuffers;
    const running = program.profile({ x });
    on.device.destroy();
    await expect(running).rejects.toThrow(
      /(the device was lost|has no timestamps).* at .*layer\. /,
    );
    expect(on.liveBuffers).toBe(before);
  });

  it.skipIf(noAdapter)("before a run, a load and a write", async () => {
    const on = await backend();
    const program = await compile(layer(), on);
    const store = on.createStore();
    store.ensure([{ name: "s", type: { dtype: "f32", shape: [4] } }]);
    on.device.destroy();
    await on.device.lost;
    await expect(program.run({ x })).rejects.toThrow(/the device was lost/);
    await expect(compile(layer(), on)).rejects.toThrow(/the device was lost/);
    await expect(store.write("s", hostTensor("f32", [4], [1, 2, 3, 4]))).rejects.toThrow(
      /the device was lost/,
    );
    await expect(store.read("s")).rejects.toThrow(/the device was lost/);
    program.dispose();
    program.store.dispose();
    store.dispose();
    expect(on.liveBuffers).toBe(0);
  });
});

describe("limits", () => {
  it.skipIf(noAdapter)("a state larger than any buffer", async () => {
    const on = await backend();
    const store = on.createStore();
    expect(() =>
      store.ensure([{ name: "huge", type: { dtype: "f32", shape: [2 ** 31] } }]),
    ).toThrow(
      /8589934592 bytes are more than the \d+ of one buffer on this device at state "huge"/,
    );
  });

  it.skipIf(noAdapter)("an arena that no buffer holds", async () => {
    const on = await backend({ capabilities: { maxBufferBytes: 2 ** 14 } });
    const graph = declare("wide", (b) => ({ y: mul(b.input("x", "f32", [2 ** 13]), 2) }));
    await expect(compile(graph, on)).rejects.toThrow(
      /take \d+ bytes, a buffer of this device at most 16384 at wide/,
    );
  });

  it("memory that runs out", async () => {
    const on = await backend({ gpu: nullGpu() });
    // The null device has 512 MiB.
    const store = on.createStore();
    const type = { dtype: "f32", shape: [2 ** 25] } as const;
    store.ensure(Array.from({ length: 8 }, (_, i) => ({ name: `s${i}`, type })));
    const written = store.write("s7", hostTensor("f32", [1], [1]));
    await expect(written).rejects.toThrow(DeviceError);
    await expect(written).rejects.toThrow(/the device has no more memory: .* Use a smaller batch/s);
    await expect(store.read("s7")).rejects.toThrow(/no more memory/);
    store.dispose();
  });

  it("memory that runs out for what a program needs between its steps", async () => {
    const on = await backend({ gpu: nullGpu() });
    // Six inputs of 128 MiB, on 512 MiB.
    const graph = declare("deep", (b) => ({
      y: sum(
        ["a", "b", "c", "d", "e", "f"]
          .map((name) => b.input(name, "f32", [2 ** 25]))
          .reduce((product, input) => mul(product, input)),
      ),
    }));
    const made = compile(graph, on);
    await expect(made).rejects.toThrow(DeviceError);
    await expect(made).rejects.toThrow(
      /the device has no more memory: .* at the buffers of deep\. Use a smaller batch/s,
    );
    expect(on.liveBuffers).toBe(0);
  });

  it("a shader that the device refuses names its step, and leaves no buffer", async () => {
    const on = await backend({ gpu: nullGpu() });
    const { device } = on;
    const create = device.createShaderModule.bind(device);
    device.createShaderModule = (descriptor) =>
      create({ ...descriptor, code: descriptor.code.replace("fn main(", "fn main(wrong ") });
    await expect(compile(layer(), on)).rejects.toThrow(
      /a shader does not compile: expected ':' for parameter in line \d+: fn main.* at layer: layers\.0 .*report/s,
    );
    expect(on.liveBuffers).toBe(0);
    device.createShaderModule = create;
    (await compile(layer(), on)).dispose();
  });

  it.skipIf(noAdapter)("more buffers than a shader binds", async () => {
    const on = await backend({ capabilities: { maxBindingBytes: 256 } });
    const graph = declare("parts", (b) => ({ y: mul(b.input("x", "f32", [2 ** 12]), 2) }));
    await expect(compile(graph, on)).rejects.toThrow(
      /a step needs 128 bindings, the device has 16 at parts: mul/,
    );
  });
});

it.skipIf(noAdapter)("a thousand runs leave nothing behind", async () => {
  const on = await backend();
  // The device's own count, which no buffer escapes.
  const held = new Set<GPUBuffer>();
  const create = on.device.createBuffer.bind(on.device);
  on.device.createBuffer = (descriptor) => {
    const buffer = create(descriptor);
    const destroy = buffer.destroy.bind(buffer);
    held.add(buffer);
    return Object.assign(buffer, {
      destroy: (): undefined => {
        held.delete(buffer);
        destroy();
      },
    });
  };
  const graph = declare("small", (b) => {
    const T = b.size("T", 1, 64);
    return { y: sum(mul(b.input("x", "f32", [T]), 2)) };
  });
  const program = await compile(graph, on);
  const before = on.liveBuffers;
  expect(held.size).toBe(before);
  for (let i = 0; i < 1000; i++) {
    const T = 1 + (i % 64);
    const { y } = await program.run({ x: hostTensor("f32", [T], new Float32Array(T).fill(1)) });
    expect(y!.data[0]).toBe(2 * T);
  }
  expect(on.liveBuffers).toBe(before);
  // What outputs were read through is kept for the next run.
  expect(held.size).toBe(before + 1);
  program.dispose();
  program.store.dispose();
  expect(on.liveBuffers).toBe(0);
  expect(held.size).toBe(1);
  on.dispose();
  expect(held.size).toBe(0);
});

it.skipIf(noAdapter)("runs may overlap", async () => {
  const on = await backend();
  const graph = declare("double", (b) => ({ y: mul(b.input("x", "f32", [3]), 2) }));
  const program = await compile(graph, on);
  const results = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      program.run({ x: hostTensor("f32", [3], [i, i + 1, i + 2]) }),
    ),
  );
  results.forEach(({ y }, i) =>
    expect([...(y!.data as Float32Array)]).toEqual([2 * i, 2 * i + 2, 2 * i + 4]),
  );
  program.dispose();
});

it.skipIf(noAdapter)("a program that has not been awaited does not keep the process", async () => {
  const script = `
    const { createWgslBackend } = await import(${JSON.stringify(new URL("index.ts", import.meta.url))});
    await createWgslBackend();
    console.log("made");
  `;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=millrace-source", "--input-type=module", "--eval", script],
    { cwd: fileURLToPath(new URL(".", import.meta.url)), timeout: 30_000 },
  );
  expect(stdout).toBe("made\n");
});
