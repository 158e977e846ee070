import { countParameters, flopsPerToken, parameterTable } from "@millrace/model-v3";
import { describe, expect, it } from "vitest";
import { denseParameters, denseTokens } from "./contestants/dense-model.ts";
import { activeElements, forwardFlops, parameterValues, tokenRows } from "./model-values.ts";
import { denseLarge, denseSmall, v3Small } from "./shapes.ts";

describe("shapes", () => {
  it("V3 small has 7.3 million parameters; the dense model costs as much per token within 2 %", () => {
    expect(countParameters(v3Small()).total).toBe(7_347_264);
    const ratio = forwardFlops(denseSmall(), 128) / forwardFlops(v3Small(), 128);
    expect(Math.abs(ratio - 1)).toBeLessThan(0.02);
  });

  it("the large model reads a billion bytes for each token", () => {
    expect(activeElements(denseLarge(false)) * 4).toBeGreaterThan(0.95e9);
    expect(activeElements(denseLarge(false)) * 4).toBeLessThan(1.05e9);
  });
});

it("FLOPs are those that `millrace inspect` counts", () => {
  for (const config of [v3Small(), denseSmall()])
    expect(forwardFlops(config, 100)).toBe(flopsPerToken(config, 100));
});

describe("denseParameters", () => {
  it("has every parameter of the dense model, and nothing for the other one", () => {
    const config = denseSmall();
    const parameters = denseParameters(config)!;
    expect(Object.keys(parameters).length).toBe(parameterTable(config).length);
    expect(denseParameters(v3Small())).toBeUndefined();
  });

  it("moves even rows of a head before odd ones, for queries and keys alone", () => {
    const config = denseSmall();
    const parameters = denseParameters(config)!;
    const exact = (name: string): Float32Array =>
      parameterValues(
        config,
        parameterTable(config).find((spec) => spec.name === name)!,
      );
    const width = config.hiddenSize;
    const half = config.qkRopeHeadDim / 2;
    const row = (data: Float32Array, i: number): Float32Array =>
      data.subarray(i * width, (i + 1) * width);
    const q = exact("model.layers.0.self_attn.q_proj.weight");
    expect(row(parameters["0.q"]!.data, 0)).toEqual(row(q, 0));
    expect(row(parameters["0.q"]!.data, 1)).toEqual(row(q, 2));
    expect(row(parameters["0.q"]!.data, half)).toEqual(row(q, 1));
    expect(row(parameters["0.q"]!.data, 2 * half + 1)).toEqual(row(q, 2 * half + 2));
    expect(parameters["0.v"]!.data).toEqual(exact("model.layers.0.self_attn.v_proj.weight"));
  });

  it("asks each position for the next token of its row", () => {
    const rows = tokenRows(denseSmall(), 2, 3);
    const { inputs, labels } = denseTokens(denseSmall(), 2, 3);
    expect([...inputs]).toEqual([0, 1, 2, 4, 5, 6].map((at) => rows[at]));
    expect([...labels]).toEqual([1, 2, 3, 5, 6, 7].map((at) => rows[at]));
  });
});
