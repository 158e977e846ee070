/**
 * Products of matrices. In: two tensors and which axes are multiplied and summed away; for the ragged ones, rows in groups,
 * one matrix for each group. Out: sums accumulated in f32, in the dtype asked for. The two ragged products are each
 * other's derivatives: all of a mixture-of-experts layer, forward and backward, is these two.
 */
import type { DType } from "../../dtype.ts";
import { isFloat } from "../../dtype.ts";
import { AttributeError, DTypeError, ShapeError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";
import type { Dim, TensorType } from "../../shape.ts";
import { addDims, dimsEqual, formatType } from "../../shape.ts";
import type { Tensor } from "../../tensor.ts";
import { applyOne, defineOp, expectAxis, expectDType, expectInputs } from "../define-op.ts";
import { transpose } from "./movement.ts";

export type DotGeneralAttrs = {
  /** Axes summed away; `lhsContract[i]` runs with `rhsContract[i]`. */
  readonly lhsContract: readonly number[];
  readonly rhsContract: readonly number[];
  /** Axes that both sides and the output have, first in the output. */
  readonly lhsBatch: readonly number[];
  readonly rhsBatch: readonly number[];
  /** Of the output. */
  readonly dtype: DType;
};

/** Axes of a tensor of `rank` that are in neither list, ascending. */
export function freeAxes(
  rank: number,
  contract: readonly number[],
  batch: readonly number[],
): readonly number[] {
  return Array.from({ length: rank }, (_, axis) => axis).filter(
    (axis) => !contract.includes(axis) && !batch.includes(axis),
  );
}

function expectFloats(inputs: readonly TensorType[], dtype: DType): void {
  for (const type of [...inputs, { dtype, shape: [] }])
    if (!isFloat(type.dtype))
      throw new DTypeError({
        what: `does not take or give ${formatType(type)}`,
        hint: "Products are of floats; convert first.",
      });
}

/** Output axes: batch, free axes of lhs, free axes of rhs. */
export const dotGeneralOp: OpDefinition<DotGeneralAttrs> = defineOp<DotGeneralAttrs>({
  name: "dot_general",
  infer: (inputs, attrs) => {
    expectInputs(inputs, 2);
    const [lhs, rhs] = inputs as [TensorType, TensorType];
    expectFloats(inputs, attrs.dtype);
    expectPaired(lhs, rhs, attrs.lhsContract, attrs.rhsContract, "contracted");
    expectPaired(lhs, rhs, attrs.lhsBatch, attrs.rhsBatch, "batch");
    for (const axes of [
      [...attrs.lhsContract, ...attrs.lhsBatch],
      [...attrs.rhsContract, ...attrs.rhsBatch],
    ])
      if (new Set(axes).size !== axes.length)
        throw new AttributeError({
          what: `axes [${axes.join(", ")}] name one axis twice`,
          hint: "An axis is contracted, batch or free.",
        });
    const lhsFree = freeAxes(lhs.shape.length, attrs.lhsContract, attrs.lhsBatch);
    const rhsFree = freeAxes(rhs.shape.length, attrs.rhsContract, attrs.rhsBatch);
    const shape: Dim[] = [
      ...[...attrs.lhsBatch, ...lhsFree].map((axis) => lhs.shape[axis]!),
      ...rhsFree.map((axis) => rhs.shape[axis]!),
    ];
    return [{ dtype: attrs.dtype, shape }];
  },
  vjp: ({ attrs, inputs: [lhs, rhs], cotangents: [ct] }) => {
    if (!ct) return [undefined, undefined];
    const { lhsContract, rhsContract, lhsBatch, rhsBatch } = attrs;
    const lhsFree = freeAxes(lhs!.shape.length, lhsContract, lhsBatch);
    const rhsFree = freeAxes(rhs!.shape.length, rhsContract, rhsBatch);
    const batch = lhsBatch.map((_, i) => i);
    const ctLhsFree = lhsFree.map((_, i) => batch.length + i);
    const ctRhsFree = rhsFree.map((_, i) => batch.length + lhsFree.length + i);
    // Each comes out as batch, then its own free axes, then its contracted axes in the order of the other side.
    const lhsAxes = [...lhsBatch, ...lhsFree, ...inOrderOf(rhsContract, lhsContract)];
    const rhsAxes = [...rhsBatch, ...rhsFree, ...inOrderOf(lhsContract, rhsContract)];
    const toLhs = dotGeneral(ct, rhs!, {
      lhsContract: ctRhsFree,
      rhsContract: rhsFree,
      lhsBatch: batch,
      rhsBatch,
      dtype: lhs!.dtype,
    });
    const toRhs = dotGeneral(ct, lhs!, {
      lhsContract: ctLhsFree,
      rhsContract: lhsFree,
      lhsBatch: batch,
      rhsBatch: lhsBatch,
      dtype: rhs!.dtype,
    });
    return [transpose(toLhs, positions(lhsAxes)), transpose(toRhs, positions(rhsAxes))];
  },
  body: { class: "primitive", primitive: "dot_general" },
});

/** `partner`, sorted by the axes it is paired with. */
const inOrderOf = (keys: readonly number[], partner: readonly number[]): readonly number[] =>
  keys
    .map((key, i) => [key, partner[i]!] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, axis]) => axis);

