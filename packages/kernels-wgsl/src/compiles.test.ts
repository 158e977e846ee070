// Every kernel of random graphs and of hand-written ones is compiled by Dawn's null device, which needs no adapter: WGSL that
// a browser would refuse is refused here, on any machine.
import { graphArbitrary, recipes } from "@millrace/conformance";
import type { Capabilities, Graph } from "@millrace/graph";
import {
  buildProgram,
  declare,
  dotGeneral,
  dtypes,
  fp8Linear,
  gradients,
  mul,
  scaledDot,
  sum,
} from "@millrace/graph";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { WgslCapabilities } from "./capabilities.ts";
import { graphCapabilities, leastCapabilities } from "./capabilities.ts";
import { printConfiguration } from "./configure/configure.ts";
import type { OpenDevice } from "./device.ts";
import { closeDevice, openDevice } from "./device.ts";
import { DeviceGuard } from "./launch/device-errors.ts";
import { emitProgram } from "./launch/emit-program.ts";
import { Pipelines } from "./launch/pipelines.ts";
import { nullGpu } from "../test/gpu.ts";

let opened: OpenDevice;
let pipelines: Pipelines;
beforeAll(async () => {
  opened = await openDevice({ gpu: nullGpu() });
  pipelines = new Pipelines(opened.device, new DeviceGuard(opened.device));
});
afterAll(() => closeDevice(opened));

const kinds: readonly [string, Partial<WgslCapabilities>][] = [
  ["any device", {}],
  ["a software device", { software: true, rolled: true }],
  [
    "a device with subgroups and f16",
    { f16: true, subgroupSize: 32, maxInvocations: 1024, workgroupBytes: 49152 },
  ],
  ["buffers in parts", { maxBindingBytes: 256 }],
];

async function expectCompiles(graph: Graph, capabilities: WgslCapabilities): Promise<number> {
  // Parts take more bindings than the null device has.
  const { program } = buildProgram(graph, {
    ...graphCapabilities(capabilities),
    maxBuffersPerKernel: 6,
  });
  const { variants } = emitProgram(program, capabilities);
  let compiled = 0;
  for (const [key, { shaders }] of variants)
    for (const shader of shaders) {
      const bindings = shader.bindings.reduce((count, { parts }) => count + parts, 0);
      if (bindings > opened.capabilities.maxBindings) continue;
      await pipelines.get(shader, `${graph.name}, kernel ${key}`);
      compiled++;
    }
  return compiled;
}

describe.each(kinds)("kernels for %s compile", (_, some) => {
  const capabilities = { ...leastCapabilities, ...some };
  it.each(Object.keys(recipes))("of %s", async (name) => {
    const cases = fc.sample(
      graphArbitrary({ dtypes, only: [name, name, "convert", "reshape"], maxNodes: 5 }),
      {
        numRuns: 4,
        seed: 1,
      },
    );
    let compiled = 0;
    for (const { graph } of cases) compiled += await expectCompiles(graph, capabilities);
    expect(compiled).toBeGreaterThan(0);
  });
  it("of everything", async () => {
    const cases = fc.sample(graphArbitrary({ dtypes, maxNodes: 24 }), { numRuns: 12, seed: 2 });
    for (const { graph } of cases) await expectCompiles(graph, capabilities);
  });
});

describe("products on subgroup matrices compile", () => {
  const matrices = (
    rows: number,
    columns: number,
    depth: number,
    sized: boolean,
  ): WgslCapabilities => ({
    ...leastCapabilities,
    f16: true,
    subgroupSize: 32,
    // The null device has subgroups of up to 128, and wants whole ones unless it is told how many there are.
    matrices: { lanes: sized ? 32 : 64, sized, sizes: [{ rows, columns, depth }] },
  });
  const graph = declare("products", (b) => {
    const codes = { x: b.input("x", "e4m3fn", [96, 256]), w: b.input("w", "e4m3fn", [128, 256]) };
    const scales = { x: b.input("sx", "f32", [96, 2]), w: b.input("sw", "f32", [1, 2]) };
    const [p, q] = [b.input("p", "f16", [64, 40]), b.input("q", "f16", [40, 72])];
    return {
      blocks: scaledDot(codes.x, scales.x, codes.w, scales.w),
      halves: dotGeneral(p, q, { lhsContract: [1], rhsContract: [0], dtype: "f32" }),
    };
  });
  it.each([
    [16, 16, 16, false],
    [16, 16, 16, true],
    [8, 8, 8, true],
    [8, 16, 16, true],
    [16, 8, 16, true],
  ] as const)("of %i by %i by %i, subgroups of a size: %s", async (rows, columns, depth, sized) => {
    expect(opened.device.features.has("chromium-experimental-subgroup-matrix")).toBe(true);
    const capabilities = matrices(rows, columns, depth, sized);
    const { program } = buildProgram(graph, graphCapabilities(capabilities));
    const chosen = [...emitProgram(program, capabilities).variants.values()].map(
      ({ configuration }) => printConfiguration(configuration),
    );
    expect(chosen.filter((text) => text.includes("in matrices of")).length).toBe(2);
    expect(chosen.some((text) => text.includes("scaled every 128"))).toBe(true);
    expect(await expectCompiles(graph, capabilities)).toBe(chosen.length);
  });

  it("of an FP8 layer's training, where operands are quantised on the way", () => {
    const layer = declare("layer", (b) => {
      const [x, w] = [b.input("x", "f32", [128, 256]), b.parameter("w", "f32", [128, 256])];
      const y = fp8Linear(x, w);
      const [dx, dw] = gradients(sum(mul(y, y)), [x, w]);
      return { y, dx: dx!, dw: dw! };
    });
    const capabilities = matrices(16, 16, 16, true);
    const inMatrices = (given: Capabilities): number => {
      const { program } = buildProgram(layer, given);
      const { variants } = emitProgram(program, capabilities);
      return [...variants.values()].filter(({ configuration }) =>
        printConfiguration(configuration).includes("in matrices of"),
      ).length;
    };
    const { multipliedAs, ...others } = graphCapabilities(capabilities);
    expect(multipliedAs).toContain("e4m3fn");
    expect(inMatrices({ ...others, multipliedAs: [] })).toBeLessThan(3);
    expect(inMatrices(graphCapabilities(capabilities))).toBe(3);
  });
});

it("says which step a shader belongs to and which line is wrong", async () => {
  const shader = {
    code: "@compute @workgroup_size(1)\nfn main() { let x = missing; }\n",
    bindings: [],
    sizes: undefined,
    grid: { factors: [], perGroup: 1 },
  };
  await expect(pipelines.get(shader, "model: layers.0 (add)")).rejects.toThrow(
    /a shader does not compile: unresolved value 'missing' in line 2: fn main\(\) { let x = missing; } at model: layers\.0 \(add\)/,
  );
});
