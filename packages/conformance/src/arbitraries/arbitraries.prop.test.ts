import {
  buildProgram,
  dtypes,
  elementCount,
  isFloat,
  toNumbers,
  verifyGraph,
  verifyProgram,
} from "@millrace/graph";
import fc from "fast-check";
import { expect, test } from "vitest";

import { checkText } from "../check-graph.ts";
import { dtypeArbitrary, floatDTypeArbitrary } from "./dtype.ts";
import { describeCase, graphArbitrary, recipes } from "./graph.ts";
import { shapeArbitrary, sizeArbitrary } from "./shape.ts";
import { seededTensor, tensorArbitrary } from "./tensor.ts";

test("dtypes are of the allowed ones", () => {
  fc.assert(
    fc.property(dtypeArbitrary(), floatDTypeArbitrary(["bf16", "i32"]), (dtype, float) => {
      expect(dtypes).toContain(dtype);
      expect(dtype).not.toBe("i64");
      expect(float).toBe("bf16");
    }),
  );
});

test("sizes hit their edges and shapes stay small", () => {
  const sizes = fc.sample(sizeArbitrary(), 400);
  for (const edge of [0, 1, 127, 128, 129]) expect(sizes).toContain(edge);
  fc.assert(
    fc.property(shapeArbitrary({ minSize: 1, maxElements: 512 }), (shape) => {
      expect(elementCount(shape)).toBeGreaterThan(0);
      expect(elementCount(shape)).toBeLessThanOrEqual(512);
    }),
  );
});

test("tensors are functions of their seed, and edges are among them", () => {
  fc.assert(
    fc.property(
      dtypeArbitrary().chain((dtype) => tensorArbitrary(dtype, [3, 5])),
      ({ dtype, shape, data }) => {
        expect(shape).toEqual([3, 5]);
        expect(data.length).toBe(15);
        expect(seededTensor(dtype, [65], 7)).toEqual(seededTensor(dtype, [65], 7));
      },
    ),
  );
  for (const dtype of dtypes.filter(isFloat)) {
    const values = [...toNumbers(seededTensor(dtype, [1000], 1, "edges"))];
    expect(values.some(Number.isNaN)).toBe(true);
    expect(values.some((value) => Object.is(value, -0))).toBe(true);
    expect(Math.max(...toNumbers(seededTensor(dtype, [1000], 1)))).toBeLessThanOrEqual(2);
  }
});

test("random graphs are legal, read back, and become legal programs", () => {
  const capabilities = {
    dtypes,
    alignment: 16,
    maxBytes: 2 ** 32,
    maxBuffersPerKernel: 64,
    arrayBytes: 0,
  };
  fc.assert(
    fc.property(graphArbitrary({ dtypes }), (graphCase) => {
      const { graph } = graphCase;
      checkText(graph);
      for (const fuse of [true, false]) {
        const stages = buildProgram(graph, capabilities, { fuse });
        verifyGraph(stages.fused.graph);
        verifyProgram(stages.program, capabilities);
      }
      expect(describeCase(graphCase)).toContain("graph random {");
    }),
    { numRuns: 200 },
  );
});

test("every recipe makes what it is named for", () => {
  const feeders = ["convert", "lt", "reshape"];
  const given = new Set(["input", "state", "constant", ...feeders]);
  for (const name of Object.keys(recipes).filter((recipe) => !feeders.includes(recipe))) {
    const cases = fc.sample(
      graphArbitrary({ dtypes, only: [name, name, ...feeders], maxNodes: 8 }),
      { numRuns: 60, seed: 1 },
    );
    const made = cases.flatMap(({ graph }) => graph.nodes.map(({ op }) => op.name));
    expect(made.filter((op) => !given.has(op)).length, name).toBeGreaterThan(0);
  }
});

test("a case prints as its graph, so that a failure can be read", () => {
  const failing = (): void =>
    fc.assert(
      fc.property(graphArbitrary({ dtypes }), () => false),
      { seed: 3 },
    );
  expect(failing).toThrow(/Counterexample: \[graph random \{[^]*output y0 = %1/);
});