/** Where each axis is in `axes`: the permutation that puts them in order. */
const positions = (axes: readonly number[]): readonly number[] =>
  axes.map((_, axis) => axes.indexOf(axis));

function expectPaired(
  lhs: TensorType,
  rhs: TensorType,
  lhsAxes: readonly number[],
  rhsAxes: readonly number[],
  what: string,
): void {
  if (lhsAxes.length !== rhsAxes.length)
    throw new AttributeError({
      what: `${lhsAxes.length} ${what} axes on the left and ${rhsAxes.length} on the right`,
      hint: "They come in pairs.",
    });
  lhsAxes.forEach((axis, i) => {
    const other = rhsAxes[i]!;
    expectAxis(lhs.shape, axis, `${what} axis`);
    expectAxis(rhs.shape, other, `${what} axis`);
    if (!dimsEqual(lhs.shape[axis]!, rhs.shape[other]!))
      throw new ShapeError({
        what: `${what} axes ${axis} of ${formatType(lhs)} and ${other} of ${formatType(rhs)} differ in size`,
        hint: "Multiply along axes of one size.",
      });
  });
}

/** The product of two tensors along named axes; by default in the dtype of `lhs`. */
export function dotGeneral(
  lhs: Tensor,
  rhs: Tensor,
  attrs: {
    readonly lhsContract: readonly number[];
    readonly rhsContract: readonly number[];
    readonly lhsBatch?: readonly number[];
    readonly rhsBatch?: readonly number[];
    readonly dtype?: DType;
  },
): Tensor {
  const { lhsContract, rhsContract, lhsBatch = [], rhsBatch = [] } = attrs;
  const dtype = attrs.dtype ?? lhs.dtype;
  return applyOne(dotGeneralOp, [lhs, rhs], {
    lhsContract,
    rhsContract,
    lhsBatch,
    rhsBatch,
    dtype,
  });
}

/** The last axis of `x` with the first of `w`: the product of two matrices. */
export function dot(x: Tensor, w: Tensor, dtype?: DType): Tensor {
  return dotGeneral(x, w, {
    lhsContract: [x.shape.length - 1],
    rhsContract: [0],
    ...(dtype && { dtype }),
  });
}

/** x [..., K] with the rows of w [N, K], giving [..., N]: weights as PyTorch and checkpoints store them. */
export function linear(x: Tensor, w: Tensor, dtype?: DType): Tensor {
  return dotGeneral(x, w, {
    lhsContract: [x.shape.length - 1],
    rhsContract: [1],
    ...(dtype && { dtype }),
  });
}

function expectRank(type: TensorType, rank: number, what: string): void {
  if (type.shape.length !== rank)
    throw new ShapeError({
      what: `${what} is ${formatType(type)}, expected ${rank} axes`,
      hint: "Reshape it.",
    });
}

