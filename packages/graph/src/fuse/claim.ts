/**
 * Which composites are kept whole. In: an application of one and what the device can do. Out: the kernels that it has for
 * these shapes, if they are better than its parts; the op itself says so, so that an op of a user's can, too.
 */
import type { Capabilities } from "../capabilities.ts";
import type { AnyOp, Attributes, WholeKernel } from "../op.ts";
import type { TensorType } from "../shape.ts";

/** Kernels of a composite for these inputs, or undefined where it is to be decomposed. */
export function wholeKernels(
  op: AnyOp,
  inputs: readonly TensorType[],
  attrs: Attributes,
  { arrayBytes }: Pick<Capabilities, "arrayBytes">,
): readonly WholeKernel[] | undefined {
  if (op.body.class !== "composite" || !op.body.whole) return undefined;
  return op.body.whole({ attrs, inputs, outputs: op.infer(inputs, attrs), arrayBytes });
}
