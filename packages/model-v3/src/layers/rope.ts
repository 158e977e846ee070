/**
 * Positions. In: how many tokens stand where. Out: tables of cosines and sines [T, d/2], and the factor on attention scores.
 * YaRN changes both: frequencies are blended, scores get mscale². It is on from position 0 on where the configuration has it.
 * Sources: arXiv 2104.09864, arXiv 2309.00071.
 */
import {
  add,
  iota,
  rope,
  ropeInverseFrequencies,
  ropeTables,
  reshape,
  yarnInverseFrequencies,
} from "@millrace/graph";
import type { Dim, GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";

/** Cosines and sines [T, d/2] of every position and frequency. */
export interface RotaryTables {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** The d/2 rotary frequencies. */
export function inverseFrequencies(config: ModelConfig): Float32Array {
  const { ropeTheta: theta, qkRopeHeadDim: dim, ropeScaling: yarn } = config;
  if (!yarn) return ropeInverseFrequencies(theta, dim);
  const { factor, originalMaxPositionEmbeddings: originalMaxPosition, betaFast, betaSlow } = yarn;
  return yarnInverseFrequencies({ theta, dim, factor, originalMaxPosition, betaFast, betaSlow });
}

/** Tables for `tokens` positions from `start` (i32 [], 0 where absent) on. */
export function rotaryTables(
  b: GraphBuilder,
  config: ModelConfig,
  tokens: Dim,
  start?: Tensor,
): RotaryTables {
  const data = inverseFrequencies(config);
  const frequencies = b.constant({ dtype: "f32", shape: [data.length], data }); // [d/2]
  const index = iota(b, "i32", [tokens], 0); // [T]
  const positions = start ? add(index, start) : index; // [T]
  return ropeTables(positions, frequencies); // [T, d/2] twice
}

/** Rotates heads x [B, T, H, d]. */
export function rotate(x: Tensor, tables: RotaryTables): Tensor {
  return rope(x, tables.cos, tables.sin); // [B, T, H, d]
}

/** Rotates one vector per token, x [B, T, d]. */
export function rotateShared(x: Tensor, tables: RotaryTables): Tensor {
  const [batch, tokens, width] = x.shape;
  const heads = reshape(x, [batch!, tokens!, 1, width!]); // [B, T, 1, d]
  return reshape(rotate(heads, tables), x.shape); // [B, T, d]
}

/** Factor on attention scores: 1/sqrt(width of a query), times mscale² under YaRN. */
export function softmaxScale(config: ModelConfig): number {
  const { attention, qkNopeHeadDim, qkRopeHeadDim, ropeScaling: yarn } = config;
  const width = attention === "mla" ? qkNopeHeadDim + qkRopeHeadDim : qkNopeHeadDim;
  if (!yarn || yarn.factor <= 1) return width ** -0.5;
  const mscale = 0.1 * yarn.mscaleAllDim * Math.log(yarn.factor) + 1;
  return width ** -0.5 * mscale * mscale;
}
