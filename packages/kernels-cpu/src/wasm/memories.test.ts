// States, arenas and constants in several memories: the same bits as in one, whatever lies where, and nothing left behind. Memories
// of a few kilobytes stand for those of 4 GiB; the last test has real ones.
import { totalmem } from "node:os";
import { describeBackend, expectSameBits, seededTensor } from "@millrace/conformance";
import type { Backend, Executable, Graph, HostTensor, Program, Values } from "@millrace/graph";
import {
  add,
  compile,
  concatenate,
  convert,
  declare,
  DeviceError,
  dequantizeBlocks,
  dtypes,
  encodeGroups,
  groupLinear,
  hostTensor,
  linear,
  maxBytes,
  memoryCache,
  mul,
  slice,
} from "@millrace/graph";
import { describe, expect, it, test } from "vitest";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { interpret } from "../interpreter/interpret.ts";
import type { WasmBackendOptions } from "./backend.ts";
import { createWasmBackend } from "./backend.ts";
import { MAX_MEMORY_BYTES } from "./capabilities.ts";
import { ModuleBuilder } from "./emit/assembler.ts";
import { disassemble } from "./emit/disassemble.ts";
import { Memories } from "./launch/memories.ts";
import { WasmStore } from "./store.ts";

/** A program with `most` of its arena's buffers as states of `whole` bytes, which fill a memory each. */
function spread(program: Program, whole: number, name: string, most: number): Program {
  const moved = new Map<number, string>();
  program.buffers.forEach(({ type, place }, i) => {
    if (place.kind === "arena" && moved.size < most && maxBytes(type) <= whole)
      moved.set(i, `${name}, buffer ${i}`);
  });
  const states = [...moved.values()].map((state) => ({
    name: state,
    type: { dtype: "u8" as const, shape: [whole] },
  }));
  return {
    ...program,
    states: [...program.states, ...states],
    buffers: program.buffers.map(({ type, place }, i) => {
      const state = moved.get(i);
      return { type, place: state === undefined ? place : { kind: "state", name: state } };
    }),
    // With nothing left in it, the arena need not fit into a memory.
    arenaBytes: program.buffers.every(({ place }, i) => place.kind !== "arena" || moved.has(i))
      ? 0
      : program.arenaBytes,
  };
}

function spreading(options: WasmBackendOptions, memoryBytes: number, most: number): Backend {
  const backend = createWasmBackend({ ...options, memoryBytes });
  let loads = 0;
  return {
    ...backend,
    // What is planned for one memory is spread over several.
    capabilities: createWasmBackend().capabilities,
    load: async (program, store): Promise<Executable> => {
      const whole = memoryBytes - 64;
      const moved = spread(program, whole, `load ${loads++}`, most);
      const executable = await backend.load(moved, store);
      // The suite looks whether a backend takes what was planned.
      const bytes = program.arenaBytes;
      return {
        program,
        bytes,
        run: (inputs, sizes) => executable.run(inputs, sizes),
        dispose: () => executable.dispose(),
      };
    },
  };
}

const suite = { interpret, reference: createInterpreterBackend(), describe, test };
// Several threads run the same code over the same memories; they have their part in the tests further down.
describeBackend("wasm, several memories", () => spreading({ threads: 1 }, 2 ** 24, 5), {
  ...suite,
  numRuns: 2,
});

/** Places each state in a further memory, and fills what is left of it. */
function placeApart(store: WasmStore, states: Values, memoryBytes: number): void {
  const fill = (name: string, bytes: number): void =>
    store.ensure([{ name, type: { dtype: "u8", shape: [bytes] } }]);
  const { first } = store.memories;
  while (first.tryAllocate(64, "filler", memoryBytes * 0.75) !== undefined);
  const memories = new Set([first]);
  for (const [name, { dtype, shape, data }] of Object.entries(states)) {
    store.ensure([{ name, type: { dtype, shape } }]);
    memories.add(store.place(name).memory);
    const rest = memoryBytes - 64 - Math.ceil(data.byteLength / 64) * 64;
    if (rest > 0) fill(`beside ${name}`, rest);
  }
  expect(memories.size).toBe(1 + Object.keys(states).length);
}

