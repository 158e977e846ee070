/**
 * Narrow weights in a graph. In: how a weight is stored. Out: its values as an expression of what is stored, which fusion
 * puts into the product that reads it; nothing wider is ever in memory.
 */
import type { GraphBuilder, HostTensor, Tensor } from "@millrace/graph";
import {
  bitAnd,
  broadcastTo,
  concatenate,
  convert,
  dequantizeBlocks,
  mul,
  reshape,
  shiftRight,
  sub,
} from "@millrace/graph";
import type { WeightFormat } from "../../case.ts";
import { GROUP } from "../../weights.ts";

/** Whole numbers [n, k] times one scale for each group of a row. */
function scaledGroups(whole: Tensor, scales: Tensor): Tensor {
  const [n, k] = whole.shape as [number, number];
  const groups = reshape(whole, [n, k / GROUP, GROUP]);
  return reshape(mul(groups, broadcastTo(scales, groups.shape, [0, 1])), [n, k]);
}

/** Two whole numbers from each byte [n, k / 2], the lower half first. */
function unpacked(codes: Tensor): Tensor {
  const [n, half] = codes.shape as [number, number];
  const low = reshape(bitAnd(codes, 15), [n, half, 1]);
  const high = reshape(shiftRight(codes, 4), [n, half, 1]);
  return reshape(concatenate([low, high], 2), [n, 2 * half]);
}

/** The weight [n, k] of the states `<name>.codes` and `<name>.scales`, as something that a product takes. */
export function declareWeight(
  b: GraphBuilder,
  name: string,
  format: WeightFormat,
  stored: Readonly<Record<string, HostTensor>>,
): Tensor {
  const state = (part: string): Tensor =>
    b.state(`${name}.${part}`, stored[part]!.dtype, stored[part]!.shape);
  const codes = state("codes");
  switch (format) {
    case "f32":
    case "f16":
    case "bf16":
      return codes;
    case "e4m3fn":
      return dequantizeBlocks(codes, state("scales"));
    case "int8":
      return scaledGroups(sub(convert(codes, "f32"), 128), state("scales"));
    case "int4":
      return scaledGroups(sub(convert(unpacked(codes), "f32"), 8), state("scales"));
  }
}

/** What to write into the states of `declareWeight`. */
export function weightStates(
  name: string,
  stored: Readonly<Record<string, HostTensor>>,
): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(stored).map(([part, value]) => [`${name}.${part}`, value]),
  );
}