export function expectOffsets(type: TensorType, groups: Dim): void {
  expectDType(type, ["i32"], "offsets");
  expectRank(type, 1, "offsets");
  if (!dimsEqual(type.shape[0]!, addDims(groups, 1)))
    throw new ShapeError({
      what: `offsets are ${formatType(type)}, expected one more than the number of groups`,
      hint: "Give where each group starts, and the number of rows at the end.",
    });
}

/** Row r of group e is x[r] times the rows of w[e]: x [R, K], w [E, N, K], offsets i32 [E+1] to [R, N]. */
export const raggedDotOp: OpDefinition<{ dtype: DType }> = defineOp<{ dtype: DType }>({
  name: "ragged_dot",
  infer: (inputs, { dtype }) => {
    expectInputs(inputs, 3);
    const [x, w, offsets] = inputs as [TensorType, TensorType, TensorType];
    expectFloats([x, w], dtype);
    expectRank(x, 2, "x");
    expectRank(w, 3, "w");
    expectOffsets(offsets, w.shape[0]!);
    if (!dimsEqual(x.shape[1]!, w.shape[2]!))
      throw new ShapeError({
        what: `rows of ${formatType(x)} do not fit the rows of ${formatType(w)}`,
        hint: "w is [groups, N, K] for x [R, K].",
      });
    return [{ dtype, shape: [x.shape[0]!, w.shape[1]!] }];
  },
  vjp: ({ inputs: [x, w, offsets], cotangents: [ct] }) => {
    if (!ct) return [];
    return [
      raggedDot(ct, transpose(w!), offsets!, x!.dtype),
      raggedOuter(ct, x!, offsets!, w!.dtype),
    ];
  },
  body: { class: "primitive", primitive: "ragged_dot" },
});

/** Rows offsets[e] to offsets[e+1] of x [R, K] with the rows of w[e], w [E, N, K]; offsets run from 0 to R. */
export function raggedDot(x: Tensor, w: Tensor, offsets: Tensor, dtype?: DType): Tensor {
  return applyOne(raggedDotOp, [x, w, offsets], { dtype: dtype ?? x.dtype });
}

/** For each group the sum over its rows of a[r, m] * b[r, n]: a [R, M], b [R, N], offsets i32 [E+1] to [E, M, N]. */
export const raggedOuterOp: OpDefinition<{ dtype: DType }> = defineOp<{ dtype: DType }>({
  name: "ragged_outer",
  infer: (inputs, { dtype }) => {
    expectInputs(inputs, 3);
    const [a, b, offsets] = inputs as [TensorType, TensorType, TensorType];
    expectFloats([a, b], dtype);
    expectRank(a, 2, "a");
    expectRank(b, 2, "b");
    expectRank(offsets, 1, "offsets");
    const groups = addDims(offsets.shape[0]!, -1);
    expectOffsets(offsets, groups);
    if (!dimsEqual(a.shape[0]!, b.shape[0]!))
      throw new ShapeError({
        what: `${formatType(a)} and ${formatType(b)} differ in their rows`,
        hint: "Both sides have one row for each row of a group.",
      });
    return [{ dtype, shape: [groups, a.shape[1]!, b.shape[1]!] }];
  },
  vjp: ({ inputs: [a, b, offsets], cotangents: [ct] }) => {
    if (!ct) return [];
    return [
      raggedDot(b!, ct, offsets!, a!.dtype),
      raggedDot(a!, transpose(ct), offsets!, b!.dtype),
    ];
  },
  body: { class: "primitive", primitive: "ragged_outer" },
});

/** Sums of outer products of rows, one matrix for each group of rows; a group without rows gives zeros. */
export function raggedOuter(a: Tensor, b: Tensor, offsets: Tensor, dtype?: DType): Tensor {
  return applyOne(raggedOuterOp, [a, b, offsets], { dtype: dtype ?? a.dtype });
}
