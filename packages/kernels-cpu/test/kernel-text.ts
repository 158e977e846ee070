/**
 * Kernels as text, one program each. In: a kernel, what it reads and sizes; what is not given is made up. Out: what it writes, or
 * nothing if the WebAssembly backend and the interpreter agree on it. For tests only; it is not published.
 */
import { expectSameValues } from "@millrace/conformance";
import type { Backend, DType, HostTensor, Values } from "@millrace/graph";
import {
  elementCount,
  evaluateDim,
  hostTensor,
  isFloat,
  parseKernel,
  toNumbers,
  verifyKernel,
} from "@millrace/graph";
import { expect } from "vitest";
import { createInterpreterBackend } from "../src/interpreter/backend.ts";
import { createWasmBackend } from "../src/wasm/backend.ts";
import { programOf } from "./hand-written.ts";

export interface Given {
  readonly sizes?: Readonly<Record<string, number>>;
  readonly inputs?: Values;
  /** Binds a written buffer to a read one. */
  readonly inPlace?: Readonly<Record<string, string>>;
}

/** Repeatable numbers between -2 and 2; whole ones below `limit` where the dtype is an integer. */
export function fill(dtype: DType, shape: readonly number[], seed: number, limit = 5): HostTensor {
  let state = (seed + 1) * 2654435761;
  const values = Array.from({ length: elementCount(shape) }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const unit = state / 2 ** 32;
    if (isFloat(dtype)) return (unit - 0.5) * 4;
    return Math.floor(unit * (dtype === "bool" ? 2 : limit));
  });
  return hostTensor(dtype, shape, values);
}

/** What the kernel writes, the same in a second run. */
export async function runText(
  backend: Backend,
  text: string,
  { sizes = {}, inputs = {}, inPlace }: Given = {},
): Promise<Values> {
  const kernel = parseKernel(text);
  verifyKernel(kernel);
  const program = programOf(kernel, {}, inPlace);
  const all: Record<string, HostTensor> = {};
  for (const [i, { name, type }] of program.inputs.entries()) {
    const shape = type.shape.map((dim) => evaluateDim(dim, new Map(Object.entries(sizes))));
    all[name] = inputs[name] ?? fill(type.dtype, shape, i);
  }
  const executable = await backend.load(program, backend.createStore());
  expect(executable.bytes).toBe(program.arenaBytes);
  const outputs = await executable.run(all, sizes);
  expect(await executable.run(all, sizes), "second run").toEqual(outputs);
  executable.dispose();
  return outputs;
}

/** Runs the kernel on both; `tolerance` is relative to the largest value of an output, 0 means equal bits. */
export async function expectSame(
  text: string,
  { tolerance = 1e-6, ...given }: Given & { readonly tolerance?: number } = {},
): Promise<Values> {
  const expected = await runText(createInterpreterBackend(), text, given);
  const actual = await runText(createWasmBackend(), text, given);
  if (tolerance === 0) {
    expect(actual, text).toEqual(expected);
    return actual;
  }
  const allowed = Object.entries(expected).map(([name, tensor]) => {
    const finite = toNumbers(tensor).filter((value) => Number.isFinite(value));
    const largest = finite.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
    const absolute = isFloat(tensor.dtype) ? tolerance * largest : 0;
    return [name, { ulps: 0, absolute }] as const;
  });
  const tolerances = Object.fromEntries(allowed);
  expectSameValues(actual, expected, { what: "wasm", where: text, tolerances });
  return actual;
}

/** Numbers of elements around the lanes of a vector, and large odd ones. */
export const edges: readonly number[] = [1, 2, 3, 4, 5, 7, 8, 9, 31, 127, 128, 129];