/** Outputs of two runs and states after them; in one memory unless told how large they are. */
async function results(
  backend: Backend,
  graph: Graph,
  states: Values,
  inputs: Values,
  memoryBytes?: number,
): Promise<Record<string, HostTensor>> {
  const store = backend.createStore() as WasmStore;
  if (memoryBytes !== undefined) placeApart(store, states, memoryBytes);
  const program = await compile(graph, backend, { store });
  for (const [name, tensor] of Object.entries(states)) await store.write(name, tensor);
  const values: Record<string, HostTensor> = { ...(await program.run(inputs)) };
  for (const [name, tensor] of Object.entries(await program.run(inputs)))
    values[`${name} again`] = tensor;
  for (const { name } of store.specs)
    if (states[name]) values[`state ${name}`] = await store.read(name);
  if (memoryBytes === undefined) expect(store.memories.count).toBe(1);
  program.dispose();
  store.dispose();
  expect(store.memories.count).toBe(1);
  return values;
}

/** The bits of one memory, in memories that hold one state or value each, with one and two threads. */
async function check(graph: Graph, states: Values, inputs: Values = {}): Promise<void> {
  const expected = await results(createWasmBackend({ threads: 1 }), graph, states, inputs);
  const all = [states, inputs, expected].flatMap((values) => Object.values(values));
  const sizes = all.map(({ data }) => data.byteLength);
  const memoryBytes = 64 + Math.ceil(Math.max(2 ** 12, ...sizes) / 64) * 64;
  for (const threads of [1, 2]) {
    const backend = spreading({ threads, divideFrom: 0 }, memoryBytes, 40);
    const actual = await results(backend, graph, states, inputs, memoryBytes);
    expectSameBits(actual, expected, `${threads} threads`, graph.name);
  }
}

describe.each(dtypes)("states of %s", (dtype) => {
  const names = ["a", "b", "c", "d"];
  const length = 4096 + 37;
  const states = Object.fromEntries(
    names.map((name, i) => [name, seededTensor(dtype, [length], i)]),
  );

  it("move from memory to memory", () =>
    check(
      declare("move", (b) => {
        const all = names.map((name) => b.state(name, dtype, [length]));
        all.forEach((state, i) => {
          const next = all[(i + 1) % all.length]!;
          const turned = [slice(next, 0, 5, length - 5), slice(next, 0, 0, 5)];
          b.update(state, concatenate(turned, 0));
        });
        return {
          ends: concatenate(
            all.map((state) => slice(state, 0, length - 3, 3)),
            0,
          ),
        };
      }),
      states,
    ));

  it("are updated in place and read by one kernel", () =>
    check(
      declare("count", (b) => {
        const all = names.map((name) => b.state(name, dtype, [length]));
        const sum = all.map((state) => convert(state, "f32")).reduce((x, y) => add(x, mul(y, 0.5)));
        for (const state of all) b.update(state, convert(mul(convert(state, "f32"), 2), dtype));
        return { sum };
      }),
      states,
    ));
});

describe("products with weights in a memory of their own", () => {
  const [n, k, group] = [33, 256, 64];
  const product = (
    name: string,
    w: HostTensor,
    s: HostTensor | undefined,
    rows: number,
  ): Promise<void> =>
    check(
      declare(name, (b) => {
        const x = b.input("x", "f32", [rows, k]);
        const codes = b.state("w", w.dtype, w.shape);
        if (!s) return { y: linear(x, codes, "f32") };
        const scales = b.state("s", s.dtype, s.shape);
        const inGroups = w.dtype === "i8" || w.dtype === "u8";
        const y = inGroups
          ? groupLinear(x, codes, scales)
          : linear(x, dequantizeBlocks(codes, scales));
        return { y };
      }),
      { w, ...(s && { s }) },
      { x: seededTensor("f32", [rows, k], 3) },
    );

  it.each(["f32", "f16", "bf16", "e4m3fn"] as const)("%s", async (dtype) => {
    const scales = seededTensor("f32", [1, 2], 4);
    for (const rows of [1, 40]) {
      const codes = seededTensor(dtype, [n, k], 1);
      await product(dtype, codes, undefined, rows);
      await product(`${dtype} in blocks`, codes, scales, rows);
    }
    // Codes that are widened exactly: infinity, where there is one, and NaN.
    const odd = seededTensor(dtype, [n, k], 1, "edges");
    await product(`any ${dtype}`, odd, undefined, 1);
  });

  it.each([8, 4] as const)("%i bits", async (bits) => {
    const { codes, scales } = encodeGroups(seededTensor("f32", [n, k], 1), bits, group);
    for (const rows of [1, 20]) await product(`${bits} bits`, codes, scales, rows);
  });
});

