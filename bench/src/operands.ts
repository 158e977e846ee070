/**
 * What goes into each task. In: the task. Out: its operands, the same for every contestant, and the elements of its result
 * that are worth computing twice: in double precision, one by one. Seeds are by operand, so that q is not k.
 */
import type { HostArray } from "@millrace/graph";
import { decodeFloats, encodeFloats } from "@millrace/graph";
import type { AttentionTask, ProductTask, RaggedTask, ScaledTask, Task } from "./case.ts";
import type { Sample } from "./measure/agreement.ts";
import { mixBits, samplePositions, uniform } from "./numbers.ts";
import { storedWeight } from "./weights.ts";
import type { StoredWeight } from "./weights.ts";

/** Keeps the size of elements through a product with `depth` terms. */
const weightScale = (depth: number): number => Math.sqrt(3 / depth);

/** x [m, k] and w as it is stored, [n, k] or [k, n] by the task's layout. */
export function productOperands(task: ProductTask): {
  readonly x: Float32Array<ArrayBuffer>;
  readonly w: StoredWeight;
} {
  const { m, k, n, layout, weights } = task;
  const [rows, columns] = layout === "nk" ? [n, k] : [k, n];
  return { x: uniform(1, m * k), w: storedWeight(weights, rows, columns, 2, weightScale(k)) };
}

/** Values or codes of a weight. */
export type WeightData = Exclude<HostArray, BigInt64Array>;

/**
 * What the product number `copy` of a task multiplies by: the rows [n, k] of the first weight's values or codes, moved up by
 * as many. No two are alike, since a library may find out that they are and keep one, which a cache would hold. Scales are alike in
 * all rows.
 */
export function nthWeight<T extends WeightData>({ n }: ProductTask, data: T, copy: number): T {
  if (copy === 0) return data;
  const rows = data.slice() as T;
  const from = (data.length / n) * (copy % n);
  rows.set(data.subarray(from));
  rows.set(data.subarray(0, from), data.length - from);
  return rows;
}

/** Where each expert's rows start, and the end: loads between half and one and a half of the mean. */
export function raggedOffsets(rows: number, experts: number): Int32Array<ArrayBuffer> {
  const weights = Array.from({ length: experts }, (_, e) => 0.5 + (mixBits(e + 1) >>> 8) / 2 ** 24);
  const total = weights.reduce((a, b) => a + b, 0);
  const offsets = new Int32Array(experts + 1);
  let sum = 0;
  weights.forEach((weight, e) => {
    sum += weight;
    offsets[e + 1] = Math.round((sum / total) * rows);
  });
  return offsets;
}

export function raggedOperands({ rows, k, n, experts }: RaggedTask): {
  readonly x: Float32Array<ArrayBuffer>;
  readonly w: Float32Array<ArrayBuffer>;
  readonly offsets: Int32Array<ArrayBuffer>;
} {
  return {
    x: uniform(1, rows * k),
    w: uniform(2, experts * n * k, weightScale(k)),
    offsets: raggedOffsets(rows, experts),
  };
}

/** Codes of both sides and the one scale that all tiles of a side have. */
export function scaledOperands({ m, k, n }: ScaledTask): {
  readonly x: Uint8Array;
  readonly w: Uint8Array;
  readonly xScale: number;
  readonly wScale: number;
} {
  const codes = (seed: number, count: number): Uint8Array =>
    encodeFloats("e4m3fn", uniform(seed, count, 448)) as Uint8Array;
  return {
    x: codes(1, m * k),
    w: codes(2, n * k),
    xScale: Math.fround(1 / 448),
    wScale: Math.fround(weightScale(k) / 448),
  };
}

/** q [B, T, H, dq], k [B, S, Hkv, dq], v [B, S, Hkv, dv] and the result's cotangent [B, T, H, dv]. */
export function attentionOperands(task: AttentionTask): {
  readonly q: Float32Array<ArrayBuffer>;
  readonly k: Float32Array<ArrayBuffer>;
  readonly v: Float32Array<ArrayBuffer>;
  readonly cotangent: Float32Array<ArrayBuffer>;
} {
  const { batch, tokens, keys, heads, kvHeads, queryWidth, valueWidth } = task;
  return {
    q: uniform(1, batch * tokens * heads * queryWidth, 2),
    k: uniform(2, batch * keys * kvHeads * queryWidth, 2),
    v: uniform(3, batch * keys * kvHeads * valueWidth),
    cotangent: uniform(4, batch * tokens * heads * valueWidth),
  };
}

