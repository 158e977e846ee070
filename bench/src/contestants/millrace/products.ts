/**
 * Our products. In: a task. Out: one program that computes it: plain or in narrow weights, over experts' rows, in FP8 blocks.
 */
import type { Backend, HostTensor } from "@millrace/graph";
import { declare, raggedDot, scaledDot } from "@millrace/graph";
import type { ProductTask, RaggedTask, ScaledTask } from "../../case.ts";
import type { WeightData } from "../../operands.ts";
import { nthWeight, productOperands, raggedOperands, scaledOperands } from "../../operands.ts";
import { BLOCK } from "../../weights.ts";
import type { Prepared } from "../contestant.ts";
import { f32, overStates } from "./program.ts";
import type { WeightParts } from "./weights.ts";
import { declareProduct, ourForm, weightStates } from "./weights.ts";

export function prepareProduct(task: ProductTask, backend: Backend): Promise<Prepared> {
  const { m, k, n, layout, weights, copies } = task;
  const { x, w } = productOperands(task);
  const parts = ourForm(weights, w.stored);
  const names = Array.from({ length: copies }, (_, i) => `w${i}`);
  const graph = declare("product", (b) => {
    let rows = b.state("x", "f32", [m, k]);
    const contract = layout === "nk" ? 1 : 0;
    for (const name of names) rows = declareProduct(b, rows, name, weights, parts, contract);
    b.update(b.state("y", "f32", [m, n]), rows);
    return {};
  });
  const states: Record<string, HostTensor> = { x: f32([m, k], x) };
  for (const [copy, name] of names.entries())
    Object.assign(states, weightStates(name, { ...parts, codes: codesOf(task, parts, copy) }));
  return overStates(graph, backend, states, ["y"]);
}

/** The codes of one of the weights. */
function codesOf(task: ProductTask, parts: WeightParts, copy: number): HostTensor {
  const { dtype, shape, data } = parts["codes"]!;
  return { dtype, shape, data: nthWeight(task, data as WeightData, copy) };
}

export function prepareRagged(task: RaggedTask, backend: Backend): Promise<Prepared> {
  const { rows, k, n, experts } = task;
  const { x, w, offsets } = raggedOperands(task);
  const graph = declare("ragged", (b) => {
    const product = raggedDot(
      b.state("x", "f32", [rows, k]),
      b.state("w", "f32", [experts, n, k]),
      b.state("offsets", "i32", [experts + 1]),
    );
    b.update(b.state("y", "f32", [rows, n]), product);
    return {};
  });
  const states = {
    x: f32([rows, k], x),
    w: f32([experts, n, k], w),
    offsets: { dtype: "i32", shape: [experts + 1], data: offsets } as const,
  };
  return overStates(graph, backend, states, ["y"]);
}

export function prepareScaled(task: ScaledTask, backend: Backend): Promise<Prepared> {
  const { m, k, n } = task;
  const { x, w, xScale, wScale } = scaledOperands(task);
  const tiles = Math.ceil(k / BLOCK);
  const blocks = Math.ceil(n / BLOCK);
  const graph = declare("scaled", (b) => {
    const product = scaledDot(
      b.state("x", "e4m3fn", [m, k]),
      b.state("x.scales", "f32", [m, tiles]),
      b.state("w", "e4m3fn", [n, k]),
      b.state("w.scales", "f32", [blocks, tiles]),
    );
    b.update(b.state("y", "f32", [m, n]), product);
    return {};
  });
  const filled = (shape: readonly [number, number], value: number): HostTensor =>
    f32(shape, new Float32Array(shape[0] * shape[1]).fill(value));
  const states: Record<string, HostTensor> = {
    x: { dtype: "e4m3fn", shape: [m, k], data: x },
    "x.scales": filled([m, tiles], xScale),
    w: { dtype: "e4m3fn", shape: [n, k], data: w },
    "w.scales": filled([blocks, tiles], wScale),
  };
  return overStates(graph, backend, states, ["y"]);
}