const f32 = (name: string, elements: number) =>
  ({ name, type: { dtype: "f32", shape: [elements] } }) as const;
const memoriesOf = (store: unknown): number => (store as WasmStore).memories.count;

describe("placing", () => {
  const limits = { shared: false, memoryBytes: 2 ** 12, several: true };
  const store = (): WasmStore => new WasmStore(limits, () => undefined);

  it("leaves a quarter of the first memory, and takes a state whole or not at all", async () => {
    const states = store();
    states.ensure([f32("a", 700), f32("b", 700), f32("c", 40), f32("d", 1008)]);
    const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => states.place(name));
    expect(a!.memory).toBe(states.memories.first);
    expect(b!.memory).not.toBe(a!.memory);
    expect(c!.memory).toBe(a!.memory);
    expect(new Set([a, b, c, d].map((place) => place!.memory)).size).toBe(3);
    expect(() => states.ensure([f32("large", 1009)])).toThrow(
      /no room for 4036 bytes in one WebAssembly memory, which holds at most 4096 at state "large"/,
    );
    await states.write("d", hostTensor("f32", [1], [7]), 1007);
    expect((await states.read("d")).data.at(-1)).toBe(7);
    expect((await states.read("b")).data.every((value) => value === 0)).toBe(true);
    states.dispose();
    expect(states.memories.count).toBe(1);
    states.ensure([f32("d", 1008), f32("a", 700)]);
    for (const name of ["a", "d"])
      expect((await states.read(name)).data.every((value) => value === 0)).toBe(true);
  });

  it("puts an arena where there is room, and drops an empty memory", () => {
    const memories = new Memories(limits);
    const arena = memories.place(4000, "arena", "buffer");
    expect(arena.memory).not.toBe(memories.first);
    expect(memories.place(3700, "arena", "buffer").memory).toBe(memories.first);
    expect(memories.count).toBe(2);
    memories.release(arena);
    expect(memories.count).toBe(1);
    expect(() => {
      for (let i = 0; i < 64; i++) memories.place(4000, `state ${i}`, "state");
    }).toThrow(/no room for 4000 bytes in 64 WebAssembly memories of 4096 at state 63/);
  });

  it("keeps to one memory where told, with its limit in the error", () => {
    const one = new WasmStore({ ...limits, several: false }, () => undefined);
    one.ensure([f32("a", 700)]);
    expect(() => one.ensure([f32("b", 700)])).toThrow(
      /no room for 2800 bytes in WebAssembly memory, which holds 2880 of at most 4096/,
    );
    expect(createWasmBackend({ multiMemory: false }).capabilities.maxBytes).toBe(MAX_MEMORY_BYTES);
    const { maxBytes: most, maxBlockBytes } = createWasmBackend().capabilities;
    expect(most).toBe(Math.max(MAX_MEMORY_BYTES, Math.min(64 * MAX_MEMORY_BYTES, totalmem())));
    expect(maxBlockBytes).toBe(MAX_MEMORY_BYTES - 64);
    for (const memoryBytes of [0, 5000.5, 2 ** 32])
      expect(() => createWasmBackend({ memoryBytes })).toThrow(/not a whole number/);
  });

  it("gives back what a block at the end held, zeroed", () => {
    const { first } = new Memories(limits);
    const block = first.allocate(256, "first");
    new Uint8Array(first.memory.buffer, block, 256).fill(1);
    first.release(block);
    for (const bytes of [64, 512]) {
      const address = first.allocate(bytes, "again");
      expect(new Uint8Array(first.memory.buffer, address, bytes).some(Boolean)).toBe(false);
    }
  });
});

const total = (count: number, length: number): Graph =>
  declare("total", (b) => {
    const all = Array.from({ length: count }, (_, i) => b.state(`s${i}`, "f32", [length]));
    // Read before the updates, so that these need no copies.
    const ends = all.map((state) => slice(state, 0, length - 2, 2)).reduce((x, y) => add(x, y));
    for (const state of all) b.update(state, add(state, 1));
    return { total: ends };
  });

