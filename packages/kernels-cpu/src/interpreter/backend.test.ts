// The kernel interpreter on hand-written kernels and programs, one construct of the kernel language at a time.
import type {
  DType,
  Expr,
  HostTensor,
  Kernel,
  KernelBuffer,
  Place,
  Program,
  Range,
  Shape,
  SizeSymbol,
  Statement,
  Values,
} from "@millrace/graph";
import {
  applyExpr,
  axisExpr,
  byteWidth,
  elementCount,
  hostTensor,
  integerExpr,
  leftName,
  literalExpr,
  loadExpr,
  localExpr,
  maxDim,
  rightName,
  roundExpr,
  selectExpr,
  size,
  sizeExpr,
  toNumbers,
} from "@millrace/graph";
import { describe, expect, test } from "vitest";
import { createInterpreterBackend } from "./backend.ts";
import type { InterpreterBackendOptions } from "./backend.ts";

type Access = KernelBuffer["access"];
const buffer = (name: string, dtype: DType, shape: Shape, access: Access): KernelBuffer => ({
  name,
  dtype,
  shape,
  access,
});

const i = axisExpr("i", 64);
const j = axisExpr("j", 64);
const k = axisExpr("k", 64);
const at = (name: string, ...index: readonly Expr[]): Expr => loadExpr(name, index, "f32");
const intAt = (name: string, ...index: readonly Expr[]): Expr => loadExpr(name, index, "i32");
const range = (axis: string, extent: Range["extent"], start?: Expr, end?: Expr): Range => ({
  axis,
  extent,
  ...(start && { start }),
  ...(end && { end }),
});
const loop = (
  over: Range,
  body: readonly Statement[],
  order: "parallel" | "serial" = "parallel",
): Statement => ({ kind: "loop", range: over, order, body });
const store = (name: string, index: readonly Expr[], value: Expr): Statement => ({
  kind: "store",
  buffer: name,
  index,
  value,
});

const align = (offset: number): number => Math.ceil(offset / 16) * 16;

/** A program of one kernel: read buffers are inputs, the others outputs (an `update` is both), unless `places` says else. */
function programOf(kernel: Kernel, places: Readonly<Record<string, Place>> = {}): Program {
  let arenaBytes = 0;
  const buffers = kernel.buffers.map(({ name, dtype, shape }) => {
    const given = places[name];
    if (given) return { type: { dtype, shape }, place: given };
    const offset = arenaBytes;
    arenaBytes = align(offset + elementCount(shape.map(maxDim)) * byteWidth(dtype));
    return { type: { dtype, shape }, place: { kind: "arena", offset } as const };
  });
  const sizes = new Map<string, SizeSymbol>();
  for (const { shape } of kernel.buffers)
    for (const dim of shape)
      if (typeof dim !== "number")
        for (const { symbols } of dim.terms) for (const s of symbols) sizes.set(s.name, s);
  const bindings = (accesses: readonly Access[]): Program["inputs"] =>
    kernel.buffers.flatMap(({ name, dtype, shape, access }, index) =>
      accesses.includes(access) && !places[name]
        ? [{ name, type: { dtype, shape }, buffer: index }]
        : [],
    );
  return {
    name: `test ${kernel.name}`,
    sizes: [...sizes.values()],
    inputs: bindings(["read", "update"]),
    outputs: bindings(["write", "update"]),
    states: kernel.buffers.flatMap(({ name, dtype, shape }) =>
      places[name]?.kind === "state" ? [{ name, type: { dtype, shape } }] : [],
    ),
    buffers,
    kernels: [kernel],
    steps: [{ kernel: 0, buffers: kernel.buffers.map((_, index) => index), label: "layers.0" }],
    arenaBytes,
  };
}

async function run(
  kernel: Kernel,
  inputs: Values,
  options: InterpreterBackendOptions = {},
): Promise<Record<string, number[]>> {
  const backend = createInterpreterBackend(options);
  const executable = await backend.load(programOf(kernel), backend.createStore());
  const outputs = await executable.run(inputs);
  return Object.fromEntries(
    Object.entries(outputs).map(([name, tensor]) => [name, [...toNumbers(tensor)]]),
  );
}

const f32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("f32", shape, values);
const i32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("i32", shape, values);

