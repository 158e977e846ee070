/**
 * The law of derivatives. In: a function that declares nodes, and values to differentiate it at. Out: nothing, or the case in which
 * the product of its gradient with a random direction is not what central differences give. Both are computed by the
 * graph interpreter in double precision, without any rounding, so even a small mistake shows.
 */
import fc from "fast-check";
import type { Graph, HostTensor, Tensor } from "@millrace/graph";
import {
  GraphBuilder,
  add,
  convert,
  gradients,
  hostTensor,
  isFloat,
  mul,
  printGraph,
  sum,
  toNumbers,
} from "@millrace/graph";
import { seededTensor } from "./arbitraries/tensor.ts";
import type { ExactValue, Interpret } from "./check-graph.ts";
import type { RunOptions } from "./check-op.ts";
import { runParameters } from "./check-op.ts";
import { ConformanceError } from "./report.ts";

export interface CheckGradientOptions extends RunOptions {
  readonly interpret: Interpret;
  /** Allowed difference, relative to the sum of the magnitudes of the products. */
  readonly tolerance?: number;
}

/** A function of declared values; integers among the inputs are indices and are not differentiated by. */
export type Declaration = (inputs: readonly Tensor[]) => Tensor | readonly Tensor[];

/**
 * Checks the gradient of `declaration` by each of its float inputs.
 *
 * @example
 * await checkGradient(([x]) => softmax(x!), fc.constant([hostTensor("f32", [3], [1, 2, 0])]), { interpret });
 */
export async function checkGradient(
  declaration: Declaration,
  inputs: fc.Arbitrary<readonly HostTensor[]>,
  options: CheckGradientOptions,
): Promise<void> {
  const counts = { conclusive: 0, inconclusive: 0 };
  await fc.assert(
    fc.asyncProperty(inputs, fc.nat(), async (values, seed) => {
      checkAt(declaration, values, seed, options, counts);
    }),
    runParameters(options),
  );
  if (counts.inconclusive > counts.conclusive)
    throw new ConformanceError({
      what: `${counts.inconclusive} of ${counts.inconclusive + counts.conclusive} comparisons were at points where the function has a kink`,
      hint: "Generate inputs at which it is smooth.",
    });
}

/** First step of the differences; a second of half the size tells how far to believe them. */
const step = 2 ** -10;

function checkAt(
  declaration: Declaration,
  values: readonly HostTensor[],
  seed: number,
  { interpret, tolerance = 1e-6 }: CheckGradientOptions,
  counts: { conclusive: number; inconclusive: number },
): void {
  const { graph, differentiable } = lossGraph(declaration, values, seed);
  const exact = values.map(toExact);
  const evaluate = (at: readonly ExactValue[]): Readonly<Record<string, ExactValue>> =>
    interpret(graph, named(at), { precision: "f64" }).outputs;
  const derivatives = evaluate(exact);
  for (const input of differentiable) {
    const value = exact[input]!;
    const direction = toNumbers(seededTensor("f32", value.shape, seed + 1 + input));
    const lossAt = (distance: number): number => {
      const data = value.data.map((x, i) => x + distance * direction[i]!);
      return evaluate(exact.with(input, { ...value, data }))["loss"]!.data[0]!;
    };
    const slope = (h: number): number => (lossAt(h) - lossAt(-h)) / (2 * h);
    const [coarse, fine] = [slope(step), slope(step / 2)];
    // The error of both is proportional to h², so this combination has none of that order.
    const expected = (4 * fine - coarse) / 3;
    const products = derivatives[`gradient.${input}`]!.data.map((g, i) => g * direction[i]!);
    const actual = products.reduce((total, product) => total + product, 0);
    const scale = products.reduce((total, p) => total + Math.abs(p), 0) + Math.abs(expected);
    const allowed = tolerance * scale + 1e-9;
    const smooth = Math.abs(fine - coarse) <= 1e-3 * scale + 1e-9;
    const agrees = Math.abs(actual - expected) <= allowed + Math.abs(fine - coarse) / 8;
    if (smooth) counts.conclusive++;
    else counts.inconclusive++;
    if (smooth && !agrees)
      throw new ConformanceError({
        what: `the gradient by input ${input} gives a slope of ${actual}, central differences give ${expected}; allowed ${allowed}`,
        where: `seed ${seed}`,
        hint: `Compare the vjps of the ops in:\n${printGraph(graph)}`,
      });
  }
}

const named = (values: readonly ExactValue[]): Record<string, ExactValue> =>
  Object.fromEntries(values.map((value, i) => [`x${i}`, value]));

const toExact = (tensor: HostTensor): ExactValue => ({
  dtype: tensor.dtype,
  shape: tensor.shape,
  data: toNumbers(tensor),
});

/** A graph of the sum of all results, weighed at random so that no mistake cancels, and of its gradients. */
function lossGraph(
  declaration: Declaration,
  values: readonly HostTensor[],
  seed: number,
): { readonly graph: Graph; readonly differentiable: readonly number[] } {
  const b = new GraphBuilder("gradient");
  const inputs = values.map(({ dtype, shape }, i) => b.input(`x${i}`, dtype, shape));
  const results = [declaration(inputs)].flat();
  const parts = results
    .filter(({ dtype }) => isFloat(dtype))
    .map((result, i) => {
      const shape = result.shape.map(Number);
      const weights = b.constant(seededTensor("f32", shape, seed + 1000 + i));
      return sum(mul(convert(result, "f32"), weights));
    });
  if (parts.length === 0)
    throw new ConformanceError({
      what: "the function has no float result",
      hint: "Return at least one tensor that can be differentiated.",
    });
  const loss = parts.reduce((total, part) => add(total, part));
  const differentiable = inputs.flatMap(({ dtype }, i) => (isFloat(dtype) ? [i] : []));
  const slopes = gradients(
    loss,
    differentiable.map((i) => inputs[i]!),
  );
  const outputs = slopes.map((slope, i) => [`gradient.${differentiable[i]!}`, slope] as const);
  return { graph: b.finish({ loss, ...Object.fromEntries(outputs) }), differentiable };
}

/** Tensors of these types with values from -2 to 2, or 0.5 to 2 in magnitude where zero is a kink. */
export function smoothInputs(
  types: readonly { readonly dtype: HostTensor["dtype"]; readonly shape: readonly number[] }[],
  options: { readonly awayFromZero?: boolean } = {},
): fc.Arbitrary<readonly HostTensor[]> {
  return fc.nat().map((seed) =>
    types.map(({ dtype, shape }, i) => {
      const tensor = seededTensor(dtype, shape, seed + i, isFloat(dtype) ? "small" : "integers");
      if (!options.awayFromZero || !isFloat(dtype)) return tensor;
      const away = toNumbers(tensor).map((x) => (x < 0 ? x * 0.75 - 0.5 : x * 0.75 + 0.5));
      return hostTensor(dtype, shape, away);
    }),
  );
}
