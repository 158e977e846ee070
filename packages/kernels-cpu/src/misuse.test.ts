// What callers do wrong with a backend: every mistake is an error of ours that names the input, the state or the program, and
// leaves the backend as it was.
import type { Backend, CompiledProgram, HostTensor } from "@millrace/graph";
import {
  add,
  compile,
  declare,
  dtypes,
  hostTensor,
  InputError,
  linear,
  MillraceError,
  mul,
} from "@millrace/graph";
import fc from "fast-check";
import { describe, expect, it } from "vitest";

import { createInterpreterBackend, createWasmBackend } from "./index.ts";

const backends: readonly (() => Backend)[] = [createWasmBackend, createInterpreterBackend];

const x = hostTensor("f32", [2, 3], [1, 2, 3, 4, 5, 6]);

/** y = x · 2 + s, with the state s. */
async function program(backend: Backend): Promise<CompiledProgram> {
  const graph = declare("twice", (b) => ({
    y: add(mul(b.input("x", "f32", [2, 3]), 2), b.state("s", "f32", [3])),
  }));
  return compile(graph, backend);
}

describe.each(backends.map((make) => [make().name, make] as const))("%s", (_, make) => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ["is missing", {}, /input "x" of type f32\[2, 3\] is missing at twice/],
    ["is null", { x: null }, /input "x".* is missing/],
    ["is not declared", { x, z: x }, /there is no input "z" at twice\. Its inputs are: x\./],
    [
      "has another shape",
      { x: hostTensor("f32", [3, 2], x.data as Float32Array) },
      /"x" has shape \[3, 2\]/,
    ],
    ["has another rank", { x: hostTensor("f32", [6], x.data as Float32Array) }, /"x" is f32\[6\]/],
    [
      "has another dtype",
      { x: hostTensor("i32", [2, 3], [1, 2, 3, 4, 5, 6]) },
      /"x" is i32\[2, 3\]/,
    ],
    [
      "has too few elements",
      { x: { ...x, data: new Float32Array(5) } },
      /Float32Array\(6\).*Float32Array\(5\)/,
    ],
    ["has too many elements", { x: { ...x, data: new Float32Array(7) } }, /Float32Array\(7\)/],
    ["is stored in other words", { x: { ...x, data: new Float64Array(6) } }, /Float64Array\(6\)/],
    [
      "is stored in big integers",
      { x: { ...x, data: new BigInt64Array(6) } },
      /BigInt64Array\(6\)/,
    ],
    ["is a plain array", { x: { ...x, data: [1, 2, 3, 4, 5, 6] } }, /its data are Array/],
    ["has no data", { x: { ...x, data: undefined } }, /its data are Undefined/],
  ])("an input that %s", async (__, inputs, message) => {
    const twice = await program(make());
    await expect(twice.run(inputs as never)).rejects.toThrow(message);
    await expect(twice.run(inputs as never)).rejects.toBeInstanceOf(InputError);
    expect((await twice.run({ x }))["y"]!.data).toEqual(Float32Array.of(2, 4, 6, 8, 10, 12));
  });

  it("sizes that are missing, unknown, contradictory or out of bounds", async () => {
    const graph = declare("sized", (b) => {
      const [t, u] = [b.size("T", 1, 8), b.size("U", 2, 4)];
      return { y: add(b.input("x", "f32", [t]), 1), z: add(b.state("s", "f32", [u]), 1) };
    });
    const sized = await compile(graph, make());
    const of = (count: number): HostTensor => hostTensor("f32", [count], Array(count).fill(1));
    await expect(sized.run({ x: of(3) })).rejects.toThrow(
      /size "U" is not determined.*run\(inputs, \{ U/,
    );
    await expect(sized.run({ x: of(3) }, { U: 2, Q: 1 })).rejects.toThrow(
      /there is no size "Q" at sized/,
    );
    await expect(sized.run({ x: of(3) }, { U: 2, T: 4 })).rejects.toThrow(
      /expected T = \[4\]|\[4\]/,
    );
    for (const U of [1, 5, 2.5, -1, Number.NaN, Infinity])
      await expect(sized.run({ x: of(3) }, { U })).rejects.toThrow(
        /size "U" is .* bounds are 2 to 4/,
      );
    await expect(sized.run({ x: of(9) }, { U: 2 })).rejects.toThrow(/size "T" is 9/);
    await expect(sized.run({ x: of(0) }, { U: 2 })).rejects.toThrow(/size "T" is 0/);
    expect((await sized.run({ x: of(3) }, { U: 2 }))["z"]!.shape).toEqual([2]);
  });

  it("writes of another dtype, size or place leave the state as it was", async () => {
    const store = make().createStore();
    store.ensure([{ name: "w", type: { dtype: "f32", shape: [4] } }]);
    const good = hostTensor("f32", [4], [1, 2, 3, 4]);
    await store.write("w", good);
    const refused: [Promise<unknown>, RegExp][] = [
      [store.write("v", good), /there is no state "v" in the store\. It holds: w\./],
      [store.read("v"), /there is no state "v"/],
      [
        store.write("w", hostTensor("i32", [4], [1, 2, 3, 4])),
        /"w" is f32\[4\], the value written i32/,
      ],
      [store.write("w", hostTensor("f32", [5], [1, 2, 3, 4, 5])), /elements 0 to 5 .* "w" of 4/],
      [store.write("w", good, 1), /elements 1 to 5/],
      [store.write("w", good, -1), /elements -1 to 3/],
      [store.write("w", good, 0.5), /elements 0.5/],
      [store.write("w", { ...good, data: new Uint8Array(4) }), /stored in Float32Array\(4\)/],
      [store.write("w", { ...good, data: new Float32Array(3) }), /stored in Float32Array\(4\)/],
    ];
    await Promise.all(
      refused.map(([promise, message]) => expect(promise).rejects.toThrow(message)),
    );
    expect(() => store.ensure([{ name: "w", type: { dtype: "f32", shape: [5] } }])).toThrow(
      /state "w" is f32\[4\] in the store and f32\[5\] in the program at w/,
    );
    expect(await store.read("w")).toEqual(good);
    await store.write("w", hostTensor("f32", [2], [8, 9]), 1);
    expect((await store.read("w")).data).toEqual(Float32Array.of(1, 8, 9, 4));
  });

  it("any value in any place is taken or refused, never half written", async () => {
    const twice = await program(make());
    const { store } = twice;
    const someShape = fc.array(fc.integer({ min: -1, max: 4 }), { maxLength: 3 });
    const data = fc.oneof(
      fc.constantFrom<unknown>(undefined, null, [], {}, "text"),
      fc.nat(7).map((n) => new Float32Array(n).fill(3)),
      fc.nat(7).map((n) => new Int32Array(n)),
      fc.nat(7).map((n) => new BigInt64Array(n)),
    );
    const value = fc.record({ dtype: fc.constantFrom("f32", ...dtypes), shape: someShape, data });
    await fc.assert(
      fc.asyncProperty(value, fc.boolean(), async (given, isInput) => {
        await store.write("s", hostTensor("f32", [3], [7, 7, 7]));
        try {
          if (isInput) await twice.run({ x: given as HostTensor });
          else await store.write("s", given as HostTensor);
        } catch (error) {
          expect(error).toBeInstanceOf(MillraceError);
          expect((await store.read("s")).data).toEqual(Float32Array.of(7, 7, 7));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("more memory than there is ends in a DeviceError with the remedy", async () => {
    const backend = make();
    const store = backend.createStore();
    const huge = [{ name: "layers.3.huge", type: { dtype: "f32" as const, shape: [2 ** 40] } }];
    expect(() => store.ensure(huge)).toThrow(
      /4398046511104 bytes.*layers\.3\.huge.*Use a smaller model/,
    );
    expect(() => store.ensure(huge)).toThrow(expect.objectContaining({ code: "device" }) as Error);
    // What did not fit is not there, and what fits still does.
    expect(store.specs).toEqual([]);
    store.ensure([{ name: "small", type: { dtype: "f32", shape: [4] } }]);
    expect(store.bytes).toBe(16);
    for (const count of [2 ** 31, 2 ** 40, 2 ** 52]) {
      const graph = declare("big", (b) => ({ y: add(b.input("x", "f32", [count]), 1) }));
      await expect(compile(graph, backend)).rejects.toMatchObject({ code: "device" });
      await expect(compile(graph, backend)).rejects.toThrow(/bytes.*at big\. Use a smaller/);
    }
  });

  it("a program that was disposed, or a store of another backend", async () => {
    const backend = make();
    const twice = await program(backend);
    twice.dispose();
    twice.dispose();
    await expect(twice.run({ x })).rejects.toThrow(
      /has been disposed at twice\. Load the program again/,
    );
    const other = backends.find((otherMake) => otherMake !== make)!();
    const { graph } = twice.stages;
    await expect(compile(graph, backend, { store: other.createStore() })).rejects.toThrow(
      /the store belongs to another backend at twice/,
    );
  });
});

describe("two backends in one process", () => {
  it("run at once without touching each other", async () => {
    const runs = backends
      .flatMap((make) => [make(), make()])
      .map(async (backend, i) => {
        const graph = declare(`model ${i}`, (b) => {
          const w = b.parameter("w", "f32", [3, 3]);
          b.update(w, mul(w, 2));
          return { y: linear(b.input("x", "f32", [2, 3]), w) };
        });
        const model = await compile(graph, backend);
        await model.store.write("w", hostTensor("f32", [3, 3], Array(9).fill(i + 1)));
        const sums: number[] = [];
        for (let step = 0; step < 5; step++) {
          const [first, second] = await Promise.all([model.run({ x }), model.run({ x })]);
          sums.push(first["y"]!.data[0] as number, second["y"]!.data[3] as number);
        }
        return sums;
      });
    for (const [i, sums] of (await Promise.all(runs)).entries())
      expect(sums).toEqual(
        Array.from({ length: 10 }, (_, run) => (run % 2 === 0 ? 6 : 15) * (i + 1) * 2 ** run),
      );
  });
});