describe("statements", () => {
  test("a product in a loop over batches, with an epilogue, rounds to f32 after every step", async () => {
    const kernel: Kernel = {
      name: "product",
      buffers: [
        buffer("q", "f32", [2, 2, 3], "read"),
        buffer("w", "bf16", [2, 2, 3], "read"),
        buffer("y", "f32", [2, 2, 2], "write"),
      ],
      body: [
        loop(range("b", 2), [
          {
            kind: "contract",
            rows: range("i", 2),
            columns: range("j", 2),
            depth: range("k", 3),
            lhs: roundExpr(at("q", axisExpr("b", 2), i, k), "bf16"),
            rhs: loadExpr("w", [axisExpr("b", 2), j, k], "bf16"),
            result: "acc",
            body: [
              store(
                "y",
                [axisExpr("b", 2), j, i],
                applyExpr("mul", localExpr("acc", "f32"), literalExpr(0.5)),
              ),
            ],
          },
        ]),
      ],
    };
    const q = [1, 2, 3, 4, 5, 6, 2 ** 24, 1, 1, 1.01, 0, 0];
    const w = [1, 1, 1, 1, 0, -1, 1, 1, 1, 2, 2, 2];
    const { y } = await run(kernel, {
      q: f32([2, 2, 3], q),
      w: hostTensor("bf16", [2, 2, 3], w),
    });
    // Stored as [b, column, row]; 2^24 + 1 + 1 is 2^24 in f32, and 1.01 is 1.0078125 in bf16.
    expect(y).toEqual([3, 7.5, -1, -1, 2 ** 23, 0.50390625, 2 ** 24, 1.0078125]);
  });

  test("rows of ragged groups, read from offsets, an empty group among them", async () => {
    const group = axisExpr("e", 3);
    const kernel: Kernel = {
      name: "ragged",
      buffers: [
        buffer("x", "f32", [4, 2], "read"),
        buffer("w", "f32", [3, 1, 2], "read"),
        buffer("offsets", "i32", [4], "read"),
        buffer("y", "f32", [4, 1], "write"),
      ],
      body: [
        loop(range("e", 3), [
          {
            kind: "contract",
            rows: range(
              "i",
              4,
              intAt("offsets", group),
              intAt("offsets", applyExpr("add", group, integerExpr(1))),
            ),
            columns: range("j", 1),
            depth: range("k", 2),
            lhs: at("x", i, k),
            rhs: at("w", group, j, k),
            result: "acc",
            body: [store("y", [i, j], localExpr("acc", "f32"))],
          },
        ]),
      ],
    };
    const x = f32([4, 2], [1, 2, 3, 4, 5, 6, 7, 8]);
    const w = f32([3, 1, 2], [1, 0, 9, 9, 0, 1]);
    const offsets = i32([4], [0, 1, 1, 4]);
    expect(await run(kernel, { x, w, offsets })).toEqual({ y: [1, 4, 6, 8] });
    const past = i32([4], [0, 1, 1, 5]);
    await expect(run(kernel, { x, w, offsets: past })).rejects.toThrow(
      /axis "i" runs from 1 to 5, its extent is 4.*layers.0/,
    );
  });

  test("a triangle, whose depth depends on the row", async () => {
    const kernel: Kernel = {
      name: "triangle",
      buffers: [buffer("x", "f32", [3, 3], "read"), buffer("y", "f32", [3, 1], "write")],
      body: [
        {
          kind: "contract",
          rows: range("i", 3),
          columns: range("j", 1),
          depth: range("k", 3, undefined, applyExpr("add", i, integerExpr(1))),
          lhs: at("x", i, k),
          rhs: literalExpr(1),
          result: "acc",
          body: [store("y", [i, j], localExpr("acc", "f32"))],
        },
      ],
    };
    const x = f32([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(await run(kernel, { x })).toEqual({ y: [1, 9, 24] });
  });

  test("a reduction of a pair, with a let for each element", async () => {
    const [value, position] = [localExpr("value", "f32"), localExpr("position", "i32")];
    const [l0, l1] = [localExpr(leftName(0), "f32"), localExpr(leftName(1), "i32")];
    const [r0, r1] = [localExpr(rightName(0), "f32"), localExpr(rightName(1), "i32")];
    const better = applyExpr("gt", r0, l0);
    const kernel: Kernel = {
      name: "argmax",
      buffers: [
        buffer("x", "f32", [2, 4], "read"),
        buffer("largest", "f32", [2], "write"),
        buffer("where", "i32", [2], "write"),
      ],
      body: [
        loop(range("i", 2), [
          {
            kind: "reduce",
            ranges: [range("j", 4)],
            results: [
              { name: "value", type: "f32" },
              { name: "position", type: "i32" },
            ],
            identity: [literalExpr(-Infinity), integerExpr(0)],
            body: [
              {
                kind: "let",
                name: "square",
                value: applyExpr("mul", at("x", i, j), at("x", i, j)),
              },
            ],
            values: [localExpr("square", "f32"), j],
            combine: [selectExpr(better, r0, l0), selectExpr(better, r1, l1)],
          },
          store("largest", [i], value),
          store("where", [i], position),
        ]),
      ],
    };
    const x = f32([2, 4], [1, -3, 3, 2, 0.5, 0, 0, -0.25]);
    expect(await run(kernel, { x })).toEqual({ largest: [9, 0.25], where: [1, 0] });
  });

  test("a serial scan with a variable, and a condition", async () => {
    const total = localExpr("total", "f32");
    const kernel: Kernel = {
      name: "scan",
      buffers: [
        buffer("x", "f32", [2, 4], "read"),
        buffer("y", "f32", [2, 4], "write"),
        buffer("last", "f32", [2], "write"),
      ],
      body: [
        loop(range("i", 2), [
          { kind: "variable", name: "total", value: literalExpr(0) },
          loop(
            range("j", 4),
            [
              {
                kind: "if",
                condition: applyExpr("gt", at("x", i, j), literalExpr(0)),
                body: [
                  { kind: "assign", name: "total", value: applyExpr("add", total, at("x", i, j)) },
                ],
              },
              store("y", [i, j], total),
            ],
            "serial",
          ),
          store("last", [i], total),
        ]),
      ],
    };
    const x = f32([2, 4], [1, -5, 2, 3, -1, -1, 4, -4]);
    const expected = { y: [1, 1, 3, 6, 0, 0, 4, 4], last: [6, 4] };
    expect(await run(kernel, { x })).toEqual(expected);
    expect(await run(kernel, { x }, { parallelOrder: "descending" })).toEqual(expected);
  });

  test("a loop that is not parallel shows when its order is turned round", async () => {
    const kernel: Kernel = {
      name: "wrong",
      buffers: [buffer("x", "f32", [3], "read"), buffer("y", "f32", [1], "write")],
      body: [loop(range("i", 3), [store("y", [integerExpr(0)], at("x", i))])],
    };
    const x = f32([3], [1, 2, 3]);
    expect(await run(kernel, { x })).toEqual({ y: [3] });
    expect(await run(kernel, { x }, { parallelOrder: "descending" })).toEqual({ y: [1] });
  });

  test("select guards its loads; without it the load is an error that names the step", async () => {
    const before = applyExpr("sub", i, integerExpr(1));
    const shifted = (guarded: boolean): Kernel => ({
      name: "shift",
      buffers: [buffer("x", "f32", [3], "read"), buffer("y", "f32", [3], "write")],
      body: [
        loop(range("i", 3), [
          store(
            "y",
            [i],
            guarded
              ? selectExpr(applyExpr("gt", i, integerExpr(0)), at("x", before), literalExpr(9))
              : at("x", before),
          ),
        ]),
      ],
    });
    const x = f32([3], [1, 2, 3]);
    expect(await run(shifted(true), { x })).toEqual({ y: [9, 1, 2] });
    await expect(run(shifted(false), { x })).rejects.toThrow(
      /load of "x" at \[-1\] is outside its shape \[3\] at test shift: layers.0 \(kernel shift\)/,
    );
  });

  test("every dtype goes through registers and back", async () => {
    const values: Record<DType, number[]> = {
      f32: [0.1, -2.5],
      f16: [0.5, -65504],
      bf16: [1.0078125, -3],
      e4m3fn: [448, -0.5],
      e5m2: [57344, -0.25],
      i32: [-5, 2147483647],
      u32: [5, 4294967295],
      u8: [0, 255],
      bool: [0, 1],
      i64: [-7, 2147483647],
      i16: [-32768, 32767],
      i8: [-128, 127],
    };
    for (const dtype of Object.keys(values) as DType[]) {
      const x = hostTensor(dtype, [2], values[dtype]);
      const kernel: Kernel = {
        name: "copy",
        buffers: [buffer("x", dtype, [2], "read"), buffer("y", dtype, [2], "write")],
        body: [loop(range("i", 2), [store("y", [i], loadExpr("x", [i], dtype))])],
      };
      expect(await run(kernel, { x })).toEqual({ y: [...toNumbers(x)] });
    }
  });
});

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
    expect(executable.bytes).toBe(96);
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

  test("an unwritten bool is an error", async () => {
    const kernel: Kernel = {
      name: "unwritten",
      buffers: [buffer("b", "bool", [1], "write"), buffer("y", "bool", [1], "write")],
      body: [store("y", [integerExpr(0)], loadExpr("b", [integerExpr(0)], "bool"))],
    };
    await expect(run(kernel, {})).rejects.toThrow(/bool buffer "b" is 255/);
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
