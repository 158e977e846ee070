/**
 * Rotary position embedding in the interleaved layout: elements 2j and 2j+1 of the last axis are turned by
 * position · frequency j. In: x and tables of cosines and sines. Out: x's type; computed in f32. The derivative is the
 * rotation the other way. YaRN (arXiv 2309.00071) changes frequencies only, so it lives in the host function that
 * makes them; its factor on the attention scores belongs to the caller.
 */
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { apply, integer } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import { dimsEqual, formatType, multiplyDims } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { add, convert, cos, mul, neg, sin } from "../ops/elementwise.ts";
import { concatenate, reshape } from "../ops/movement.ts";

export interface YarnOptions {
  /** Base of the frequencies, `rope_theta`. */
  readonly theta: number;
  /** Width of the rotated part, even. */
  readonly dim: number;
  /** How many times longer than the original context; 1 gives plain RoPE. */
  readonly factor: number;
  /** Context length before the extension. */
  readonly originalMaxPosition: number;
  /** Turns within the original context above which a frequency stays. */
  readonly betaFast: number;
  /** Turns below which a frequency is divided by `factor`. */
  readonly betaSlow: number;
}

/** theta^(−2j/dim) for the dim/2 pairs. */
export function ropeInverseFrequencies(theta: number, dim: number): Float32Array {
  if (!Number.isInteger(dim) || dim < 2 || dim % 2 !== 0 || !(theta > 0))
    throw new AttributeError({
      what: `rotary width ${dim} with base ${theta} is not valid`,
      hint: "Give an even width and a positive base.",
    });
  // Every step is rounded to f32, as in the code that published models were trained and checked with: at position 100,000 a
  // frequency that is off in its last bit turns a pair by 0.01.
  return Float32Array.from({ length: dim / 2 }, (_, j) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * j) / dim))),
  );
}

/** Frequencies between plain and divided by `factor`, blended over the pairs between the two betas. */
export function yarnInverseFrequencies(options: YarnOptions): Float32Array {
  const { theta, dim, factor, originalMaxPosition, betaFast, betaSlow } = options;
  const plain = ropeInverseFrequencies(theta, dim);
  if (factor === 1) return plain;
  if (!(factor > 0 && originalMaxPosition > 0 && betaFast > 0 && betaSlow > 0))
    throw new AttributeError({
      what: `YaRN factor ${factor}, original length ${originalMaxPosition}, betas ${betaFast} and ${betaSlow}`,
      hint: "All of them must be positive.",
    });
  const pairOfTurns = (turns: number): number =>
    (dim * Math.log(originalMaxPosition / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const low = Math.max(Math.floor(pairOfTurns(betaFast)), 0);
  const high = Math.min(Math.ceil(pairOfTurns(betaSlow)), dim - 1);
  // Equal ends would divide by zero; a short ramp is what every implementation uses then.
  const width = high === low ? 0.001 : high - low;
  return plain.map((frequency, j) => {
    const ramp = Math.fround(Math.min(Math.max((j - low) / width, 0), 1));
    const kept = Math.fround(1 - ramp);
    const divided = Math.fround(Math.fround(frequency / factor) * Math.fround(1 - kept));
    return Math.fround(divided + Math.fround(frequency * kept));
  });
}

/** Cosines and sines [..., d/2] of positions i32 [...] times frequencies f32 [d/2]. */
export function ropeTables(
  positions: Tensor,
  inverseFrequencies: Tensor,
): { readonly cos: Tensor; readonly sin: Tensor } {
  const column = reshape(convert(positions, "f32"), [...positions.shape, 1]);
  const angles = mul(column, inverseFrequencies);
  return { cos: cos(angles), sin: sin(angles) };
}

/** Exchanges the elements of each pair; its own derivative. */
export const swapPairsOp: OpDefinition<Record<string, never>> = defineOp({
  name: "swap_pairs",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    if (inputs[0]!.shape.at(-1) !== 2)
      throw new ShapeError({
        what: `the last axis of ${formatType(inputs[0]!)} is not a pair`,
        hint: "Reshape it to [..., n, 2].",
      });
    return [inputs[0]!];
  },
  vjp: ({ cotangents: [ct] }) => [ct && applyOne(swapPairsOp, [ct], {})],
  body: {
    class: "movement",
    at: (index, read) => {
      const last = index.length - 1;
      return read(0, index.with(last, apply("sub", integer(1), index[last]!)));
    },
  },
});

export const ropeOp: OpDefinition<Record<string, never>> = defineOp({
  name: "rope",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const [x, cosines, sines] = inputs;
    if (!isFloat(x!.dtype))
      throw new DTypeError({
        what: `does not rotate ${formatType(x!)}`,
        hint: "Convert it to a float dtype.",
      });
    for (const table of [cosines!, sines!]) {
      expectDType(table, ["f32"], "a table");
      const rows = table.shape.slice(0, -1);
      const before = x!.shape.slice(0, -2);
      const skipped = before.length - rows.length;
      const fits =
        x!.shape.length >= 2 &&
        table.shape.length >= 1 &&
        skipped >= 0 &&
        rows.every((dim, i) => dimsEqual(dim, before[skipped + i]!)) &&
        dimsEqual(multiplyDims(table.shape.at(-1)!, 2), x!.shape.at(-1)!);
      if (!fits)
        throw new ShapeError({
          what: `a table ${formatType(table)} does not fit x ${formatType(x!)}`,
          hint: "Give x [..., T, H, d] with tables [T, d/2] or [B, T, d/2].",
        });
    }
    return [x!];
  },
  // The tables hold no parameters, so they get no cotangent.
  vjp: ({ inputs: [, cosines, sines], cotangents: [ct] }) => [
    ct && applyOne(ropeOp, [ct, cosines!, neg(sines!)], {}),
    undefined,
    undefined,
  ],
  body: {
    class: "composite",
    decompose: ([x, cosines, sines]) => {
      const half = cosines!.shape.at(-1)!;
      const rows = cosines!.shape.slice(0, -1);
      // x [..., T, H, d/2, 2]; the tables repeat over heads.
      const pairs = reshape(convert(x!, "f32"), [...x!.shape.slice(0, -1), half, 2]);
      const column = (t: Tensor): Tensor => reshape(t, [...rows, 1, half, 1]);
      // (a, b) → (a cos − b sin, b cos + a sin): the swapped pair times (−sin, sin).
      const signed = concatenate([column(neg(sines!)), column(sines!)], rows.length + 2);
      const swapped = applyOne(swapPairsOp, [pairs], {});
      const turned = add(mul(pairs, column(cosines!)), mul(swapped, signed));
      return [convert(reshape(turned, x!.shape), x!.dtype)];
    },
  },
});

/** Rotates the pairs of `x` [..., T, H, d] by tables [T, d/2] (or [B, T, d/2]) from `ropeTables`. */
export function rope(x: Tensor, cosines: Tensor, sines: Tensor): Tensor {
  return applyOne(ropeOp, [x, cosines, sines], {});
}
