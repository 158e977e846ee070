/**
 * Quantisation to E4M3 with one f32 scale per tile. In: floats and a tile size for each axis, such as 1 × 128 for
 * activations and 128 × 128 for weights. Out: codes and scales, and back: value = code · scale. The scale is the tile's
 * largest magnitude, at least 1e-4, divided by 448, so that the largest value becomes the format's largest; `ue8m0`
 * rounds it up to a power of two. Tiles at the end of an axis may be smaller. Divisions are exact f32 divisions: with a
 * reciprocal, codes would differ by one here and there. Source: arXiv 2412.19437 §3.3.2.
 */
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { largestFinite } from "../../float-formats.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, Shape, TensorType } from "../../shape.ts";
import { formatShape, formatType, shapesEqual } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, applyOp, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo } from "../ops/broadcast.ts";
import {
  abs,
  add,
  bitAnd,
  bitcast,
  convert,
  div,
  lt,
  maximum,
  mul,
  select,
} from "../ops/elementwise.ts";
import { pad, reshape, slice } from "../ops/movement.ts";
import { max } from "../ops/reduce.ts";

/** Codes e4m3fn and their scales f32, one for each tile. */
export interface Quantized {
  readonly codes: Tensor;
  readonly scales: Tensor;
}

export interface QuantizeOptions {
  /** Scales are powers of two, rounded up. */
  readonly ue8m0?: boolean;
  /** Smallest magnitude that a tile's scale is made for: a tile of zeros has a scale too. 1e-4 unless told. */
  readonly smallestAmax?: number;
}

/** Tile side of the recipe. */
export const tileSize = 128;

/** What DeepSeek's kernel for activations takes. */
const activationAmax = 1e-4;

/** For gradients: those of a mean over many tokens lie far below 1e-4, and would be left few bits by that scale. */
export const gradientAmax = 1e-30;

/** How one axis is cut. A tile that is longer than the axis is cut to it, so that nothing is padded. */
interface Cut {
  readonly size: Dim;
  readonly tile: number;
  readonly count: Dim;
}

function cutsOf(shape: Shape, tile: readonly number[]): readonly Cut[] {
  if (tile.length !== shape.length || tile.some((side) => !Number.isInteger(side) || side < 1))
    throw new AttributeError({
      what: `tile ${formatShape(tile)} does not fit shape ${formatShape(shape)}`,
      hint: "Give one tile side for each axis, 1 where values do not share scales.",
    });
  return shape.map((size, axis) => {
    const side = tile[axis]!;
    if (side === 1) return { size, tile: 1, count: size };
    if (typeof size !== "number")
      throw new ShapeError({
        what: `axis ${axis} of ${formatShape(shape)} is tiled by ${side} and has no fixed size`,
        hint: "Tile fixed axes only.",
      });
    return { size, tile: Math.max(1, Math.min(side, size)), count: Math.ceil(size / side) };
  });
}

/** Shape of the scales of a tensor. */
export function scaleShape(shape: Shape, tile: readonly number[]): Shape {
  return cutsOf(shape, tile).map(({ count }) => count);
}

/** Every cut axis as two: tiles, and places within a tile. */
const splitShape = (cuts: readonly Cut[]): Dim[] =>
  cuts.flatMap(({ tile, count }) => (tile === 1 ? [count] : [count, tile]));

const padded = ({ size, tile, count }: Cut): Dim => (tile === 1 ? size : (count as number) * tile);

/** Scales repeated to the shape of the values they belong to. */
function expandScales(scales: Tensor, shape: Shape, tile: readonly number[]): Tensor {
  const cuts = cutsOf(shape, tile);
  const split = splitShape(cuts);
  let axis = 0;
  const kept = cuts.map((cut) => {
    const at = axis;
    axis += cut.tile === 1 ? 1 : 2;
    return at;
  });
  let wide = reshape(broadcastTo(scales, split, kept), cuts.map(padded));
  cuts.forEach((cut, i) => {
    wide = slice(wide, i, 0, cut.size);
  });
  return wide;
}

/** Largest magnitude of each tile. */
function tileMaxima(x: Tensor, tile: readonly number[]): Tensor {
  const cuts = cutsOf(x.shape, tile);
  let whole = abs(x);
  cuts.forEach((cut, i) => {
    if (typeof cut.size === "number") whole = pad(whole, i, 0, (padded(cut) as number) - cut.size);
  });
  const within: number[] = [];
  let axis = 0;
  for (const cut of cuts) {
    if (cut.tile > 1) within.push(axis + 1);
    axis += cut.tile === 1 ? 1 : 2;
  }
  return within.length === 0 ? whole : max(reshape(whole, splitShape(cuts)), within);
}

/** The next power of two at or above a positive normal f32: add all mantissa bits, then drop them. */
function roundUpToPowerOfTwoTensor(x: Tensor): Tensor {
  const bits = bitAnd(add(bitcast(x, "u32"), 0x7f_ff_ff), 0xff_80_00_00);
  // A NaN stays one: it must not turn into a small finite scale.
  return select(lt(x, Number.POSITIVE_INFINITY), bitcast(bits, "f32"), x);
}

