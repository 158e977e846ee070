// Tuning on whatever adapter there is: winners are used again, here and from disk, and a form with wrong results is refused.
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { HostTensor } from "@millrace/graph";
import { parseKernel, toNumbers } from "@millrace/graph";
import { seededTensor } from "@millrace/conformance";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noAdapter } from "../test/gpu.ts";
import { createWgslBackend } from "./backend.ts";
import type { TileForm } from "./configure/contract.ts";
import type { OpenDevice } from "./device.ts";
import { closeDevice, openDevice } from "./device.ts";
import { DeviceMemory } from "./launch/buffers.ts";
import { DeviceGuard } from "./launch/device-errors.ts";
import type { LaunchContext } from "./launch/launch-context.ts";
import { Pipelines } from "./launch/pipelines.ts";
import { fileCache } from "./node.ts";
import { programOf } from "./tune/one-kernel.ts";
import { ProductTuner } from "./tune/tune.ts";

const kernel = parseKernel(`kernel k {
  read a: f32[40, 24]
  read b: bf16[36, 24]
  write y: f32[40, 36]
  contract rows m < 40, columns n < 36, depth k < 24
    lhs a[m, k] rhs b[n, k]
    result p { store y[m, n] = p }
}`);
const program = programOf(kernel);
const tile = (tileRows: number, tileColumns: number, across: number, down: number): TileForm => ({
  kind: "tile",
  across,
  down,
  tileRows,
  tileColumns,
  tileDepth: 16,
});

describe.skipIf(noAdapter)("tuning", { timeout: 240_000 }, () => {
  let opened: OpenDevice;
  let context: LaunchContext;
  let directory: string;
  beforeAll(async () => {
    opened = await openDevice({});
    const { device, capabilities } = opened;
    const guard = new DeviceGuard(device);
    context = {
      device,
      capabilities,
      memory: new DeviceMemory(device, guard, capabilities.maxBufferBytes),
      pipelines: new Pipelines(device, guard),
    };
    directory = await mkdtemp(join(tmpdir(), "millrace-tune-"));
  });
  afterAll(async () => {
    closeDevice(opened);
    await rm(directory, { recursive: true, force: true });
  });

  it("keeps winners, in memory and on disk", async () => {
    const folder = join(directory, "winners");
    const few = [tile(16, 64, 16, 4), tile(32, 32, 8, 8)];
    const first = new ProductTuner(context, "this one", {
      cache: fileCache(folder),
      candidates: () => few,
    });
    const winners = await first.products(program);
    expect(Object.values(winners)).toHaveLength(1);
    expect(few).toContainEqual(Object.values(winners)[0]);
    expect(first.measured).toBe(1);
    expect(await first.products(program)).toEqual(winners);
    expect(first.measured).toBe(1);
    expect(await readdir(folder)).toHaveLength(1);

    const second = new ProductTuner(context, "this one", {
      cache: fileCache(folder),
      candidates: () => few,
    });
    expect(await second.products(program)).toEqual(winners);
    expect(second.measured).toBe(0);

    const another = new ProductTuner(context, "another one", {
      cache: fileCache(folder),
      candidates: () => few,
    });
    await another.products(program);
    expect(another.measured).toBe(1);
    // What is no form that would be tried, or no file at all, is measured again.
    for (const name of await readdir(folder)) await writeFile(join(folder, name), '{"name":');
    const third = new ProductTuner(context, "this one", {
      cache: fileCache(folder),
      candidates: () => few,
    });
    await third.products(program);
    expect(third.measured).toBe(1);
    expect(context.memory.liveBuffers).toBe(0);
  });

  it("refuses a form whose results are others, however fast it is", async () => {
    // Half the rows of every invocation are nobody's.
    const wrong = tile(16, 32, 8, 8);
    const right = tile(16, 64, 16, 4);
    // So that the clock has no say.
    const worthwhile = Infinity;
    for (const [candidates, taken] of [
      [[right, wrong], right],
      [[wrong, right], right],
    ] as const) {
      const tuner = new ProductTuner(context, "this one", {
        candidates: () => candidates,
        worthwhile,
      });
      expect(Object.values(await tuner.products(program))).toEqual([taken]);
      expect(tuner.measured).toBe(2);
    }
  });

  it("leaves products alone whose rows are loaded", async () => {
    const ragged = programOf(
      parseKernel(`kernel k {
        read offsets: i32[3]
        read a: f32[90, 24]
        read b: f32[2, 36, 24]
        write y: f32[90, 36]
        parallel e < 2 {
          contract rows m < 90 from offsets[e] to offsets[e + 1], columns n < 36, depth k < 24
            lhs a[m, k] rhs b[e, n, k]
            result p { store y[m, n] = p }
        }
      }`),
    );
    const tuner = new ProductTuner(context, "this one");
    await tuner.products(ragged);
    expect(tuner.measured).toBe(0);
  });

  it("gives the results that there are without it", async () => {
    const inputs = {
      a: seededTensor("f32", [40, 24], 1),
      b: seededTensor("bf16", [36, 24], 2),
    };
    const results: HostTensor[] = [];
    for (const options of [{}, { tune: { cache: fileCache(directory) } }] as const) {
      const backend = await createWgslBackend(options);
      const store = backend.createStore();
      const executable = await backend.load(program, store);
      results.push((await executable.run(inputs))["y"]!);
      executable.dispose();
      store.dispose();
      expect(backend.liveBuffers).toBe(0);
      backend.dispose();
    }
    const [plain, tuned] = results.map(toNumbers);
    plain!.forEach((value, i) => expect(tuned![i]).toBeCloseTo(value, 4));
  });
});
