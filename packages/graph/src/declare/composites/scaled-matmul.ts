/**
 * Products of block-scaled E4M3 values. In: codes with their scales, or floats to be quantised on the way. Out: f32 sums.
 * The decomposition multiplies codes by scales in f32 and accumulates in f32 from the first element on. Promoting every
 * 128 elements, as tensor cores of 14 bits need it, would change the order of roundings and nothing else.
 * `fp8Linear` and `fp8RaggedDot` are the recipe of a Linear (arXiv 2412.19437 §3.3): all three products take FP8
 * operands, the gradient passes straight through the quantisation to the master weights. What the backward pass needs
 * of the forward pass are codes and scales, which are outputs of the op, so x itself need not be kept.
 */
import { isFloat } from "../../dtype.ts";
import { DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { TensorType } from "../../shape.ts";
import { dimsEqual, formatType, shapeSize } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, applyOp, defineOp, expectInputs } from "../define-op.ts";
import { dotGeneral, expectOffsets, raggedDot, raggedOuter } from "../ops/contract.ts";
import { convert } from "../ops/elementwise.ts";
import { reshape, transpose } from "../ops/movement.ts";
import type { Quantized } from "./block-quantize.ts";
import {
  blockDequantize,
  blockQuantize,
  expectScales,
  gradientAmax,
  quantizeTiles,
  scaleShape,
  tileSize,
} from "./block-quantize.ts";

/** A quantised matrix with the tile it was cut by and the axis that the product sums over. */
export interface ScaledOperand extends Quantized {
  readonly tile: readonly number[];
  readonly contract: number;
}

type ScaledDotAttributes = {
  readonly aTile: readonly number[];
  readonly bTile: readonly number[];
  readonly aContract: number;
  readonly bContract: number;
};

const rows = [1, tileSize];
const columns = [tileSize, 1];
const blocks = [tileSize, tileSize];
const expertBlocks = [1, tileSize, tileSize];

function expectMatrices(inputs: readonly TensorType[], ranks: readonly number[]): void {
  inputs.forEach((type, i) => {
    if (!isFloat(type.dtype))
      throw new DTypeError({
        what: `does not take ${formatType(type)}`,
        hint: "Pass float codes and f32 scales.",
      });
    if (type.shape.length !== ranks[i])
      throw new ShapeError({
        what: `${formatType(type)} does not have ${ranks[i]} axes`,
        hint: "Reshape it.",
      });
  });
}

export const scaledDotOp: OpDefinition<ScaledDotAttributes> = defineOp<ScaledDotAttributes>({
  name: "scaled_dot",
  infer: (inputs, { aTile, bTile, aContract, bContract }) => {
    expectInputs(inputs, 4);
    expectMatrices(inputs, [2, 2, 2, 2]);
    const [a, aScales, b, bScales] = inputs;
    expectScales(a!, aScales!, aTile);
    expectScales(b!, bScales!, bTile);
    if (!dimsEqual(a!.shape[aContract]!, b!.shape[bContract]!))
      throw new ShapeError({
        what: `axis ${aContract} of ${formatType(a!)} and axis ${bContract} of ${formatType(b!)} differ`,
        hint: "Both operands must have as many elements along the axis that is summed.",
      });
    return [{ dtype: "f32", shape: [a!.shape[1 - aContract]!, b!.shape[1 - bContract]!] }];
  },
  body: {
    class: "composite",
    decompose: ([a, aScales, b, bScales], { aTile, bTile, aContract, bContract }) => [
      dotGeneral(
        blockDequantize({ codes: a!, scales: aScales! }, aTile),
        blockDequantize({ codes: b!, scales: bScales! }, bTile),
        { lhsContract: [aContract], rhsContract: [bContract], dtype: "f32" },
      ),
    ],
  },
});

/** Product f32 of two quantised matrices, summed over one axis of each. */
export function scaledDotGeneral(a: ScaledOperand, b: ScaledOperand): Tensor {
  return applyOne(scaledDotOp, [a.codes, a.scales, b.codes, b.scales], {
    aTile: a.tile,
    bTile: b.tile,
    aContract: a.contract,
    bContract: b.contract,
  });
}

/** a [M, K] in 1 × 128 tiles times the rows of b [N, K] in 128 × 128 blocks: f32 [M, N]. */
export function scaledDot(a: Tensor, aScales: Tensor, b: Tensor, bScales: Tensor): Tensor {
  return scaledDotGeneral(
    { codes: a, scales: aScales, tile: rows, contract: 1 },
    { codes: b, scales: bScales, tile: blocks, contract: 1 },
  );
}

