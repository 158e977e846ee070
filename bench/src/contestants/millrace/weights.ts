/**
 * Narrow weights in a graph. In: how a weight is stored. Out: its product, which widens the weight in registers; nothing wider is
 * ever in memory.
 */
import type { GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import { dequantizeBlocks, dotGeneral, groupLinear } from "@millrace/graph";
import type { WeightFormat } from "../../case.ts";

/** x [m, k] times the weight of the states `<name>.codes` and `<name>.scales`; `contract` is the weight's axis k. */
export function declareProduct(
  b: GraphBuilder,
  x: Tensor,
  name: string,
  format: WeightFormat,
  stored: Readonly<Record<string, HostTensor>>,
  contract: 0 | 1,
): Tensor {
  const state = (part: string): Tensor => {
    const { dtype, shape } = ourForm(format, stored[part]!);
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

/** Bytes that hold whole numbers plus 128 become the numbers themselves. */
function ourForm(format: WeightFormat, tensor: HostTensor): HostTensor {
  if (format !== "int8" || tensor.dtype !== "u8") return tensor;
  const data = Int8Array.from(tensor.data as Uint8Array, (byte) => byte - 128);
  return { ...tensor, dtype: "i8", data };
}

/** What to write into the states of `declareProduct`. */
export function weightStates(
  name: string,
  format: WeightFormat,
  stored: Readonly<Record<string, HostTensor>>,
): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(stored).map(([part, value]) => [`${name}.${part}`, ourForm(format, value)]),
  );
}
