// The kernel interpreter on hand-written programs: sizes, states, the arena, constants, and what is refused.
import type { Kernel, Place, Program } from "@millrace/graph";
import { applyExpr, integerExpr, literalExpr, size, sizeExpr, toNumbers } from "@millrace/graph";
import { describe, expect, test } from "vitest";
import {
  buffer,
  i,
  j,
  at,
  intAt,
  range,
  loop,
  store,
  f32,
  i32,
  programOf,
} from "../../test/hand-written.ts";
import { createInterpreterBackend } from "./backend.ts";

describe("programs", () => {
  const T = size("T", 0, 6);
  const doubled: Kernel = {
    name: "doubled",
    buffers: [buffer("x", "f32", [T, 2], "read"), buffer("y", "f32", [T, 2], "write")],
    body: [
      loop(range("i", T), [
        loop(range("j", 2), [
          store("y", [i, j], applyExpr("mul", at("x", i, j), applyExpr("to_f32", sizeExpr(T)))),
        ]),
      ]),
    ],
  };

  test("sizes may change from run to run, down to none", async () => {
    const backend = createInterpreterBackend();
    const program = programOf(doubled);
    const executable = await backend.load(program, backend.createStore());
    expect(executable.bytes).toBe(128);
    const runRows = async (rows: number): Promise<number[]> => {
      const x = f32(
        [rows, 2],
        Array.from({ length: rows * 2 }, (_, n) => n),
      );
      const { y } = await executable.run({ x });
      expect(y!.shape).toEqual([rows, 2]);
      return [...toNumbers(y!)];
    };
    expect(await runRows(2)).toEqual([0, 2, 4, 6]);
    expect(await runRows(0)).toEqual([]);
    expect(await runRows(3)).toEqual([0, 3, 6, 9, 12, 15]);
    expect(await runRows(2)).toEqual([0, 2, 4, 6]);
    await expect(runRows(7)).rejects.toThrow(/size "T" is 7/);
    expect(backend.print(program)).toContain("doubled");
    executable.dispose();
    await expect(runRows(2)).rejects.toThrow(/disposed/);
  });

  const next: Kernel = {
    name: "next",
    buffers: [buffer("x", "f32", [2], "read"), buffer("sum", "f32", [2], "update")],
    body: [loop(range("i", 2), [store("sum", [i], applyExpr("add", at("sum", i), at("x", i)))])],
  };

  test("a state is updated in place and shared by programs over one store", async () => {
    const backend = createInterpreterBackend();
    const states = backend.createStore();
    const program = programOf(next, { sum: { kind: "state", name: "sum" } });
    const [first, second] = [
      await backend.load(program, states),
      await backend.load(program, states),
    ];
    const x = f32([2], [1, 2]);
    await first.run({ x });
    expect([...toNumbers(await states.read("sum"))]).toEqual([1, 2]);
    await states.write("sum", f32([1], [10]), 1);
    await second.run({ x });
    expect([...toNumbers(await states.read("sum"))]).toEqual([2, 12]);
    expect(states.bytes).toBe(8);
    expect(() => states.ensure([{ name: "sum", type: { dtype: "f32", shape: [3] } }])).toThrow(
      /state "sum" is f32\[2\] in the store and f32\[3\]/,
    );
    await expect(states.write("sum", f32([2], [1, 1]), 1)).rejects.toThrow(/not all within/);
    await expect(states.write("sum", i32([2], [1, 1]))).rejects.toThrow(/i32/);
    await expect(states.read("other")).rejects.toThrow(/no state "other"/);
  });

  test("two kernel buffers may be one program buffer, and outputs are copies", async () => {
    const kernel: Kernel = {
      name: "in_place",
      buffers: [buffer("x", "f32", [3], "read"), buffer("y", "f32", [3], "write")],
      body: [loop(range("i", 3), [store("y", [i], applyExpr("neg", at("x", i)))])],
    };
    const apart = programOf(kernel);
    const program: Program = {
      ...apart,
      outputs: [{ ...apart.outputs[0]!, buffer: 0 }],
      buffers: [apart.buffers[0]!],
      steps: [{ ...apart.steps[0]!, buffers: [0, 0] }],
      arenaBytes: 12,
    };
    const backend = createInterpreterBackend();
    const executable = await backend.load(program, backend.createStore());
    const { y } = await executable.run({ x: f32([3], [1, 2, 3]) });
    await executable.run({ x: f32([3], [4, 5, 6]) });
    expect([...toNumbers(y!)]).toEqual([-1, -2, -3]);
  });

  test("offsets are taken as planned, so a plan that overlaps live buffers gives wrong numbers", async () => {
    const kernel: Kernel = {
      name: "reversed",
      buffers: [buffer("x", "f32", [4], "read"), buffer("y", "f32", [4], "write")],
      body: [loop(range("i", 4), [store("y", [i], at("x", applyExpr("sub", integerExpr(3), i)))])],
    };
    const overlapping = programOf(kernel, { y: { kind: "arena", offset: 0 } });
    const program: Program = {
      ...overlapping,
      outputs: [{ name: "y", type: { dtype: "f32", shape: [4] }, buffer: 1 }],
    };
    const backend = createInterpreterBackend();
    const executable = await backend.load(program, backend.createStore());
    const { y } = await executable.run({ x: f32([4], [1, 2, 3, 4]) });
    expect([...toNumbers(y!)]).toEqual([4, 3, 3, 4]);
  });

  test("memory that nothing wrote is NaN, also after a run that did", async () => {
    const kernel: Kernel = {
      name: "some",
      buffers: [buffer("n", "i32", [], "read"), buffer("y", "f32", [3], "write")],
      body: [loop(range("i", 3, undefined, intAt("n")), [store("y", [i], literalExpr(1))])],
    };
    const backend = createInterpreterBackend();
    const executable = await backend.load(programOf(kernel), backend.createStore());
    const yOf = async (n: number): Promise<number[]> => [
      ...toNumbers((await executable.run({ n: i32([], [n]) }))["y"]!),
    ];
    expect(await yOf(3)).toEqual([1, 1, 1]);
    expect(await yOf(1)).toEqual([1, NaN, NaN]);
  });

  test("constants are read where they are and never written", async () => {
    const place: Place = { kind: "constant", value: f32([2], [5, 6]) };
    const backend = createInterpreterBackend();
    const adds: Kernel = {
      ...next,
      buffers: [...next.buffers, buffer("c", "f32", [2], "read")],
      body: [loop(range("i", 2), [store("sum", [i], applyExpr("add", at("c", i), at("x", i)))])],
    };
    const executable = await backend.load(programOf(adds, { c: place }), backend.createStore());
    const { sum } = await executable.run({ x: f32([2], [1, 1]), sum: f32([2], [0, 0]) });
    expect([...toNumbers(sum!)]).toEqual([6, 7]);
    const writes = programOf(next, { sum: place });
    await expect(backend.load(writes, backend.createStore())).rejects.toThrow(/a constant/);
  });

  test("what does not fit is refused when loaded or run, with the step's name", async () => {
    const backend = createInterpreterBackend();
    const program = programOf(doubled);
    const load = (changed: Partial<Program>): Promise<unknown> =>
      backend.load({ ...program, ...changed }, backend.createStore());
    const [x] = program.buffers;
    await expect(load({ steps: [{ kernel: 0, buffers: [0], label: "layers.1" }] })).rejects.toThrow(
      /1 buffers to kernel 0.*layers.1/,
    );
    const narrow = { ...x!, type: { dtype: "bf16", shape: [T, 2] } } as const;
    await expect(load({ buffers: [narrow, program.buffers[1]!] })).rejects.toThrow(/bf16\[T, 2\]/);
    const readOnly: Kernel = {
      ...doubled,
      buffers: [doubled.buffers[0]!, buffer("y", "f32", [T, 2], "read")],
    };
    const executable = await backend.load(
      { ...program, kernels: [readOnly] },
      backend.createStore(),
    );
    await expect(executable.run({ x: f32([1, 2], [1, 2]) })).rejects.toThrow(/"y" is read only/);
    await expect(load({ arenaBytes: 2 ** 52 })).rejects.toThrow(/no memory for an arena/);
    const small = await backend.load({ ...program, arenaBytes: 64 }, backend.createStore());
    await expect(small.run({ x: f32([6, 2], Array(12).fill(0)) })).rejects.toThrow(/arena of 64/);
  });
});