it("a cache gives a module back only where states lie in the same memories", async () => {
  const cache = memoryCache();
  const run = async (memoryBytes: number): Promise<readonly [number[], number]> => {
    const backend = createWasmBackend({ threads: 1, cache, memoryBytes });
    const store = backend.createStore();
    const program = await compile(total(3, 1000), backend, { store });
    await program.run({});
    const { total: sum } = await program.run({});
    return [[...(sum!.data as Float32Array)], memoriesOf(store)];
  };
  for (const [memoryBytes, memories] of [
    [2 ** 20, 1],
    [2 ** 13, 2],
    [2 ** 20, 1],
    [2 ** 13, 2],
    [2 ** 13, 2],
    [4992, 4],
  ] as const)
    expect(await run(memoryBytes)).toEqual([[3, 3], memories]);
});

it("programs share states in several memories, and profile them", async () => {
  const backend = createWasmBackend({ threads: 2, divideFrom: 0, memoryBytes: 4992 });
  const store = backend.createStore();
  const first = await compile(total(3, 1000), backend, { store });
  const second = await compile(total(2, 1000), backend, { store });
  await first.run({});
  await second.run({});
  const { outputs, profile } = await first.profile({});
  expect(outputs["total"]!.data[1]).toBe(5);
  expect(profile.events.length).toBeGreaterThan(0);
  first.dispose();
  expect((await second.run({}))["total"]!.data[0]).toBe(6);
  second.dispose();
  store.dispose();
  expect(memoriesOf(store)).toBe(1);
  backend.dispose();
});

it("memories have their numbers in the text, and none where there is one", () => {
  const module = new ModuleBuilder();
  for (const name of ["memory", "memory1"])
    module.importMemory({ module: "m", name, minimum: 0, maximum: 65536, shared: true });
  module.define({ params: [], results: [] }, (f) => {
    f.i32(0);
    f.memory("v128.load", 16, 2, 1);
    f.op("drop");
    f.i32(0);
    f.f32x4(0);
    f.memoryLane("v128.store32_lane", 3, 4, undefined, 1);
    f.i32(0);
    f.memory("i32.load8_u");
    f.op("drop");
  });
  const bytes = module.encode();
  expect(WebAssembly.validate(bytes)).toBe(true);
  const text = disassemble(bytes);
  for (const line of [
    '(import "m" "memory1" (memory 0 65536 shared))',
    "v128.load 1 offset=16 align=4\n",
    "v128.store32_lane 1 offset=4 3\n",
    "i32.load8_u\n",
  ])
    expect(text).toContain(line);
});

it("two states of 2.5 GiB are read and written at their ends", async (context) => {
  const [rows, width] = [10 * 2 ** 16, 1024];
  const last = (rows - 1) * width;
  const backend = createWasmBackend({ threads: 2, divideFrom: 0 });
  const store = backend.createStore();
  const ends = declare("ends", (b) => {
    const all = ["a", "b"].map((name) => b.state(name, "f32", [rows, width]));
    const parts = all.flatMap((state) => [slice(state, 0, rows - 1, 1), slice(state, 0, 0, 1)]);
    return { ends: concatenate(parts, 0) };
  });
  const program = await compile(ends, backend, { store }).catch((error: unknown) => {
    if (error instanceof DeviceError) context.skip("there is no room for so large memories");
    throw error;
  });
  expect(store.bytes).toBe(5 * 2 ** 30);
  expect(memoriesOf(store)).toBe(2);
  for (const [i, name] of ["a", "b"].entries()) {
    await store.write(name, hostTensor("f32", [1], [1 + i]), 0);
    await store.write(name, hostTensor("f32", [1], [3 + i]), last + width - 1);
  }
  const { ends: read } = await program.run({});
  const expected = new Float32Array(4 * width);
  [3, 4].forEach((value, i) => (expected[(2 * i + 1) * width - 1] = value));
  [1, 2].forEach((value, i) => (expected[(2 * i + 1) * width] = value));
  expect(read!.data).toEqual(expected);
  program.dispose();
  store.dispose();
  backend.dispose();
  expect(memoriesOf(store)).toBe(1);
});
