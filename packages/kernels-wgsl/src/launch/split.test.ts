// Whole programs on a device whose limits are tiny: states, constants and the arena are bound in parts, and the arena is several buffers.
import { seededTensor } from "@millrace/conformance";
import type { Backend, Graph, HostTensor } from "@millrace/graph";
import { add, compile, declare, exp, linear, mul, softmax, sum, toNumbers } from "@millrace/graph";
import { createInterpreterBackend } from "@millrace/kernels-cpu";
import { afterEach, describe, expect, it } from "vitest";
import { noAdapter } from "../../test/gpu.ts";
import type { WgslBackend } from "../backend.ts";
import { createWgslBackend } from "../backend.ts";
import { leastCapabilities } from "../capabilities.ts";

const open: WgslBackend[] = [];
afterEach(() => {
  for (const backend of open.splice(0)) backend.dispose();
});

const [rows, inner, outer] = [19, 60, 37];
const layer = (): Graph =>
  declare("layer", (b) => {
    const x = b.input("x", "f32", [rows, inner]);
    const w = b.parameter("w", "f32", [outer, inner]);
    const narrow = b.parameter("narrow", "bf16", [inner, outer]);
    const shift = b.constant(seededTensor("f32", [rows, outer], 5));
    const y = softmax(add(linear(x, w), shift));
    const z = linear(exp(y), narrow);
    const total = b.state("total", "f32", [rows, inner]);
    b.update(total, add(total, mul(z, 0.5)));
    return { z, y, sum: sum(z) };
  });

async function outputsOn(backend: Backend): Promise<Record<string, HostTensor>> {
  const store = backend.createStore();
  const program = await compile(layer(), backend, { store });
  await store.write("w", seededTensor("f32", [outer, inner], 1));
  await store.write("narrow", seededTensor("bf16", [inner, outer], 2));
  await store.write("total", seededTensor("f32", [rows, inner], 3));
  const x = seededTensor("f32", [rows, inner], 4);
  await program.run({ x });
  const outputs = await program.run({ x });
  const total = await store.read("total");
  program.dispose();
  store.dispose();
  return { ...outputs, total };
}

describe.skipIf(noAdapter)("a program whose tensors are larger than", () => {
  // A software device's small tiles: shaders that load from parts are long, and its driver slow over them.
  const small = { maxBindings: 16, maxBindingBytes: 4096, software: true };
  it.each([
    ["a binding", small],
    ["a binding, with an arena larger than a buffer", { ...small, maxBufferBytes: 9216 }],
  ])("%s", async (_, limits) => {
    const backend = await createWgslBackend({ capabilities: { ...leastCapabilities, ...limits } });
    open.push(backend);
    const expected = await outputsOn(createInterpreterBackend());
    const actual = await outputsOn(backend);
    expect(Object.keys(actual)).toEqual(Object.keys(expected));
    for (const [name, { shape, ...want }] of Object.entries(expected)) {
      expect(actual[name]!.shape).toEqual(shape);
      const [got, values] = [toNumbers(actual[name]!), toNumbers({ shape, ...want })];
      const scale = Math.max(...values.map(Math.abs));
      values.forEach((value, i) =>
        expect(Math.abs(got[i]! - value) / scale, `${name}[${i}]`).toBeLessThan(1e-5),
      );
    }
    expect(backend.liveBuffers).toBe(0);
  });
});
