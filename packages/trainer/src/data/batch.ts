/**
 * Batches. In: packed tokens, a batch size, a sequence length, a seed. Out: for every step, the same batch every time
 * it is asked for. Each pass over the data visits every window once, in an order and from an offset of its own;
 * since both come from counters, resuming at step n needs nothing but n.
 */
import { AttributeError, InputError } from "@millrace/graph";

import { counterBits, permuteIndex } from "./counter-random.ts";
import type { TokenArray } from "./packing.ts";

/** `batchSize` rows of `sequenceLength + 1` tokens: inputs are all but the last, labels all but the first. */
export interface Batch {
  readonly inputIds: Int32Array;
  readonly batchSize: number;
  /** Tokens per row, labels included: the sequence length plus one. */
  readonly width: number;
}

export interface BatchOptions {
  readonly tokens: TokenArray;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly seed: number;
}

/** Source of training batches; a pure function of the step. */
export interface BatchSource {
  readonly tokensPerBatch: number;
  /** Steps after which every window has been seen once, rounded up. */
  readonly stepsPerPass: number;
  batchAt(step: number): Batch;
}

/** Training batches from `tokens`. */
export function createBatchSource(options: BatchOptions): BatchSource {
  const { tokens, batchSize, sequenceLength, seed } = options;
  checkSizes(batchSize, sequenceLength);
  if (tokens.length < sequenceLength + 1)
    throw new InputError({
      what: `the training text has ${tokens.length} tokens, but one sequence takes ${sequenceLength + 1}`,
      where: "training data",
      hint: "Add text, or train with shorter sequences.",
    });
  const width = sequenceLength + 1;
  // One window fewer than would fit leaves room to shift them all by up to a whole window.
  const windows = Math.max(1, Math.floor((tokens.length - sequenceLength) / sequenceLength));
  const shifts = Math.min(sequenceLength, tokens.length - windows * sequenceLength);
  return {
    tokensPerBatch: batchSize * sequenceLength,
    stepsPerPass: Math.ceil(windows / batchSize),
    batchAt(step) {
      if (!Number.isSafeInteger(step) || step < 0)
        throw new AttributeError({
          what: `batch of step ${step}`,
          where: "batchAt",
          hint: "Steps count from 0.",
        });
      const inputIds = new Int32Array(batchSize * width);
      for (let row = 0; row < batchSize; row++) {
        const index = step * batchSize + row;
        const pass = Math.floor(index / windows);
        const window = permuteIndex(index % windows, windows, counterBits(seed, pass, 0));
        const shift = counterBits(seed, pass, 1) % shifts;
        const start = shift + window * sequenceLength;
        inputIds.set(tokens.subarray(start, start + width), row * width);
      }
      return { inputIds, batchSize, width };
    },
  };
}

/**
 * The held-out tokens as full batches, in order, each token a label at most once. `maxBatches` bounds the work; batches
 * are then spread evenly. Empty when the tokens do not fill one batch.
 */
export function heldOutBatches(options: {
  readonly tokens: TokenArray;
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly maxBatches?: number | undefined;
}): readonly Batch[] {
  const { tokens, batchSize, sequenceLength } = options;
  checkSizes(batchSize, sequenceLength);
  const width = sequenceLength + 1;
  const windows = Math.floor(Math.max(0, tokens.length - 1) / sequenceLength);
  const available = Math.floor(windows / batchSize);
  const count = Math.min(available, options.maxBatches ?? available);
  return Array.from({ length: count }, (_, index) => {
    const first = Math.floor((index * available) / count) * batchSize;
    const inputIds = new Int32Array(batchSize * width);
    for (let row = 0; row < batchSize; row++) {
      const start = (first + row) * sequenceLength;
      inputIds.set(tokens.subarray(start, start + width), row * width);
    }
    return { inputIds, batchSize, width };
  });
}

/** Bits per byte of text from a mean loss in nats per token over `tokens` tokens that encode `bytes` bytes. */
export function bitsPerByte(meanLoss: number, tokens: number, bytes: number): number {
  return (meanLoss / Math.LN2) * (tokens / bytes);
}

function checkSizes(batchSize: number, sequenceLength: number): void {
  for (const [name, value] of [
    ["batchSize", batchSize],
    ["sequenceLength", sequenceLength],
  ] as const)
    if (!Number.isSafeInteger(value) || value < 1)
      throw new AttributeError({
        what: `${name} is ${value}`,
        where: "batch",
        hint: "Pass a whole number from 1.",
      });
}