export const attentionScale = ({ queryWidth }: AttentionTask): number => 1 / Math.sqrt(queryWidth);

/** Sum of a[i] · b[j] over `depth` elements `stepA` and `stepB` apart. */
function dot(
  a: ArrayLike<number>,
  i: number,
  stepA: number,
  b: ArrayLike<number>,
  j: number,
  stepB: number,
  depth: number,
): number {
  let sum = 0;
  for (let d = 0; d < depth; d++) sum += a[i + d * stepA]! * b[j + d * stepB]!;
  return sum;
}

function productSample(task: ProductTask, length: number): Sample {
  const { m, k, n, layout, copies } = task;
  const { x, w } = productOperands(task);
  const [step, next] = layout === "nk" ? [1, k] : [n, 1];
  let rows: ArrayLike<number> = x;
  const element = (at: number, copy: number): number =>
    dot(rows, Math.floor(at / n) * k, 1, w.values, (((at % n) + copy) % n) * next, step, k);
  for (let copy = 0; copy < copies - 1; copy++)
    rows = Float64Array.from({ length: m * n }, (_, at) => element(at, copy));
  return samplePositions(length).map((at) => element(at, copies - 1));
}

function raggedSample(task: RaggedTask, length: number): Sample {
  const { k, n } = task;
  const { x, w, offsets } = raggedOperands(task);
  return samplePositions(length).map((at) => {
    const row = Math.floor(at / n);
    const expert = offsets.findLastIndex((start) => start <= row);
    return dot(x, row * k, 1, w, (expert * n + (at % n)) * k, 1, k);
  });
}

function scaledSample(task: ScaledTask, length: number): Sample {
  const { k, n } = task;
  const { x, w, xScale, wScale } = scaledOperands(task);
  const [left, right] = [decodeFloats("e4m3fn", x), decodeFloats("e4m3fn", w)];
  return samplePositions(length).map(
    (at) => dot(left, Math.floor(at / n) * k, 1, right, (at % n) * k, 1, k) * xScale * wScale,
  );
}

function attentionSample(task: AttentionTask, length: number): Sample {
  const { tokens, keys, heads, kvHeads, queryWidth, valueWidth } = task;
  const { q, k, v } = attentionOperands(task);
  return samplePositions(length).map((at) => {
    const row = Math.floor(at / valueWidth); // (b · T + t) · H + h
    const [h, t] = [row % heads, Math.floor(row / heads) % tokens];
    const b = Math.floor(row / heads / tokens);
    const head = Math.floor((h * kvHeads) / heads);
    const visible = keys - tokens + t + 1;
    const keyRow = (s: number): number => (b * keys + s) * kvHeads + head;
    const scores = Array.from(
      { length: visible },
      (_, s) =>
        dot(q, row * queryWidth, 1, k, keyRow(s) * queryWidth, 1, queryWidth) *
        attentionScale(task),
    );
    const most = Math.max(...scores);
    const weights = scores.map((score) => Math.exp(score - most));
    const total = weights.reduce((a, c) => a + c, 0);
    // A latent's values are the first elements of its keys.
    const [values, width] = task.latent ? [k, queryWidth] : [v, valueWidth];
    const sum = weights.reduce(
      (a, weight, s) => a + weight * values[keyRow(s) * width + (at % valueWidth)]!,
      0,
    );
    return sum / total;
  });
}

/** The sampled elements of a result of `length`, in double precision; undefined where others have to do as reference. */
export function referenceSample(task: Task, length: number): Sample | undefined {
  switch (task.kind) {
    case "product":
      return productSample(task, length);
    case "ragged":
      return raggedSample(task, length);
    case "scaled":
      return scaledSample(task, length);
    case "attention":
      return task.backward ? undefined : attentionSample(task, length);
    default:
      return undefined;
  }
}
