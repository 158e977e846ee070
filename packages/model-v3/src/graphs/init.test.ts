import { toNumbers } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import { expect, test } from "vitest";
import { parameterTable } from "../parameters.ts";
import { preset } from "../presets.ts";
import { declareInit } from "./init.ts";

const config = preset("tiny");
const values = (seed: number, model = config): Record<string, Float64Array> =>
  Object.fromEntries(
    Object.entries(interpret(declareInit(model, seed), {}).states).map(([name, tensor]) => [
      name,
      toNumbers(tensor),
    ]),
  );

test("every parameter gets values of its kind", () => {
  const first = values(1);
  expect(Object.keys(first).toSorted()).toEqual(
    parameterTable(config)
      .map(({ name }) => name)
      .toSorted(),
  );
  for (const { name, init } of parameterTable(config)) {
    const data = first[name]!;
    if (init.kind === "ones") expect(data.every((x) => x === 1)).toBe(true);
    else if (init.kind === "zeros") expect(data.every((x) => x === 0)).toBe(true);
    else {
      const mean = data.reduce((a, b) => a + b) / data.length;
      const deviation = Math.sqrt(data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length);
      expect(Math.abs(mean)).toBeLessThan((5 * init.std) / Math.sqrt(data.length));
      expect(deviation / init.std).toBeCloseTo(1, 0);
    }
  }
});

test("values depend on seed and name, and on nothing else", () => {
  const name = "model.layers.1.mlp.gate.weight";
  const first = values(1);
  expect(values(1)[name]).toEqual(first[name]);
  expect(values(2)[name]).not.toEqual(first[name]);
  expect(values(1 + 2 ** 32)[name]).not.toEqual(first[name]);
  expect(values(1, { ...config, numNextnPredictLayers: 0 })[name]).toEqual(first[name]);
  const normal = parameterTable(config).filter(({ init }) => init.kind === "normal");
  const starts = normal.map((spec) => first[spec.name]!.slice(0, 4).join());
  expect(new Set(starts).size).toBe(normal.length);
});
