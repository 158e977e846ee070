/**
 * One weight of a linear layer, in the format it is held in. In: a parameter and a format. Out: its values as a tensor, and its
 * product with x, which widens it while it is read.
 */
import {
  blockDequantize,
  dequantizeGroups,
  groupLinear,
  groupRaggedDot,
  linear,
  raggedDot,
} from "@millrace/graph";
import type { GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { blockOf, weightStates } from "../weight-formats.ts";
import type { WeightFormat } from "../weight-formats.ts";

/** A weight [N, K] or [E, N, K], as it is stored. */
export interface Weight {
  readonly format: WeightFormat;
  /** Values or codes; those of int4 are two to a byte. */
  readonly codes: Tensor;
  /** For e4m3fn, int8 and int4. */
  readonly scales?: Tensor;
  /** Rows and columns that share a scale, for e4m3fn. */
  readonly block?: readonly [number, number];
}

/** Declares a weight's states. */
export function declareWeight(
  b: GraphBuilder,
  spec: { readonly name: string; readonly shape: readonly number[] },
  format: WeightFormat,
  config: ModelConfig,
): Weight {
  const [codes, scales] = weightStates(spec, format, config).map(({ name, type }) =>
    b.parameter(name, type.dtype, type.shape),
  );
  const block = blockOf(config);
  return {
    format,
    codes: codes!,
    ...(scales && { scales }),
    ...(format === "e4m3fn" && { block }),
  };
}

/** The values of a weight, f32 or narrower floats; computed where they are read. */
export function weightValues({ format, codes, scales, block = [128, 128] }: Weight): Tensor {
  switch (format) {
    case "e4m3fn": {
      const tile = [...codes.shape.slice(0, -2).map(() => 1), ...block];
      return blockDequantize({ codes, scales: scales! }, tile);
    }
    case "int8":
    case "int4":
      return dequantizeGroups(codes, scales!);
    default:
      return codes;
  }
}

const isWhole = ({ format }: Weight): boolean => format === "int8" || format === "int4";

/** x [N, K] times the rows of a weight [M, K]: [N, M]. */
export function timesWeight(x: Tensor, weight: Weight): Tensor {
  if (isWhole(weight)) return groupLinear(x, weight.codes, weight.scales!);
  return linear(x, weightValues(weight), "f32");
}

/** Rows offsets[e] to offsets[e+1] of x [R, K] times the rows of a weight [E, M, K]: [R, M]. */
export function timesExperts(x: Tensor, weight: Weight, offsets: Tensor): Tensor {
  if (isWhole(weight)) return groupRaggedDot(x, weight.codes, weight.scales!, offsets);
  return raggedDot(x, weightValues(weight), offsets, "f32");
}
