/**
 * Kernels as text against the kernel interpreter. In: a kernel, what to assume of the device, and the form that `configure` must choose for
 * it. Out: nothing, or a failed expectation. For tests only; whoever imports this has its devices closed at the end.
 */
import type { HostTensor, Values } from "@millrace/graph";
import { evaluateDim, isFloat, parseKernel, toNumbers, verifyKernel } from "@millrace/graph";
import { createInterpreterBackend } from "@millrace/kernels-cpu";
import { seededTensor } from "@millrace/conformance";
import { afterAll, expect } from "vitest";
import { noAdapter } from "./gpu.ts";
import type { WgslBackend } from "../src/backend.ts";
import { createWgslBackend } from "../src/backend.ts";
import type { WgslCapabilities } from "../src/capabilities.ts";
import { leastCapabilities } from "../src/capabilities.ts";
import { configureKernel, printConfiguration } from "../src/configure/configure.ts";
import { unshared } from "../src/emit/bindings.ts";
import { programOf } from "../src/tune/one-kernel.ts";

const reference = createInterpreterBackend();
const backends = new Map<string, Promise<WgslBackend>>();

/** One backend for each set of assumptions, since a device takes a while to open. */
export function backendWith(capabilities: Partial<WgslCapabilities>): Promise<WgslBackend> {
  const key = JSON.stringify(capabilities);
  const known = backends.get(key) ?? createWgslBackend({ capabilities });
  backends.set(key, known);
  return known;
}
afterAll(async () => {
  for (const backend of backends.values()) (await backend).dispose();
});

export interface Options {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly inputs?: Values;
  /** Relative to the largest value; 0, the default, means equal. */
  readonly tolerance?: number;
  readonly capabilities?: Partial<WgslCapabilities>;
  /** What `configure` must have chosen. */
  readonly form: RegExp;
}

/** Runs a kernel as `configure` chooses for these capabilities, and compares it with the interpreter. */
export async function expectSame(text: string, options: Options): Promise<void> {
  const { sizes = {}, tolerance = 0, form } = options;
  // A software device takes seconds to compile a loop that it unrolls.
  const capabilities = { ...leastCapabilities, rolled: true, ...options.capabilities };
  const kernel = parseKernel(text);
  verifyKernel(kernel);
  const chosen = configureKernel(kernel, unshared(kernel), capabilities);
  expect(printConfiguration(chosen)).toMatch(form);
  if (noAdapter) return;
  const program = programOf(kernel);
  const bound = new Map(Object.entries(sizes));
  const inputs: Record<string, HostTensor> = {};
  program.inputs.forEach(({ name, type }, i) => {
    const shape = type.shape.map((dim) => evaluateDim(dim, bound));
    inputs[name] = options.inputs?.[name] ?? seededTensor(type.dtype, shape, i, "small");
  });
  const backend = await backendWith(capabilities);
  const results: Record<string, HostTensor>[] = [];
  for (const on of [reference, backend]) {
    const store = on.createStore();
    const executable = await on.load(program, store);
    expect(executable.bytes).toBe(program.arenaBytes);
    // Twice, because the second run finds what the first left.
    await executable.run(inputs, sizes);
    results.push(await executable.run(inputs, sizes));
    executable.dispose();
    store.dispose();
  }
  expect(backend.liveBuffers).toBe(0);
  const [expected, actual] = results;
  for (const [name, want] of Object.entries(expected!)) {
    const got = actual![name]!;
    expect(got.shape).toEqual(want.shape);
    if (tolerance === 0 || !isFloat(want.dtype)) {
      expect(toNumbers(got), `${name} of ${text}`).toEqual(toNumbers(want));
      continue;
    }
    const [a, b] = [toNumbers(got), toNumbers(want)];
    const scale = Math.max(1, ...b.map(Math.abs));
    b.forEach((value, i) =>
      expect(Math.abs(a[i]! - value), `${name}[${i}]: ${a[i]} and ${value}`).toBeLessThanOrEqual(
        tolerance * scale,
      ),
    );
  }
}
