/**
 * Products with weights in 8 or 4 bits and one bf16 scale for each group of neighbours of a row. In: x, codes, scales. Out: sums in
 * f32. The operands are whole numbers: x is rounded too, one scale for 32 neighbours, so that a backend may multiply and add
 * integers; that rounding is part of the meaning and the same everywhere. It is to 16 bits for weights of 8 and to 8 bits for
 * weights of 4, far below the rounding of the weights. Codes of 4 bits are the number plus 8, two to a byte, the earlier one
 * in the lower half. For inference; no gradient reaches codes.
 *
 * Symmetric rounding to nearest with one scale per group: arXiv 1712.05877, 2103.13630; groups of 32 as in GGML's Q8_0 and Q4_0.
 */
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import { isFloat } from "../../dtype.ts";
import { apply, integer } from "../../expression.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { dimsEqual, formatType, multiplyDims, shapeSize } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, applyOp, defineOp, expectDType, expectInputs } from "../define-op.ts";
import { broadcastTo } from "../ops/broadcast.ts";
import { dotGeneral, raggedDot } from "../ops/contract.ts";
import { abs, convert, div, maximum, mul, round } from "../ops/elementwise.ts";
import { reshape } from "../ops/movement.ts";
import { max } from "../ops/reduce.ts";

/** Neighbours of x that share a scale. */
export const activationGroup = 32;
/** Bits of x's codes. */
export type ActivationBits = 16 | 8;
const largestCodes: Readonly<Record<ActivationBits, number>> = { 16: 32767, 8: 127 };
/** Smallest magnitude that a group's scale is made for; below it codes would be divided by a subnormal. */
const smallestAmax = 1e-30;

/** Two whole numbers from -8 to 7 of each byte: u8 [..., K / 2] to i8 [..., K]. */
export const unpackInt4Op: OpDefinition<Record<string, never>> = defineOp({
  name: "unpack_int4",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    const codes = inputs[0]!;
    expectDType(codes, ["u8"], "codes");
    if (codes.shape.length === 0)
      throw new ShapeError({ what: "codes have no axis", hint: "Pass them as u8 [..., K / 2]." });
    const width = multiplyDims(codes.shape.at(-1)!, 2);
    return [{ dtype: "i8", shape: [...codes.shape.slice(0, -1), width] }];
  },
  vjp: "none",
  body: {
    class: "movement",
    at: (index, read) => {
      const last = index.at(-1)!;
      const byte = read(0, [...index.slice(0, -1), apply("div", last, integer(2))]);
      const place = apply("mul", apply("rem", last, integer(2)), integer(4));
      const half = apply("and", apply("shr", byte, place), integer(15));
      return apply("sub", half, integer(8));
    },
  },
});

export function unpackInt4(codes: Tensor): Tensor {
  return applyOne(unpackInt4Op, [codes], {});
}

/** Elements of a group, by the shapes of codes [..., K] and scales [..., K / group]. */
function groupSize(codes: TensorType, scales: TensorType): number {
  const [width, groups] = [codes.shape.at(-1), scales.shape.at(-1)];
  const rows = (type: TensorType): readonly Dim[] => type.shape.slice(0, -1);
  const group = typeof width === "number" && typeof groups === "number" ? width / groups : 0;
  const sameRows =
    codes.shape.length === scales.shape.length &&
    rows(codes).every((dim, i) => dimsEqual(dim, rows(scales)[i]!));
  if (sameRows && group >= activationGroup && group % activationGroup === 0) return group;
  throw new ShapeError({
    what: `scales ${formatType(scales)} do not belong to codes ${formatType(codes)}`,
    hint: `Give one scale for each group of a row, of ${activationGroup}, 64, 96, … neighbours.`,
  });
}

/** Scales repeated to the elements of their groups. */
function expand(scales: Tensor, width: Dim, group: number): Tensor {
  const split = [...scales.shape, group];
  const wide = broadcastTo(
    scales,
    split,
    scales.shape.map((_, axis) => axis),
  );
  return reshape(wide, [...scales.shape.slice(0, -1), width]);
}

/** Whole numbers times the scales of their groups, in f32. */
function values(codes: Tensor, scales: Tensor): Tensor {
  const group = groupSize(codes.type, scales.type);
  return mul(convert(codes, "f32"), expand(convert(scales, "f32"), codes.shape.at(-1)!, group));
}

export const groupDequantizeOp: OpDefinition<Record<string, never>> = defineOp({
  name: "group_dequantize",
  infer: (inputs) => {
    expectInputs(inputs, 2);
    const shape = weightShape(inputs[0]!, inputs[1]!);
    return [{ dtype: "f32", shape }];
  },
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([codes, scales]) => [
      values(codes!.dtype === "u8" ? unpackInt4(codes!) : codes!, scales!),
    ],
  },
});

/** Shape of the values of i8 codes [..., K] or u8 codes [..., K / 2]; throws unless the scales fit. */
function weightShape(codes: TensorType, scales: TensorType): readonly Dim[] {
  expectDType(codes, ["i8", "u8"], "codes");
  expectDType(scales, ["bf16"], "scales");
  const last = codes.shape.at(-1) ?? 0;
  const shape = [...codes.shape.slice(0, -1), multiplyDims(last, codes.dtype === "u8" ? 2 : 1)];
  groupSize({ dtype: "i8", shape }, scales);
  return shape;
}

