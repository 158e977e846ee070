/**
 * One tensor of a checkpoint in the format it is to be held in. In: its name and the format. Out: values or codes, and scales. What is
 * stored in that format already is passed on as it is; anything else is widened and rounded once.
 */
import { encodeFloats, encodeGroups } from "@millrace/graph";
import type { HostTensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { WeightFormat } from "../weight-formats.ts";
import { blockOf, weightGroup } from "../weight-formats.ts";
import { quantizeBlocks } from "./dequantize.ts";
import { readWidened, scaleName } from "./load.ts";
import type { StoredDType, TensorSource } from "./tensor-source.ts";

/** What the states of a weight hold. */
export interface StoredWeight {
  readonly codes: HostTensor;
  readonly scales?: HostTensor;
}

/** Rounds f32 values [N, K] to a format. */
export function encodeWeight(
  values: HostTensor,
  format: WeightFormat,
  config: ModelConfig,
): StoredWeight {
  const { shape, data } = values;
  switch (format) {
    case "f32":
      return { codes: values };
    case "f16":
    case "bf16":
      return { codes: { dtype: format, shape, data: encodeFloats(format, data as Float32Array) } };
    case "e4m3fn":
      return quantizeBlocks(values, blockOf(config));
    case "int8":
    case "int4":
      return encodeGroups(values, format === "int8" ? 8 : 4, weightGroup);
  }
}

const storedAs: Partial<Record<WeightFormat, StoredDType>> = {
  f16: "F16",
  bf16: "BF16",
  e4m3fn: "F8_E4M3",
};

export async function readWeight(
  source: TensorSource,
  name: string,
  format: WeightFormat,
  config: ModelConfig,
): Promise<StoredWeight> {
  const { dtype, shape } = source.entries.get(name)!;
  if (dtype === storedAs[format]) {
    const codes = await source.read(name);
    return format === "e4m3fn" ? { codes, scales: await source.read(scaleName(name)) } : { codes };
  }
  const data = await readWidened(source, name, config);
  return encodeWeight({ dtype: "f32", shape, data }, format, config);
}