export const raggedScaledDotOp: OpDefinition<Record<string, never>> = defineOp({
  name: "ragged_scaled_dot",
  infer: (inputs) => {
    expectInputs(inputs, 5);
    expectMatrices(inputs.slice(0, 4), [2, 2, 3, 3]);
    const [a, aScales, b, bScales, offsets] = inputs;
    expectScales(a!, aScales!, rows);
    expectScales(b!, bScales!, expertBlocks);
    if (!dimsEqual(a!.shape[1]!, b!.shape[2]!))
      throw new ShapeError({
        what: `rows ${formatType(a!)} do not fit experts ${formatType(b!)}`,
        hint: "Give a [R, K] and b [E, N, K].",
      });
    expectOffsets(offsets!, b!.shape[0]!);
    return [{ dtype: "f32", shape: [a!.shape[0]!, b!.shape[1]!] }];
  },
  body: {
    class: "composite",
    decompose: ([a, aScales, b, bScales, offsets]) => [
      raggedDot(
        blockDequantize({ codes: a!, scales: aScales! }, rows),
        blockDequantize({ codes: b!, scales: bScales! }, expertBlocks),
        offsets!,
        "f32",
      ),
    ],
  },
});

/** Rows offsets[e] to offsets[e+1] of a [R, K] (1 × 128) times the rows of b[e], b [E, N, K] (128 × 128): f32 [R, N]. */
export function raggedScaledDot(
  a: Tensor,
  aScales: Tensor,
  b: Tensor,
  bScales: Tensor,
  offsets: Tensor,
): Tensor {
  return applyOne(raggedScaledDotOp, [a, aScales, b, bScales, offsets], {});
}

/** x [..., K] quantised in 1 × 128 tiles, times a weight that is stored as codes [N, K] and block scales. For inference. */
export function scaledLinear(x: Tensor, codes: Tensor, scales: Tensor): Tensor {
  const flat = quantizeTiles(asMatrix(x));
  const y = scaledDot(flat.codes, flat.scales, codes, scales);
  return reshape(convert(y, x.dtype), [...x.shape.slice(0, -1), codes.shape[0]!]);
}

function asMatrix(x: Tensor): Tensor {
  const width = x.shape.at(-1);
  if (width !== undefined) return reshape(x, [shapeSize(x.shape.slice(0, -1)), width]);
  throw new ShapeError({
    what: `${formatType(x.type)} has no axis to sum over`,
    hint: "Give x as [..., K].",
  });
}

type RecipeAttributes = {
  readonly powerOfTwoInput: boolean;
  readonly powerOfTwoGradient: boolean;
};

/** Where scales are powers of two; both off unless the recipe asks for it. */
export interface Fp8Options {
  /** Scales of x: the Linear after attention, and what is dispatched to experts. */
  readonly powerOfTwoInput?: boolean;
  /** Scales of the incoming gradient: the experts' down-projection. */
  readonly powerOfTwoGradient?: boolean;
}

const recipeOf = (options: Fp8Options): RecipeAttributes => ({
  powerOfTwoInput: options.powerOfTwoInput ?? false,
  powerOfTwoGradient: options.powerOfTwoGradient ?? false,
});

/** The product, then codes and scales of both operands for the backward pass. */
function inferRecipe(
  x: TensorType,
  w: TensorType,
  wTile: readonly number[],
): readonly TensorType[] {
  expectMatrices([x, w], [2, wTile.length]);
  if (!dimsEqual(x.shape[1]!, w.shape.at(-1)!))
    throw new ShapeError({
      what: `x ${formatType(x)} does not fit weights ${formatType(w)}`,
      hint: "Their last axes must be equal.",
    });
  return [
    { dtype: x.dtype, shape: [x.shape[0]!, w.shape.at(-2)!] },
    { dtype: "e4m3fn", shape: x.shape },
    { dtype: "f32", shape: scaleShape(x.shape, rows) },
    { dtype: "e4m3fn", shape: w.shape },
    { dtype: "f32", shape: scaleShape(w.shape, wTile) },
  ];
}

/** A gradient has the dtype of what it is the gradient of. */
const inDTypeOf = (x: Tensor, like: Tensor): Tensor => convert(x, like.dtype);

