/**
 * Narrow weights in a graph. In: how a weight is stored. Out: its product, which widens the weight in registers; nothing wider is
 * ever in memory.
 */
import type { GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import { dequantizeBlocks, dotGeneral, groupLinear } from "@millrace/graph";
import type { WeightFormat } from "../../case.ts";

/** `codes`, and `scales` where the format has them. */
export type WeightParts = Readonly<Record<string, HostTensor>>;

/** The parts of a weight in the form that our products take: bytes that hold whole numbers plus 128 become the numbers. */
export function ourForm(format: WeightFormat, stored: WeightParts): WeightParts {
  if (format !== "int8") return stored;
  const { shape, data } = stored["codes"]!;
  const bytes = data as Uint8Array;
  const numbers = new Int8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) numbers[i] = bytes[i]! - 128;
  return { ...stored, codes: { dtype: "i8", shape, data: numbers } };
}

/** x [m, k] times the weight of the states `<name>.codes` and `<name>.scales`; `contract` is the weight's axis k. */
export function declareProduct(
  b: GraphBuilder,
  x: Tensor,
  name: string,
  format: WeightFormat,
  parts: WeightParts,
  contract: 0 | 1,
): Tensor {
  const state = (part: string): Tensor => {
    const { dtype, shape } = parts[part]!;
    return b.state(`${name}.${part}`, dtype, shape);
  };
  const times = (weight: Tensor): Tensor =>
    dotGeneral(x, weight, { lhsContract: [1], rhsContract: [contract], dtype: "f32" });
  switch (format) {
    case "f32":
    case "f16":
    case "bf16":
      return times(state("codes"));
    case "e4m3fn":
      return times(dequantizeBlocks(state("codes"), state("scales")));
    case "int8":
    case "int4":
      return groupLinear(x, state("codes"), state("scales"));
  }
}

/** What to write into the states of `declareProduct`. */
export function weightStates(name: string, parts: WeightParts): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(parts).map(([part, value]) => [`${name}.${part}`, value]),
  );
}
