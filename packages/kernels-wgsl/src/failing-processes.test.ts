// Failures as a process of its own meets them: the caller's promise is rejected with the place and the remedy, nothing is left over that
// ends the process in another way, and it does not hang.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { noAdapter } from "../test/gpu.ts";

const index = JSON.stringify(new URL("index.ts", import.meta.url));
const graph = JSON.stringify(new URL("../../graph/src/index.ts", import.meta.url));

interface Ended {
  readonly status: number | NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a module; `say` in it prints what a promise was rejected with. */
function runScript(body: string, env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const script = `
    import { compile, declare, hostTensor, linear, add } from ${graph};
    import { createWgslBackend } from ${index};
    const say = (name, promise) => promise.then(
      (value) => console.log(name + ": " + JSON.stringify(value)),
      (error) => console.log(name + ": " + error.constructor.name + ": " + error.message),
    );
    const layer = () => declare("layer", (b) => {
      const x = b.input("x", "f32", [64, 64]);
      return { y: add(linear(x, b.parameter("w", "f32", [64, 64])), 1) };
    });
    const x = hostTensor("f32", [64, 64], new Float32Array(4096).fill(1));
    ${body}
  `;
  return new Promise((resolve, reject) => {
    const child = spawn(
      process.execPath,
      ["--expose-gc", "--conditions=millrace-source", "--input-type=module", "--eval", script],
      { env: { ...process.env, ...env }, timeout: 60_000 },
    );
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ status: signal ?? code, stdout, stderr }));
  });
}

const noAdapterMessage =
  /^open: DeviceError: there is no GPU adapter\. Install the graphics card's Vulkan driver, .*Debian 12 with -t bookworm-backports\), or use the WebAssembly backend\.\n$/;

describe("a process without", () => {
  it("a driver", async () => {
    const env = { VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" };
    const { status, stdout } = await runScript(`await say("open", createWgslBackend());`, env);
    expect(stdout).toMatch(noAdapterMessage);
    expect(status).toBe(0);
  });

  it.runIf(process.platform === "linux")("a loader", async () => {
    const folder = mkdtempSync(join(tmpdir(), "millrace-loader-"));
    try {
      // What is found first is no library.
      writeFileSync(join(folder, "libvulkan.so.1"), "");
      const env = { LD_LIBRARY_PATH: folder };
      const { status, stdout } = await runScript(`await say("open", createWgslBackend());`, env);
      expect(stdout).toMatch(noAdapterMessage);
      expect(status).toBe(0);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

it("a process that runs a program for long holds no more memory than before", async () => {
  const webgpu = JSON.stringify(import.meta.resolve("webgpu"));
  const { status, stdout } = await runScript(`
    const { create } = await import(${webgpu});
    const backend = await createWgslBackend({ gpu: create(["backend=null"]) });
    const program = await compile(layer(), backend);
    const heapAfter = async (runs) => {
      for (let i = 0; i < runs; i++) await program.run({ x });
      for (let i = 0; i < 3; i++) {
        gc();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      return process.memoryUsage().heapUsed;
    };
    const before = await heapAfter(500);
    const grown = (await heapAfter(3000)) - before;
    console.log(grown < 700_000 ? "flat" : grown + " bytes more");
    backend.dispose();
  `);
  expect(stdout).toBe("flat\n");
  expect(status).toBe(0);
});

describe.skipIf(noAdapter)("a process whose device is lost", () => {
  it("in the middle of runs, reads and writes: all of them are rejected", async () => {
    const { status, stdout, stderr } = await runScript(`
      const backend = await createWgslBackend();
      const program = await compile(layer(), backend);
      const store = backend.createStore();
      store.ensure([{ name: "s", type: { dtype: "f32", shape: [64, 64] } }]);
      await store.write("s", x);
      const work = [
        say("run", program.run({ x })),
        say("again", program.run({ x })),
        say("read", store.read("s")),
        say("write", store.write("s", x)),
        say("compile", compile(layer(), backend)),
      ];
      backend.device.destroy();
      await Promise.all(work);
      await say("later", program.run({ x }));
      program.dispose();
      store.dispose();
      backend.dispose();
    `);
    const lines = stdout.trimEnd().split("\n").toSorted();
    expect(lines.map((line) => line.split(":")[0])).toEqual(
      ["run", "again", "read", "write", "compile", "later"].toSorted(),
    );
    for (const line of lines)
      expect(line).toMatch(
        /^\w+: DeviceError: the device was lost \(destroyed.*\) at (layer|state "s"|the buffers of layer).*\. Open another backend\.$/,
      );
    expect(stderr).not.toMatch(/unhandled|uncaught/i);
    expect(status).toBe(0);
  });

  it("while nobody waits, ends as it would otherwise", async () => {
    const { status, stdout, stderr } = await runScript(`
      const backend = await createWgslBackend();
      const program = await compile(layer(), backend);
      program.run({ x }).catch(() => console.log("rejected"));
      backend.device.destroy();
    `);
    expect(stdout).toBe("rejected\n");
    expect(stderr).not.toMatch(/unhandled|uncaught/i);
    expect(status).toBe(0);
  });

  it("at any moment, never gives a result of zeros", async () => {
    const { status, stdout } = await runScript(`
      const outcomes = [];
      for (let ticks = 0; ticks < 8; ticks++) {
        const backend = await createWgslBackend();
        const program = await compile(layer(), backend);
        const running = program.run({ x }).then(
          ({ y }) => (y.data.every((value) => value === 1) ? "right" : "wrong"),
          (error) => (/the device was lost/.test(error.message) ? "lost" : error.message),
        );
        for (let tick = 0; tick < ticks; tick++)
          await new Promise((resolve) => (tick < 4 ? process.nextTick(resolve) : setTimeout(resolve, tick)));
        backend.device.destroy();
        outcomes.push(await running);
        backend.dispose();
      }
      console.log(outcomes.filter((outcome) => outcome !== "right" && outcome !== "lost").join() || "fine");
    `);
    expect(stdout).toBe("fine\n");
    expect(status).toBe(0);
  });
});
