/**
 * Derivatives by decree. In: a function of tensors and what its derivative shall be. Out: the same function, differentiated
 * so. For estimators that pass through a rounding, and for derivatives that are cheaper or steadier than the derived one.
 */
import type { Attributes, OpDefinition, VjpContext } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { GraphBuilder } from "../declare/builder.ts";
import { applyOne, applyOp, defineOp, expectInputs } from "../declare/define-op.ts";

/** The value itself, but nothing is differentiated through it. */
export const stopGradientOp: OpDefinition<Record<string, never>> = defineOp({
  name: "stop_gradient",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    return [inputs[0]!];
  },
  vjp: "none",
  body: { class: "elementwise", scalar: ([x]) => x! },
});

/** `x`, taken as a constant by `gradients`. */
export function stopGradient(x: Tensor): Tensor {
  return applyOne(stopGradientOp, [x], {});
}

export interface CustomVjp {
  /** Op name under which the region is printed, such as `mylib.round_through`. */
  readonly name: string;
  /** May use its arguments only, no tensors from outside. */
  readonly forward: (inputs: readonly Tensor[]) => readonly Tensor[];
  /** Cotangents of the inputs. */
  readonly vjp: (context: VjpContext<Attributes>) => readonly (Tensor | undefined)[];
}

/** The function `forward` with the derivative `vjp`. */
export function customVjp(
  definition: CustomVjp,
): (...inputs: readonly Tensor[]) => readonly Tensor[] {
  const { name, forward, vjp } = definition;
  const op = defineOp<Attributes>({
    name,
    // The types come from declaring the region once in a graph of its own.
    infer: (types) => {
      const scratch = new GraphBuilder(name);
      const inputs = types.map(({ dtype, shape }, i) => scratch.input(`${i}`, dtype, shape));
      return forward(inputs).map((output) => output.type);
    },
    vjp,
    body: { class: "composite", decompose: (inputs) => forward(inputs) },
  });
  return (...inputs) => applyOp(op, inputs, {});
}
