/**
 * The second oracle: a backend that walks every kernel's loops as they are written. In: a program. Out: an executable over
 * plain memory. The arena is one ArrayBuffer with the planned offsets, filled with ones before each run (NaN, -1, no
 * bool), so that a wrong memory plan and a read of what was never written both show. Where the graph interpreter and this
 * one disagree, fuse, lower or plan is wrong; where this one and emitted code disagree, the emitter is.
 */
import type {
  Backend,
  Capabilities,
  Executable,
  HostArray,
  HostTensor,
  Program,
  Store,
  Values,
} from "@millrace/graph";
import {
  DeviceError,
  InputError,
  InternalError,
  bindSizes,
  byteWidth,
  dimsEqual,
  dtypes,
  elementCount,
  evaluateDim,
  formatType,
  hostArray,
  printProgram,
  shapeSize,
} from "@millrace/graph";
import { compileKernel } from "./compile-kernel.ts";
import { storedElements } from "./elements.ts";
import type { Execute, ParallelOrder } from "./kernel-context.ts";
import { InterpreterStore } from "./store.ts";

export interface InterpreterBackendOptions {
  /** Which way parallel loops run, "ascending" by default. Results that differ show a loop that is not parallel. */
  readonly parallelOrder?: ParallelOrder;
}

const capabilities: Capabilities = {
  dtypes,
  alignment: 16,
  maxBytes: 2 ** 33,
  maxBuffersPerKernel: 1024,
  arrayBytes: 2 ** 18,
};

/** The slow and obvious backend. */
export function createInterpreterBackend(options: InterpreterBackendOptions = {}): Backend {
  const { parallelOrder = "ascending" } = options;
  return {
    name: "interpreter",
    capabilities,
    createStore: (): Store => new InterpreterStore(),
    load: async (program, store): Promise<Executable> => {
      if (!(store instanceof InterpreterStore))
        throw new InputError({
          what: "the store belongs to another backend",
          where: program.name,
          hint: "Make it with createStore() of the backend that loads the program.",
        });
      checkProgram(program);
      store.ensure(program.states);
      return new InterpreterExecutable(program, store, parallelOrder);
    },
    print: printProgram,
  };
}

/** What no run could make right: steps and buffers that do not fit each other. */
function checkProgram(program: Program): void {
  for (const step of program.steps) {
    const kernel = program.kernels[step.kernel];
    const where = `${program.name}: ${step.label}`;
    if (!kernel || kernel.buffers.length !== step.buffers.length)
      throw new InternalError({
        what: `a step binds ${step.buffers.length} buffers to kernel ${step.kernel}, which has ${kernel?.buffers.length ?? "no"} buffers`,
        where,
      });
    kernel.buffers.forEach((wanted, i) => {
      const bound = program.buffers[step.buffers[i]!];
      if (
        !bound ||
        bound.type.dtype !== wanted.dtype ||
        !dimsEqual(shapeSize(bound.type.shape), shapeSize(wanted.shape))
      )
        throw new InternalError({
          what: `kernel "${kernel.name}" takes ${formatType(wanted)} as "${wanted.name}" and is bound to ${bound ? formatType(bound.type) : "nothing"}`,
          where,
        });
      if (bound.place.kind === "constant" && wanted.access !== "read")
        throw new InternalError({
          what: `kernel "${kernel.name}" writes "${wanted.name}", which is bound to a constant`,
          where,
        });
    });
  }
}

function allocate({ name, arenaBytes }: Program): ArrayBuffer {
  try {
    return new ArrayBuffer(arenaBytes);
  } catch (cause) {
    throw new DeviceError({
      what: `there is no memory for an arena of ${arenaBytes} bytes`,
      where: name,
      hint: "Compile with smaller bounds of its sizes.",
      cause,
    });
  }
}

class InterpreterExecutable implements Executable {
  readonly program: Program;
  readonly bytes: number;
  readonly #store: InterpreterStore;
  readonly #parallelOrder: ParallelOrder;
  #arena: ArrayBuffer | undefined;
  /** The steps compiled for the sizes of the last run. */
  #compiled: { readonly key: string; readonly steps: readonly Execute[] } | undefined;

  constructor(program: Program, store: InterpreterStore, parallelOrder: ParallelOrder) {
    this.program = program;
    this.#store = store;
    this.#parallelOrder = parallelOrder;
    this.bytes = program.arenaBytes;
    this.#arena = allocate(program);
  }

  async run(
    inputs: Values,
    sizes?: Readonly<Record<string, number>>,
  ): Promise<Record<string, HostTensor>> {
    const { program } = this;
    const arena = this.#arena;
    if (!arena)
      throw new InputError({
        what: "the executable has been disposed",
        where: program.name,
        hint: "Load the program again.",
      });
    const bound = bindSizes(program, inputs, sizes);
    new Uint8Array(arena).fill(0xff);
    for (const { name, buffer } of program.inputs)
      this.#data(arena, buffer, bound).set(inputs[name]!.data as never);
    for (const step of this.#steps(arena, bound)) step();
    return Object.fromEntries(
      program.outputs.map(({ name, type, buffer }) => {
        const shape = type.shape.map((dim) => evaluateDim(dim, bound));
        const data = this.#data(arena, buffer, bound).slice();
        return [name, { dtype: type.dtype, shape, data }];
      }),
    );
  }

  dispose(): void {
    this.#arena = undefined;
    this.#compiled = undefined;
  }

  #steps(arena: ArrayBuffer, sizes: ReadonlyMap<string, number>): readonly Execute[] {
    const key = [...sizes].map(([name, value]) => `${name}=${value}`).join();
    if (this.#compiled?.key === key) return this.#compiled.steps;
    const { program } = this;
    const steps = program.steps.map(({ kernel: index, buffers, label }) => {
      const kernel = program.kernels[index]!;
      const elements = kernel.buffers.map(({ dtype, shape, name }, i) => {
        const dims = shape.map((dim) => evaluateDim(dim, sizes));
        return storedElements(dtype, dims, this.#data(arena, buffers[i]!, sizes), name);
      });
      const where = `${program.name}: ${label} (kernel ${kernel.name})`;
      return compileKernel(kernel, elements, sizes, where, this.#parallelOrder);
    });
    this.#compiled = { key, steps };
    return steps;
  }

  /** A buffer's elements of this run, where the plan put them. */
  #data(arena: ArrayBuffer, index: number, sizes: ReadonlyMap<string, number>): HostArray {
    const { type, place } = this.program.buffers[index]!;
    const length = elementCount(type.shape.map((dim) => evaluateDim(dim, sizes)));
    switch (place.kind) {
      case "constant":
        return place.value.data;
      case "state":
        return this.#store.data(place.name).subarray(0, length);
      case "arena": {
        const { offset } = place;
        const width = byteWidth(type.dtype);
        if (offset % width !== 0 || offset + length * width > this.program.arenaBytes)
          throw new InternalError({
            what: `buffer ${index} of type ${formatType(type)} at offset ${offset} does not fit in an arena of ${this.program.arenaBytes} bytes`,
            where: this.program.name,
          });
        return hostArray(type.dtype, length, arena, offset);
      }
    }
  }
}