type BlockQuantizeAttributes = {
  readonly tile: readonly number[];
  readonly ue8m0: boolean;
  readonly smallestAmax: number;
};

export const blockQuantizeOp: OpDefinition<BlockQuantizeAttributes> = defineOp({
  name: "block_quantize",
  infer: (inputs, { tile, smallestAmax }) => {
    expectInputs(inputs, 1);
    // A scale below the normal numbers of f32 would lose bits itself.
    if (!(smallestAmax >= 1e-34 && smallestAmax < Number.POSITIVE_INFINITY))
      throw new AttributeError({
        what: `smallestAmax is ${smallestAmax}`,
        hint: "Pass a finite number from 1e-34.",
      });
    const x = inputs[0]!;
    if (!isFloat(x.dtype))
      throw new DTypeError({
        what: `does not quantise ${formatType(x)}`,
        hint: "Convert it to a float dtype.",
      });
    return [
      { dtype: "e4m3fn", shape: x.shape },
      { dtype: "f32", shape: scaleShape(x.shape, tile) },
    ];
  },
  // A staircase; who trains through it says how (see `scaled-matmul.ts`).
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([input], { tile, ue8m0, smallestAmax }) => {
      const x = convert(input!, "f32");
      const exact = div(maximum(tileMaxima(x, tile), smallestAmax), largestFinite.e4m3fn);
      const scales = ue8m0 ? roundUpToPowerOfTwoTensor(exact) : exact;
      return [convert(div(x, expandScales(scales, x.shape, tile)), "e4m3fn"), scales];
    },
  },
});

/** Throws unless `scales` are those of codes cut into such tiles. */
export function expectScales(codes: TensorType, scales: TensorType, tile: readonly number[]): void {
  if (!isFloat(codes.dtype))
    throw new DTypeError({ what: `codes are ${formatType(codes)}`, hint: "Pass floats." });
  expectDType(scales, ["f32"], "scales");
  const expected = scaleShape(codes.shape, tile);
  if (!shapesEqual(scales.shape, expected))
    throw new ShapeError({
      what: `scales are ${formatType(scales)}, tiles ${formatShape(tile)} of ${formatType(codes)} need ${formatShape(expected)}`,
      hint: "Pass the tile that the codes were made with.",
    });
}

export const blockDequantizeOp: OpDefinition<{ tile: readonly number[] }> = defineOp({
  name: "block_dequantize",
  infer: (inputs, { tile }) => {
    expectInputs(inputs, 2);
    const [codes, scales] = inputs as [TensorType, TensorType];
    expectScales(codes, scales, tile);
    return [{ dtype: "f32", shape: codes.shape }];
  },
  vjp: ({ attrs: { tile }, inputs: [codes, scales], cotangents: [ct] }) => [
    ct && convert(mul(ct, expandScales(scales!, codes!.shape, tile)), codes!.dtype),
    undefined,
  ],
  body: {
    class: "composite",
    decompose: ([codes, scales], { tile }) => [
      mul(convert(codes!, "f32"), expandScales(scales!, codes!.shape, tile)),
    ],
  },
});

/** Codes and scales of `x` with one scale for each tile of `tile` elements. */
export function blockQuantize(
  x: Tensor,
  tile: readonly number[],
  { ue8m0 = false, smallestAmax = activationAmax }: QuantizeOptions = {},
): Quantized {
  const [codes, scales] = applyOp(blockQuantizeOp, [x], { tile, ue8m0, smallestAmax });
  return { codes: codes!, scales: scales! };
}

/** `codes · scales` in f32. */
export function blockDequantize({ codes, scales }: Quantized, tile: readonly number[]): Tensor {
  return applyOne(blockDequantizeOp, [codes, scales], { tile });
}

const rowTile = (x: Tensor, tile: number): number[] =>
  x.shape.map((_, axis) => (axis === x.shape.length - 1 ? tile : 1));

const squareTile = (w: Tensor): number[] =>
  w.shape.map((_, axis) => (axis >= w.shape.length - 2 ? tileSize : 1));

/** Activations: one scale per row and `tile` elements of the last axis; x [..., K], scales [..., ceil(K / tile)]. */
export function quantizeTiles(
  x: Tensor,
  tile: number = tileSize,
  options: QuantizeOptions = {},
): Quantized {
  return blockQuantize(x, rowTile(x, tile), options);
}

/** Weights: one scale per 128 × 128 block of the last two axes; w [..., N, K]. */
export function quantizeBlocks(w: Tensor, options: QuantizeOptions = {}): Quantized {
  return blockQuantize(w, squareTile(w), options);
}

/** Values f32 of what `quantizeTiles` made. */
export function dequantizeTiles(codes: Tensor, scales: Tensor, tile: number = tileSize): Tensor {
  return blockDequantize({ codes, scales }, rowTile(codes, tile));
}

/** Values f32 of what `quantizeBlocks` made, or a checkpoint's weight with its `weight_scale_inv`. */
export function dequantizeBlocks(codes: Tensor, scales: Tensor): Tensor {
  return blockDequantize({ codes, scales }, squareTile(codes));
}
