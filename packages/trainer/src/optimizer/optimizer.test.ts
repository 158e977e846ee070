import { declare, hostTensor, type HostTensor } from "@millrace/graph";
import { interpret } from "@millrace/kernels-cpu";
import { describe, expect, it } from "vitest";

import { updatedBias } from "../balance/bias-update.ts";
import { adamW, defaultAdamW } from "./adamw.ts";
import { clipByGlobalNorm } from "./clip.ts";
import { learningRateAt, scheduleOver } from "./schedule.ts";

const numbers = (tensor: { data: unknown } | undefined): number[] =>
  Array.from(tensor!.data as ArrayLike<number>);

describe("adamW", () => {
  it("is the published rule, over several steps", () => {
    const graph = declare("adamw", (b) => {
      const optimizer = adamW(
        b,
        b.input("rate", "f32", []),
        b.input("step", "i32", []),
        defaultAdamW,
      );
      const w = b.parameter("w", "f32", [3]);
      optimizer.update("w", w, b.input("g", "f32", [3]));
      return {};
    });
    const start = [1, -2, 0.5];
    const gradients = [
      [0.1, -3, 0],
      [-0.2, 1, 0],
      [0.3, 0.01, 1e-4],
    ];
    let states: Record<string, HostTensor> = { w: hostTensor("f32", [3], start) };
    const w = [...start];
    const m = [0, 0, 0];
    const v = [0, 0, 0];
    gradients.forEach((g, i) => {
      const t = i + 1;
      const rate = 0.01 * t;
      states = interpret(
        graph,
        {
          g: hostTensor("f32", [3], g),
          rate: hostTensor("f32", [], [rate]),
          step: hostTensor("i32", [], [t]),
        },
        { states },
      ).states;
      g.forEach((x, j) => {
        m[j] = 0.9 * m[j]! + 0.1 * x;
        v[j] = 0.95 * v[j]! + 0.05 * x * x;
        const step = m[j] / (1 - 0.9 ** t) / (Math.sqrt(v[j] / (1 - 0.95 ** t)) + 1e-8);
        w[j] = w[j]! * (1 - rate * 0.1) - rate * step;
      });
      numbers(states["w"]).forEach((x, j) => expect(x).toBeCloseTo(w[j]!, 5));
      numbers(states["adam.m.w"]).forEach((x, j) => expect(x).toBeCloseTo(m[j]!, 6));
      numbers(states["adam.v.w"]).forEach((x, j) => expect(x).toBeCloseTo(v[j]!, 6));
    });
  });
});

describe("clipByGlobalNorm", () => {
  const clip = (a: number[], b: number[]): number[] => {
    const graph = declare("clip", (builder) => {
      const { norm, factor } = clipByGlobalNorm(
        [builder.input("a", "f32", [2]), builder.input("b", "f32", [1, 1])],
        2,
      );
      return { norm, factor };
    });
    const { outputs } = interpret(graph, {
      a: hostTensor("f32", [2], a),
      b: hostTensor("f32", [1, 1], b),
    });
    return [...numbers(outputs["norm"]), ...numbers(outputs["factor"])];
  };

  it("scales down to the maximum, over all tensors together", () => {
    const [norm, factor] = clip([2, 3], [6]);
    expect(norm).toBeCloseTo(7, 6);
    expect(factor).toBeCloseTo(2 / 7, 6);
  });

  it("leaves small and zero gradients alone", () => {
    expect(clip([0, 1], [1])[1]).toBe(1);
    expect(clip([0, 0], [0])).toEqual([0, 1]);
  });
});

describe("updatedBias", () => {
  it("moves by the speed towards even loads, and not at the mean", () => {
    const graph = declare("bias", (b) => ({
      bias: updatedBias(b.input("bias", "f32", [4]), b.input("load", "i32", [4]), 0.5),
    }));
    const { outputs } = interpret(graph, {
      bias: hostTensor("f32", [4], [1, 2, 3, 4]),
      load: hostTensor("i32", [4], [0, 3, 3, 6]),
    });
    expect(numbers(outputs["bias"])).toEqual([1.5, 2, 3, 3.5]);
  });
});

describe("schedule", () => {
  it("warms up, stays, and falls to its floor", () => {
    const schedule = { peak: 1, floor: 0.1, warmupSteps: 4, constantSteps: 3, decaySteps: 2 };
    const rates = Array.from({ length: 11 }, (_, i) => learningRateAt(i + 1, schedule));
    const expected = [0.25, 0.5, 0.75, 1, 1, 1, 1, 0.55, 0.1, 0.1, 0.1];
    rates.forEach((rate, i) => expect(rate).toBeCloseTo(expected[i]!, 12));
  });

  it.each([1, 2, 3, 10, 300, 100_000])("spans a run of %i steps", (steps) => {
    const schedule = scheduleOver(steps, 0.02);
    const { warmupSteps, constantSteps, decaySteps } = schedule;
    expect(warmupSteps + constantSteps + decaySteps).toBe(steps);
    for (const part of [warmupSteps, constantSteps, decaySteps])
      expect(part).toBeGreaterThanOrEqual(0);
    for (const step of [1, Math.ceil(steps / 2), steps]) {
      expect(learningRateAt(step, schedule)).toBeGreaterThan(0);
      expect(learningRateAt(step, schedule)).toBeLessThanOrEqual(0.02);
    }
  });

  it("refuses step 0", () => {
    expect(() => learningRateAt(0, scheduleOver(10, 1))).toThrow(/Steps count from 1/);
  });
});
