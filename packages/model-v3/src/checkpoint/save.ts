/**
 * Parameters to a checkpoint in Hugging Face layout. In: a directory, a configuration, and a function that
 * gives a parameter's values. Out: `config.json` and weights under their checkpoint names, experts as
 * tensors of their own, embedding and head repeated for each MTP module as published checkpoints do.
 */
import { CheckpointError, elementCount, encodeFloats, toNumbers } from "@millrace/graph";
import type { HostArray, HostTensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { configToJson } from "../parse-config.ts";
import type { ParameterSpec } from "../parameters.ts";
import {
  checkpointNames,
  checkpointShape,
  parameterAliases,
  parameterTable,
} from "../parameters.ts";
import type { CheckpointDirectory } from "./byte-source.ts";
import type { TensorToWrite } from "./safetensors.ts";
import { writeShards } from "./shards.ts";

/** Options of `saveParameters`. */
export interface SaveOptions {
  /** How weights are stored; the router bias is F32 always. Default F32. */
  readonly dtype?: "F32" | "BF16";
  /** Tensor bytes after which a shard ends. */
  readonly maxShardBytes?: number;
  /** Further files to write in the same go, by name. */
  readonly beside?: ReadonlyMap<string, Uint8Array>;
}

/**
 * Writes a whole model. `parameter` is asked for each tensor when its turn comes, and for a stacked
 * parameter once per expert, so it should hand out what is in memory already.
 */
export async function saveParameters(
  directory: CheckpointDirectory,
  config: ModelConfig,
  parameter: (spec: ParameterSpec) => HostTensor | Promise<HostTensor>,
  options: SaveOptions = {},
): Promise<void> {
  const { dtype = "F32", maxShardBytes } = options;
  const table = parameterTable(config);
  const byName = new Map(table.map((spec) => [spec.name, spec]));
  const tensors = table.flatMap((spec) => specTensors(directory, spec, parameter, dtype));
  for (const { name, of } of parameterAliases(config)) {
    const spec = byName.get(of);
    // A tied head is left out, as by convention; a reader takes the embedding for it.
    if (spec && name !== "lm_head.weight")
      for (const tensor of specTensors(directory, spec, parameter, dtype))
        tensors.push({ ...tensor, name });
  }
  const written: ModelConfig = {
    ...config,
    torchDtype: dtype === "F32" ? "float32" : "bfloat16",
    quantizationConfig: null,
  };
  const json = `${JSON.stringify(configToJson(written), null, 2)}\n`;
  const beside = new Map([
    ...(options.beside ?? []),
    ["config.json", new TextEncoder().encode(json)],
  ]);
  await writeShards(directory, tensors, {
    beside,
    ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
  });
}

function specTensors(
  directory: CheckpointDirectory,
  spec: ParameterSpec,
  parameter: (spec: ParameterSpec) => HostTensor | Promise<HostTensor>,
  dtype: "F32" | "BF16",
): TensorToWrite[] {
  const shape = checkpointShape(spec);
  const size = elementCount(shape);
  const stored = dtype === "F32" || spec.role === "router_bias" ? "f32" : "bf16";
  return checkpointNames(spec).map((name, slice) => ({
    name,
    dtype: stored,
    shape,
    async data(): Promise<HostArray> {
      const tensor = await parameter(spec);
      if (tensor.shape.join() !== spec.shape.join())
        throw new CheckpointError({
          what: `the values have shape [${tensor.shape.join(", ")}], the configuration says [${spec.shape.join(", ")}]`,
          where: `${directory.name}, tensor ${spec.name}`,
          hint: "Save with the configuration that the parameters were made for.",
        });
      return convert(tensor, slice * size, (slice + 1) * size, stored);
    },
  }));
}

/** Elements `start` to `end` as f32 or bf16, rounded to nearest even. */
function convert(tensor: HostTensor, start: number, end: number, to: "f32" | "bf16"): HostArray {
  const data = tensor.data.subarray(start, end);
  if (tensor.dtype === to) return data;
  const part: HostTensor = { dtype: tensor.dtype, shape: [end - start], data };
  const values = tensor.dtype === "f32" ? (data as Float32Array) : toNumbers(part);
  return to === "f32" ? Float32Array.from(values) : encodeFloats("bf16", values);
}
