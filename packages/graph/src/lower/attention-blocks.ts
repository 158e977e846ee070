/**
 * Into which blocks attention is cut. In: widths of queries, keys and values, and how many bytes of arrays a kernel may have. Out: rows and
 * keys of a block, as large as fit, for each of its kernels. Larger blocks read keys and queries less often.
 */

import type { Dim, TensorType } from "../shape.ts";
import { maxDim, multiplyDims } from "../shape.ts";

/** Rows and keys of one block. */
export interface Blocks {
  readonly rows: number;
  readonly keys: number;
  /** The long side: it is cut off at the diagonal. */
  readonly long?: "rows" | "keys";
}

/** Bytes of arrays from which a device is one that runs few iterations at a time. */
const FEW_ITERATIONS_FROM = 2 ** 17;

/**
 * Where there is much room, one side of a block is long: what belongs to the other is then read once for all of it, and sums are
 * added to what was there once instead of block by block.
 */
const manyKeys: Blocks = { rows: 48, keys: 256, long: "keys" };
const manyRows: Blocks = { rows: 256, keys: 48, long: "rows" };
/** What is chosen from otherwise, the best first. */
const square: readonly Blocks[] = [
  { rows: 64, keys: 64 },
  { rows: 32, keys: 64 },
  { rows: 32, keys: 32 },
  { rows: 16, keys: 32 },
  { rows: 16, keys: 16 },
  { rows: 8, keys: 16 },
  { rows: 16, keys: 8 },
];

const fitting = (
  arrayBytes: number,
  floats: (blocks: Blocks) => number,
  long: readonly Blocks[] = [],
): Blocks | undefined =>
  [...(arrayBytes < FEW_ITERATIONS_FROM ? [] : long), ...square].find(
    (blocks) => floats(blocks) * 4 <= arrayBytes,
  );

/** Forward: scores, results, and three numbers for each row. */
export const forwardBlocks = (arrayBytes: number, valueWidth: number): Blocks | undefined =>
  fitting(arrayBytes, ({ rows, keys }) => rows * (keys + valueWidth + 3), [manyKeys]);

/** Backward for queries: scores and the cotangents of all parts of a query. */
export const queryBlocks = (arrayBytes: number, queryWidth: number): Blocks | undefined =>
  fitting(arrayBytes, ({ rows, keys }) => rows * (keys + queryWidth));

/** Backward for keys: scores twice and the cotangents of keys and values. */
export const keyBlocks = (arrayBytes: number, width: number): Blocks | undefined =>
  fitting(arrayBytes, ({ rows, keys }) => keys * (2 * rows + width), [manyRows]);

/**
 * Fewest tokens for which blocks are worth it. With fewer the scores are small, and as blocks leave out what no query sees only
 * where it is a whole block, little is left out.
 */
const FEWEST_TOKENS = 128;

/** Whether there may be so many tokens at once that a matrix of scores is worth avoiding: not so in decoding. */
export const isWorthwhile = (tokens: Dim): boolean => maxDim(tokens) >= FEWEST_TOKENS;

/** Iterations that such a device can keep busy with. */
const ENOUGH_ITERATIONS = 8;

/**
 * Whether one kernel gives the cotangents of queries, keys and values, with scores computed once instead of twice. Its iterations are
 * whole heads of a batch: enough for a few threads, too few for a GPU. Queries' cotangents are added to in memory, so they are f32.
 */
export const isJoint = (q: TensorType, k: TensorType, arrayBytes: number): boolean =>
  arrayBytes >= FEW_ITERATIONS_FROM &&
  q.dtype === "f32" &&
  maxDim(multiplyDims(k.shape[0]!, k.shape[2]!)) >= ENOUGH_ITERATIONS;
