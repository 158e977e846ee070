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
import type { TensorSource } from "./tensor-source.ts";

/** What the states of a weight hold. */
export interface StoredWeight {
  readonly codes: HostTensor;
  readonly scales?: HostTensor;
}

export async function readWeight(
  source: TensorSource,
  name: string,
  format: WeightFormat,
  config: ModelConfig,
): Promise<StoredWeight> {
  const { dtype, shape } = source.entries.get(name)!;
  const widened = async (): Promise<HostTensor> => ({
    dtype: "f32",
    shape,
    data: await readWidened(source, name, config),
  });
  switch (format) {
    case "f32":
      return { codes: await widened() };
    case "f16":
    case "bf16": {
      if (dtype === (format === "f16" ? "F16" : "BF16")) return { codes: await source.read(name) };
      const { data } = await widened();
      return { codes: { dtype: format, shape, data: encodeFloats(format, data as Float32Array) } };
    }
    case "e4m3fn":
      if (dtype === "F8_E4M3")
        return { codes: await source.read(name), scales: await source.read(scaleName(name)) };
      return quantizeBlocks(await widened(), blockOf(config));
    case "int8":
    case "int4":
      return encodeGroups(await widened(), format === "int8" ? 8 : 4, weightGroup);
  }
}