export const fp8LinearOp: OpDefinition<RecipeAttributes> = defineOp<RecipeAttributes>({
  name: "fp8_linear",
  infer: (inputs) => {
    expectInputs(inputs, 2);
    return inferRecipe(inputs[0]!, inputs[1]!, blocks);
  },
  vjp: ({ attrs, inputs: [x, w], outputs, cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined];
    const [, xCodes, xScales, wCodes, wScales] = outputs as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const gradientOptions = { ue8m0: attrs.powerOfTwoGradient, smallestAmax: gradientAmax };
    const dx = scaledDotGeneral(
      { ...blockQuantize(ct, rows, gradientOptions), tile: rows, contract: 1 },
      { codes: wCodes, scales: wScales, tile: blocks, contract: 0 },
    );
    // The sum runs over tokens, so scales must be constant along tokens: 1 × 128 becomes 128 × 1. A number of tokens that
    // is known only at run time cannot be cut into tiles; then tiles stay along the features.
    const tile = typeof x!.shape[0] === "number" ? columns : rows;
    const kept = { codes: xCodes, scales: xScales };
    const activations =
      tile === rows
        ? kept
        : blockQuantize(blockDequantize(kept, rows), tile, { ue8m0: attrs.powerOfTwoInput });
    const dw = scaledDotGeneral(
      { ...blockQuantize(ct, tile, gradientOptions), tile, contract: 0 },
      { ...activations, tile, contract: 0 },
    );
    return [inDTypeOf(dx, x!), inDTypeOf(dw, w!)];
  },
  body: {
    class: "composite",
    decompose: ([x, w], { powerOfTwoInput }) => {
      const a = blockQuantize(x!, rows, { ue8m0: powerOfTwoInput });
      const b = blockQuantize(w!, blocks);
      const y = scaledDot(a.codes, a.scales, b.codes, b.scales);
      return [convert(y, x!.dtype), a.codes, a.scales, b.codes, b.scales];
    },
  },
});

/** x [..., K] times the rows of master weights w [N, K], both quantised on the way; see the file's head. */
export function fp8Linear(x: Tensor, w: Tensor, options: Fp8Options = {}): Tensor {
  const y = applyOp(fp8LinearOp, [asMatrix(x), w], recipeOf(options))[0]!;
  return reshape(y, [...x.shape.slice(0, -1), w.shape[0]!]);
}

export const fp8RaggedDotOp: OpDefinition<RecipeAttributes> = defineOp<RecipeAttributes>({
  name: "fp8_ragged_dot",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const types = inferRecipe(inputs[0]!, inputs[1]!, expertBlocks);
    expectOffsets(inputs[2]!, inputs[1]!.shape[0]!);
    return types;
  },
  vjp: ({ attrs, inputs: [x, w, offsets], outputs, cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined, undefined];
    const [, xCodes, xScales, wCodes, wScales] = outputs as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const gradientOptions = { ue8m0: attrs.powerOfTwoGradient, smallestAmax: gradientAmax };
    const dy = blockQuantize(ct, rows, gradientOptions);
    const dx = raggedScaledDot(
      dy.codes,
      dy.scales,
      transpose(wCodes),
      transpose(wScales),
      offsets!,
    );
    // Tiles of 128 tokens would cross from one expert's rows into the next one's, so that an expert's gradient would
    // depend on how many rows its neighbours got. Both sides keep their 1 × 128 tiles along features instead.
    const dw = raggedOuter(
      blockDequantize(dy, rows),
      blockDequantize({ codes: xCodes, scales: xScales }, rows),
      offsets!,
      "f32",
    );
    return [inDTypeOf(dx, x!), inDTypeOf(dw, w!), undefined];
  },
  body: {
    class: "composite",
    decompose: ([x, w, offsets], { powerOfTwoInput }) => {
      const a = blockQuantize(x!, rows, { ue8m0: powerOfTwoInput });
      const b = blockQuantize(w!, expertBlocks);
      const y = raggedScaledDot(a.codes, a.scales, b.codes, b.scales, offsets!);
      return [convert(y, x!.dtype), a.codes, a.scales, b.codes, b.scales];
    },
  },
});

/** Rows offsets[e] to offsets[e+1] of x [R, K] times the rows of w[e], w [E, N, K], quantised on the way: [R, N]. */
export function fp8RaggedDot(
  x: Tensor,
  w: Tensor,
  offsets: Tensor,
  options: Fp8Options = {},
): Tensor {
  return applyOp(fp8RaggedDotOp, [x, w, offsets], recipeOf(options))[0]!;
}
