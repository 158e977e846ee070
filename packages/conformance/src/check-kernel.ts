/**
 * The law of one kernel: two backends compute the same. In: a kernel, two backends and values for its buffers. Out: nothing, or the
 * first buffer in which they differ. For a hand-written kernel, and for narrowing a failing program down to one step.
 */
import fc from "fast-check";
import type { Backend, Dim, HostTensor, Kernel, Program, ProgramBuffer } from "@millrace/graph";
import {
  byteWidth,
  hashKernel,
  maxDim,
  printKernel,
  shapeSize,
  symbolsOf,
  verifyKernel,
  verifyProgram,
} from "@millrace/graph";
import type { RunOptions } from "./check-op.ts";
import { runParameters } from "./check-op.ts";
import { expectSameValues } from "./report.ts";
import type { Tolerance } from "./tolerance.ts";

/** Contents of every buffer before the kernel runs, by its name, those it only writes included. */
export interface KernelCase {
  readonly buffers: Readonly<Record<string, HostTensor>>;
  readonly sizes?: Readonly<Record<string, number>>;
}

export interface CheckKernelOptions extends RunOptions {
  readonly backend: Backend;
  readonly reference: Backend;
  /** By buffer name; equality where none is given. */
  readonly tolerances?: Readonly<Record<string, Tolerance>>;
}

/** Runs a kernel on two backends over generated contents. */
export async function checkKernel(
  kernel: Kernel,
  cases: fc.Arbitrary<KernelCase>,
  options: CheckKernelOptions,
): Promise<void> {
  verifyKernel(kernel);
  const { backend, reference, tolerances = {} } = options;
  const program = programOf(kernel, Math.max(alignment(backend), alignment(reference)));
  verifyProgram(program);
  const run = async (on: Backend, { buffers, sizes }: KernelCase): Promise<HostTensors> => {
    const store = on.createStore();
    const executable = await on.load(program, store);
    try {
      return await executable.run(buffers, sizes);
    } finally {
      executable.dispose();
      store.dispose();
    }
  };
  await fc.assert(
    fc.asyncProperty(cases, async (kernelCase) => {
      expectSameValues(await run(backend, kernelCase), await run(reference, kernelCase), {
        what: `${backend.name} against ${reference.name}`,
        where: `kernel ${kernel.name} (${hashKernel(kernel)})`,
        tolerances,
        hint: `The kernel is:\n${printKernel(kernel)}`,
      });
    }),
    runParameters(options),
  );
}

type HostTensors = Readonly<Record<string, HostTensor>>;

const alignment = ({ capabilities }: Backend): number => capabilities.alignment;

/** A program of one step, in which every buffer is an input and those that are written are outputs. */
export function programOf(kernel: Kernel, alignedTo: number): Program {
  let arenaBytes = 0;
  const buffers = kernel.buffers.map(({ dtype, shape }): ProgramBuffer => {
    const offset = arenaBytes;
    const bytes = maxDim(shapeSize(shape)) * byteWidth(dtype);
    arenaBytes += Math.ceil(bytes / alignedTo) * alignedTo;
    return { type: { dtype, shape }, place: { kind: "arena", offset } };
  });
  const bindings = kernel.buffers.map(({ name, dtype, shape }, buffer) => ({
    name,
    type: { dtype, shape },
    buffer,
  }));
  const dims: readonly Dim[] = kernel.buffers.flatMap(({ shape }) => shape);
  const sizes = new Map(dims.flatMap(symbolsOf).map((symbol) => [symbol.name, symbol]));
  return {
    name: kernel.name,
    sizes: [...sizes.values()],
    inputs: bindings,
    outputs: bindings.filter((_, i) => kernel.buffers[i]!.access !== "read"),
    states: [],
    buffers,
    kernels: [kernel],
    steps: [{ kernel: 0, buffers: buffers.map((_, i) => i), label: kernel.name }],
    arenaBytes,
  };
}