/** Values f32 [..., K] of i8 codes [..., K], or of u8 codes [..., K / 2] with two to a byte, and scales [..., K / group]. */
export function dequantizeGroups(codes: Tensor, scales: Tensor): Tensor {
  return applyOne(groupDequantizeOp, [codes, scales], {});
}

export const groupQuantizeOp: OpDefinition<{ readonly bits: ActivationBits }> = defineOp({
  name: "group_quantize",
  infer: (inputs, { bits }) => {
    expectInputs(inputs, 1);
    const x = inputs[0]!;
    if (!Object.hasOwn(largestCodes, bits))
      throw new AttributeError({ what: `codes of ${bits} bits`, hint: "Choose 16 or 8." });
    if (!isFloat(x.dtype))
      throw new DTypeError({
        what: `does not quantise ${formatType(x)}`,
        hint: "Convert it to a float dtype.",
      });
    const width = x.shape.at(-1);
    if (typeof width !== "number" || width % activationGroup !== 0)
      throw new ShapeError({
        what: `the last axis of ${formatType(x)} is not whole groups of ${activationGroup}`,
        hint: `Give x as [..., K] with K a multiple of ${activationGroup}.`,
      });
    const groups = [...x.shape.slice(0, -1), width / activationGroup];
    return [
      { dtype: bits === 16 ? "i16" : "i8", shape: x.shape },
      { dtype: "f32", shape: groups },
    ];
  },
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([input], { bits }) => {
      const x = convert(input!, "f32");
      const width = x.shape.at(-1) as number;
      const split = [...x.shape.slice(0, -1), width / activationGroup, activationGroup];
      const amax = max(reshape(abs(x), split), [split.length - 1]);
      const scales = div(maximum(amax, smallestAmax), largestCodes[bits]);
      const codes = round(div(x, expand(scales, width, activationGroup)));
      return [convert(codes, bits === 16 ? "i16" : "i8"), scales];
    },
  },
});

/** x [..., K] as i16 or i8 codes and a scale for each 32 neighbours, f32 [..., K / 32]. */
export function quantizeGroups(
  x: Tensor,
  bits: ActivationBits = 16,
): { readonly codes: Tensor; readonly scales: Tensor } {
  const [codes, scales] = applyOp(groupQuantizeOp, [x], { bits });
  return { codes: codes!, scales: scales! };
}

/** x [R, K], rounded as the product with such weights takes it. */
function roundedRows(x: Tensor, weight: Tensor): Tensor {
  const { codes, scales } = quantizeGroups(x, weight.dtype === "u8" ? 8 : 16);
  return values(codes, scales);
}

function expectFit(x: TensorType, weight: readonly Dim[], rank: number): void {
  if (weight.length === rank && dimsEqual(x.shape.at(-1) ?? 0, weight.at(-1)!)) return;
  throw new ShapeError({
    what: `x ${formatType(x)} does not fit a weight [${weight.join(", ")}]`,
    hint: `Give x [..., K] and a weight of ${rank} axes whose last is K.`,
  });
}

export const groupLinearOp: OpDefinition<Record<string, never>> = defineOp({
  name: "group_linear",
  infer: (inputs) => {
    expectInputs(inputs, 3);
    const [x, codes, scales] = inputs as [TensorType, TensorType, TensorType];
    const weight = weightShape(codes, scales);
    expectFit(x, weight, 2);
    return [{ dtype: "f32", shape: [...x.shape.slice(0, -1), weight[0]!] }];
  },
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([x, codes, scales]) => {
      const weight = dequantizeGroups(codes!, scales!);
      const rows = reshape(x!, [shapeSize(x!.shape.slice(0, -1)), x!.shape.at(-1)!]);
      const y = dotGeneral(roundedRows(rows, codes!), weight, {
        lhsContract: [1],
        rhsContract: [1],
        dtype: "f32",
      });
      return [reshape(y, [...x!.shape.slice(0, -1), weight.shape[0]!])];
    },
  },
});

/** x [..., K] times the rows of a weight of codes [N, K] (i8) or [N, K / 2] (u8) and scales [N, K / group]: f32 [..., N]. */
export function groupLinear(x: Tensor, codes: Tensor, scales: Tensor): Tensor {
  return applyOne(groupLinearOp, [x, codes, scales], {});
}

export const groupRaggedDotOp: OpDefinition<Record<string, never>> = defineOp({
  name: "group_ragged_dot",
  infer: (inputs) => {
    expectInputs(inputs, 4);
    const [x, codes, scales, offsets] = inputs as [TensorType, TensorType, TensorType, TensorType];
    const weight = weightShape(codes, scales);
    expectFit(x, weight, 3);
    expectDType(offsets, ["i32"], "offsets");
    if (x.shape.length !== 2)
      throw new AttributeError({ what: `x is ${formatType(x)}`, hint: "Give it as [R, K]." });
    return [{ dtype: "f32", shape: [x.shape[0]!, weight[1]!] }];
  },
  vjp: "none",
  body: {
    class: "composite",
    decompose: ([x, codes, scales, offsets]) => [
      raggedDot(roundedRows(x!, codes!), dequantizeGroups(codes!, scales!), offsets!, "f32"),
    ],
  },
});

/** Rows offsets[e] to offsets[e+1] of x [R, K] times the rows of weight e, codes [E, N, K] or [E, N, K / 2]: f32 [R, N]. */
export function groupRaggedDot(x: Tensor, codes: Tensor, scales: Tensor, offsets: Tensor): Tensor {
  return applyOne(groupRaggedDotOp, [x, codes, scales, offsets], {});
}
