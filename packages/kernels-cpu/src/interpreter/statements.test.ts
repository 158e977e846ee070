// The kernel interpreter on hand-written kernels, one construct of the kernel language at a time.
import type { DType, Kernel, Values } from "@millrace/graph";
import {
  applyExpr,
  axisExpr,
  hostTensor,
  integerExpr,
  leftName,
  literalExpr,
  loadExpr,
  localExpr,
  rightName,
  roundExpr,
  selectExpr,
  toNumbers,
} from "@millrace/graph";
import { describe, expect, test } from "vitest";
import {
  buffer,
  i,
  j,
  k,
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
import type { InterpreterBackendOptions } from "./backend.ts";

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

  test("an unwritten bool is an error", async () => {
    const kernel: Kernel = {
      name: "unwritten",
      buffers: [buffer("b", "bool", [1], "write"), buffer("y", "bool", [1], "write")],
      body: [store("y", [integerExpr(0)], loadExpr("b", [integerExpr(0)], "bool"))],
    };
    await expect(run(kernel, {})).rejects.toThrow(/bool buffer "b" is 255/);
  });
});
