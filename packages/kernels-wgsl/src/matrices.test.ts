// Products on subgroup matrices, against the kernel interpreter. No software driver has such matrices, so here lanes multiply by
// themselves: what is tested is all but the operations themselves, which only a GPU can show.
import { seededTensor } from "@millrace/conformance";
import type { HostTensor } from "@millrace/graph";
import { hostTensor, parseKernel, toNumbers } from "@millrace/graph";
import { createInterpreterBackend } from "@millrace/kernels-cpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noAdapter } from "../test/gpu.ts";
import { programOf } from "./tune/one-kernel.ts";
import type { WgslBackend } from "./backend.ts";
import { createWgslBackend } from "./backend.ts";
import { leastCapabilities } from "./capabilities.ts";
import { configureKernel, printConfiguration } from "./configure/configure.ts";
import { unshared } from "./emit/bindings.ts";

const size = { rows: 16, columns: 32, depth: 16 };
const lanes = 32;
const capabilities = {
  ...leastCapabilities,
  rolled: true,
  f16: true,
  subgroupSize: 8,
  workgroupBytes: 32768,
  matrices: { lanes, sizes: [size] },
};

/**
 * The shader without matrices: an operand is where it lies in workgroup memory, of a sum every lane has a few elements. What a subgroup
 * would do as one, its lanes do each for themselves.
 */
function emulate(code: string): string {
  if (!code.includes("subgroup_matrix_left")) return code;
  const { rows, columns, depth } = size;
  const own = (rows * columns) / lanes;
  const functions = `
fn multiply(lane: u32, a: Operand, b: Operand, c: Sum) -> Sum {
  var made = c;
  for (var i = 0u; i < ${own}u + bitcast<u32>(sizes[0].x); i++) {
    let r = (lane % ${lanes}u * ${own}u + i) / ${columns}u;
    let n = (lane % ${lanes}u * ${own}u + i) % ${columns}u;
    for (var k = 0u; k < ${depth}u + bitcast<u32>(sizes[0].x); k++) {
      made[i] += f32(lhs_tile_[a.x + r * a.y + k]) * f32(rhs_tile_[b.x + n * b.y + k]);
    }
  }
  return made;
}
fn store_sum(lane: u32, begin: u32, sum: Sum, pitch: u32) {
  var made = sum;
  for (var i = 0u; i < ${own}u + bitcast<u32>(sizes[0].x); i++) {
    let e = lane % ${lanes}u * ${own}u + i;
    result_[begin + e / ${columns}u * pitch + e % ${columns}u] = made[i];
  }
}`;
  const replaced = code
    .replace("enable chromium_experimental_subgroup_matrix;", "")
    .replace(/alias Left = .*;/, "alias Operand = vec2<u32>;")
    .replace(/alias Right = .*;/, "")
    .replace(/subgroup_matrix_result<.*>;/, `array<f32, ${own}>;`)
    .replaceAll("subgroupMatrixLoad<Left, row_major>(&lhs_tile_, ", "Operand(")
    .replaceAll("subgroupMatrixLoad<Right, col_major>(&rhs_tile_, ", "Operand(")
    .replaceAll("subgroupMatrixStore<row_major>(&result_, ", "store_sum(lane, ")
    .replaceAll("subgroupMatrixMultiplyAccumulate(", "multiply(lane, ")
    .replaceAll("i32(subgroup)", `(i32(lane) / ${lanes})`);
  expect(replaced).not.toContain("subgroupMatrix");
  return replaced + functions;
}

let backend: WgslBackend;
let emulated = 0;
beforeAll(async () => {
  if (noAdapter) return;
  backend = await createWgslBackend({ capabilities });
  const { device } = backend;
  const make = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor): GPUShaderModule => {
    const code = emulate(descriptor.code);
    if (code !== descriptor.code) emulated++;
    return make({ ...descriptor, code });
  };
});
afterAll(() => backend?.dispose());

async function expectSame(
  text: string,
  tolerance: number,
  given: Record<string, HostTensor> = {},
): Promise<void> {
  const kernel = parseKernel(text);
  expect(printConfiguration(configureKernel(kernel, unshared(kernel), capabilities))).toContain(
    "in matrices of 16 by 32 by 16",
  );
  if (noAdapter) return;
  const program = programOf(kernel);
  const inputs = Object.fromEntries(
    program.inputs.map(({ name, type }, i) => [
      name,
      given[name] ?? seededTensor(type.dtype, type.shape as number[], i, "small"),
    ]),
  );
  const results: number[][] = [];
  const before = emulated;
  for (const on of [createInterpreterBackend(), backend]) {
    const store = on.createStore();
    const executable = await on.load(program, store);
    results.push([...toNumbers((await executable.run(inputs))["y"]!)]);
    executable.dispose();
    store.dispose();
  }
  expect(emulated).toBe(before + 1);
  const [expected, actual] = results as [number[], number[]];
  const scale = Math.max(1, ...expected.map(Math.abs));
  const worst = Math.max(...expected.map((value, i) => Math.abs(actual[i]! - value)));
  expect(worst / scale).toBeLessThan(tolerance);
  expect(actual.length).toBe(expected.length);
}

describe("products on subgroup matrices", { timeout: 240_000 }, () => {
  it("of f16, with odd sizes", () =>
    expectSame(
      `kernel k {
        read a: f16[70, 45]
        read b: f16[45, 67]
        write y: f32[70, 67]
        contract rows m < 70, columns n < 67, depth k < 45
          lhs a[m, k] rhs b[k, n]
          result p { store y[m, n] = p + 1.0 }
      }`,
      1e-5,
    ));
  it("of E4M3 codes with block scales", () =>
    expectSame(
      `kernel k {
        read a: e4m3fn[40, 320]
        read s: f32[40, 3]
        read b: e4m3fn[72, 320]
        read t: f32[1, 3]
        write y: bf16[40, 72]
        contract rows m < 40, columns n < 72, depth k < 320
          lhs a[m, k] * s[m, k / 128] rhs b[n, k] * t[n / 128, k / 128]
          result p { store y[m, n] = round_bf16(p) }
      }`,
      0.01,
    ));
  it("of the rows of each expert", () =>
    expectSame(
      `kernel k {
        read offsets: i32[3]
        read a: e4m3fn[120, 64]
        read w: e5m2[2, 33, 64]
        write y: f32[120, 33]
        parallel e < 2 {
          contract rows m < 120 from offsets[e] to offsets[e + 1], columns n < 33, depth k < 64
            lhs a[m, k] rhs w[e, n, k]
            result p { store y[m, n] = p }
        }
      }`,
      1e-5,
      { offsets: hostTensor("i32", [3], [0, 81, 120]) },
    ));
});
