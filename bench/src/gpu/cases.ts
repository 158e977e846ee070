/**
 * What is measured on a GPU. In: whether to be quick: small sizes that show that everything runs and say nothing of speed. Out: tasks
 * with the operations of one run, and the bytes of its operands and results, each counted once.
 */
import type { AttentionTask, RunTask } from "../case.ts";
import { activeElements, forwardFlops, trainingFlops } from "../model-values.ts";
import { denseLarge, v3Small } from "../shapes.ts";

/** x [m, k] times w [n, k], all of it in f16. */
export interface HalfTask {
  readonly kind: "half";
  readonly m: number;
  readonly k: number;
  readonly n: number;
}

export type GpuTask = RunTask | HalfTask;

export interface GpuCase {
  readonly id: string;
  /** First column of the table. */
  readonly label: string;
  readonly task: GpuTask;
  /** Floating-point operations of one run, by the model. */
  readonly flops: number;
  /** Bytes of one run at least; those of the program's states unless they are told here. */
  readonly bytes?: number;
  /** Which product ceiling it is held against. */
  readonly ceiling: "f32" | "f16";
  /** Largest difference of a sampled element, relative to the root mean square of all sampled ones. */
  readonly tolerance: number;
}

const close = 1e-4;

function productCases(quick: boolean): GpuCase[] {
  const side = quick ? 256 : 4096;
  const flops = 2 * side ** 3;
  const narrow = quick ? 256 : 7168;
  const [rows, experts, k, n] = quick ? [256, 4, 128, 128] : [8192, 16, 2048, 1408];
  return [
    {
      id: "product-f32",
      label: `f32, ${side}³`,
      task: { kind: "product", m: side, k: side, n: side, layout: "nk", weights: "f32", copies: 1 },
      flops,
      ceiling: "f32",
      tolerance: close,
    },
    {
      id: "product-f16",
      label: `f16, ${side}³`,
      task: { kind: "half", m: side, k: side, n: side },
      flops,
      ceiling: "f16",
      tolerance: 1e-2,
    },
    {
      id: "product-fp8",
      label: `FP8 in blocks, ${side} × ${narrow} × ${side}`,
      task: { kind: "scaled", m: side, k: narrow, n: side },
      flops: 2 * side * narrow * side,
      ceiling: "f16",
      tolerance: close,
    },
    {
      id: "product-ragged",
      label: `ragged, ${rows} rows over ${experts} experts, ${k} × ${n}`,
      task: { kind: "ragged", rows, k, n, experts },
      flops: 2 * rows * k * n,
      ceiling: "f32",
      tolerance: close,
    },
    {
      id: "product-vector",
      label: `f32, 1 × ${side} × ${side}`,
      task: { kind: "product", m: 1, k: side, n: side, layout: "nk", weights: "f32", copies: 1 },
      flops: 2 * side ** 2,
      ceiling: "f32",
      tolerance: close,
    },
  ];
}

function attentionCase(task: Omit<AttentionTask, "kind" | "batch">): GpuCase {
  const { tokens, keys, heads, queryWidth, valueWidth, backward } = task;
  const pairs = tokens * (keys - tokens) + (tokens * (tokens + 1)) / 2;
  const widths = `${queryWidth}/${valueWidth}`;
  const what = keys > tokens ? `${tokens} token over ${keys} cached` : `${tokens} tokens`;
  return {
    id: `attention-${queryWidth}-${valueWidth}-${tokens}${backward ? "-backward" : ""}`,
    label: `attention ${widths}, ${what}, ${heads} heads${backward ? ", forward and backward" : ""}`,
    task: { kind: "attention", batch: 1, ...task },
    flops: 2 * heads * pairs * (queryWidth + valueWidth) * (backward ? 3 : 1),
    ceiling: "f32",
    tolerance: 1e-3,
  };
}

function attentionCases(quick: boolean): GpuCase[] {
  const [tokens, heads] = quick ? [64, 2] : [2048, 16];
  const naive = { queryWidth: 192, valueWidth: 128, latent: false };
  const absorbed = { queryWidth: 576, valueWidth: 512, latent: true, kvHeads: 1 };
  return [
    ...[false, true].map((backward) =>
      attentionCase({ ...naive, tokens, keys: tokens, heads, kvHeads: heads, backward }),
    ),
    ...[false, true].map((backward) =>
      attentionCase({ ...absorbed, tokens, keys: tokens, heads, backward }),
    ),
    attentionCase({ ...absorbed, tokens: 1, keys: quick ? 256 : 8192, heads, backward: false }),
  ];
}

function modelCases(quick: boolean): GpuCase[] {
  const full = v3Small();
  const smaller = { vocabSize: 64, hiddenSize: 64, moeIntermediateSize: 32, intermediateSize: 64 };
  const v3 = quick ? { ...full, ...smaller, numHiddenLayers: 2 } : full;
  const [batch, tokens] = quick ? [1, 16] : [4, 256];
  const dense = denseLarge(quick);
  const [start, count] = quick ? [4, 4] : [64, 16];
  const weightBytes = 4 * activeElements(dense);
  return [
    {
      id: "train",
      label: `training step, small V3, ${v3.numHiddenLayers} layers, ${batch} × ${tokens} tokens`,
      task: { kind: "train", config: v3, batch, tokens },
      flops: trainingFlops(v3, batch, tokens),
      ceiling: "f32",
      tolerance: close,
    },
    {
      id: "decode",
      label: `decoding, ${Math.round(weightBytes / 1e6)} MB of f32 weights, ${count} tokens`,
      task: { kind: "generate", phase: "decode", config: dense, weights: "f32", start, count },
      flops: forwardFlops(dense, start + (count + 1) / 2) * count,
      bytes: weightBytes * count,
      ceiling: "f32",
      tolerance: close,
    },
  ];
}

/** In the order of the table. */
export function gpuCases(quick: boolean): GpuCase[] {
  return [...productCases(quick), ...attentionCases(quick), ...modelCases(quick)];
}
