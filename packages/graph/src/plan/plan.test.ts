import { expect, test } from "vitest";
import { buildProgram } from "../compile.ts";
import type { Capabilities } from "../capabilities.ts";
import { declare } from "../declare/declare.ts";
import { sum } from "../declare/ops/broadcast.ts";
import { add, exp, mul } from "../declare/ops/elementwise.ts";
import { cumulativeSum } from "../declare/ops/reduce.ts";
import { updateSlice } from "../declare/ops/state.ts";
import { dtypes } from "../dtype.ts";
import { DeviceError } from "../errors.ts";
import type { Graph } from "../graph.ts";
import type { Program } from "../program.ts";
import { verifyProgram } from "../verify-program.ts";

const capabilities: Capabilities = {
  dtypes,
  alignment: 16,
  maxBytes: 2 ** 20,
  maxBuffersPerKernel: 64,
  arrayBytes: 0,
};

function programOf(graph: Graph): Program {
  const { program } = buildProgram(graph, capabilities);
  verifyProgram(program);
  return program;
}

/** Steps as `kernel(place, …)`, the buffers by where they live. */
function stepsOf(program: Program): string[] {
  return program.steps.map(({ kernel, buffers }) => {
    const places = buffers.map((at) => {
      const { place } = program.buffers[at]!;
      return place.kind === "state" ? place.name : place.kind;
    });
    return `${program.kernels[kernel]!.name.replace(/_\d+$/, "")}(${places.join(", ")})`;
  });
}

test("an elementwise update is written into the state itself", () => {
  const graph = declare("step", (b) => {
    const w = b.parameter("w", "f32", [8]);
    b.update(w, add(w, b.input("g", "f32", [8])));
    return {};
  });
  expect(stepsOf(programOf(graph))).toEqual(["add(w, w, arena)"]);
});

test("a running sum is not written over elements that it still has to read", () => {
  const graph = declare("running", (b) => {
    const w = b.parameter("w", "f32", [8]);
    b.update(w, cumulativeSum(w, 0, { exclusive: true }));
    return {};
  });
  expect(stepsOf(programOf(graph))).toEqual(["cumulative_sum(w, arena)", "copy(arena, w)"]);
});

test("a state that is read again after its update is written last", () => {
  const graph = declare("late", (b) => {
    const w = b.parameter("w", "f32", [8]);
    b.update(w, add(w, 1));
    return { total: sum(w) };
  });
  expect(stepsOf(programOf(graph))).toEqual(["add(arena, w)", "sum(w, arena)", "copy(arena, w)"]);
});

test("states that take each other's values are exchanged, not overwritten", () => {
  const graph = declare("swap", (b) => {
    const [x, y] = [b.parameter("x", "f32", [8]), b.parameter("y", "f32", [8])];
    b.update(x, y);
    b.update(y, x);
    return {};
  });
  expect(stepsOf(programOf(graph))).toEqual([
    "copy(y, arena)",
    "copy(x, arena)",
    "copy(arena, x)",
    "copy(arena, y)",
  ]);
});

test("a cache takes new rows in place", () => {
  const graph = declare("cache", (b) => {
    const cache = b.state("cache", "f32", [16, 4]);
    const rows = b.input("rows", "f32", [2, 4]);
    const grown = updateSlice(cache, rows, b.input("start", "i32", []), 0);
    b.update(cache, grown);
    return { total: sum(grown) };
  });
  expect(stepsOf(programOf(graph))).toEqual([
    "update_slice(cache, arena, arena)",
    "sum(cache, arena)",
  ]);
});

test("a partial update of a value that is still needed works on a copy", () => {
  const graph = declare("copy", (b) => {
    const x = exp(b.input("x", "f32", [16, 4]));
    const rows = b.input("rows", "f32", [2, 4]);
    return { y: updateSlice(x, rows, b.input("start", "i32", []), 0), total: sum(x) };
  });
  expect(stepsOf(programOf(graph)).map((step) => step.split("(")[0])).toEqual([
    "exp",
    "copy",
    "update_slice",
    "sum",
  ]);
});

test("a returned state is its value before the run", () => {
  const graph = declare("old", (b) => {
    const w = b.parameter("w", "f32", [8]);
    b.update(w, add(w, 1));
    return { w };
  });
  expect(stepsOf(programOf(graph))[0]).toBe("copy(w, arena)");
});

test("equal kernels are one", () => {
  const graph = declare("merge", (b) => {
    const [x, y] = [b.input("x", "f32", [8]), b.input("y", "f32", [8])];
    return { a: mul(x, x), b: mul(y, y) };
  });
  const program = programOf(graph);
  expect(program.kernels).toHaveLength(1);
  expect(program.steps).toHaveLength(2);
});

test("a program that the device cannot hold is refused with both numbers", () => {
  const graph = declare("large", (b) => ({ y: exp(b.input("x", "f32", [2 ** 20])) }));
  expect(() => programOf(graph)).toThrow(DeviceError);
  expect(() => programOf(graph)).toThrow(/needs 8388608 bytes .* offers 1048576/);
});

test("the arena and each state must fit into one piece", () => {
  const graph = declare("pieces", (b) => {
    const w = b.state("w", "f32", [64]);
    b.update(w, exp(w));
    return { y: exp(b.input("x", "f32", [16])) };
  });
  const { arenaBytes } = buildProgram(graph, { ...capabilities, maxBlockBytes: 256 }).program;
  expect(arenaBytes).toBeLessThan(256);
  const build = (maxBlockBytes: number) => () =>
    buildProgram(graph, { ...capabilities, maxBlockBytes });
  expect(build(255)).toThrow(/state "w" takes 256 bytes, the device has at most 255 in one piece/);
  expect(build(arenaBytes - 1)).toThrow(/what the program holds beside its states takes/);
});
