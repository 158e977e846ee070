/**
 * Which format each weight is held in. In: a checkpoint's tensors, its configuration, what is wanted. Out: formats by parameter.
 * Norms, router and its bias stay f32, and embeddings are as stored where that is exact. Weights whose rows are not whole
 * groups stay f32 where whole numbers are wanted, and `kv_b_proj`, which the absorbed form of MLA reads by its columns,
 * has 8 bits where others have 4.
 */
import type { ModelConfig } from "../config.ts";
import type { ParameterSpec } from "../parameters.ts";
import { checkpointNames, parameterTable } from "../parameters.ts";
import type { WeightFormat, WeightFormats } from "../weight-formats.ts";
import { weightGroup } from "../weight-formats.ts";
import type { StoredDType, TensorSource } from "./tensor-source.ts";

/** `stored` keeps what the checkpoint has where it is narrower than f32 and a format of ours. */
export const weightChoices = ["stored", "f32", "f16", "bf16", "e4m3fn", "int8", "int4"] as const;
export type WeightChoice = (typeof weightChoices)[number];

const ours: Partial<Record<StoredDType, WeightFormat>> = {
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "e4m3fn",
};

/** The format of all tensors of a parameter; f32 where they differ, or have another. */
function storedFormat(source: TensorSource, spec: ParameterSpec): WeightFormat {
  const found = new Set(checkpointNames(spec).map((name) => source.entries.get(name)?.dtype));
  const [dtype] = found;
  return (found.size === 1 && dtype && ours[dtype]) || "f32";
}

function formatOf(spec: ParameterSpec, wanted: WeightChoice, stored: WeightFormat): WeightFormat {
  if (spec.role === "embedding") return wanted === "f32" || stored === "e4m3fn" ? "f32" : stored;
  if (spec.role !== "projection" && spec.role !== "head") return "f32";
  if (wanted === "stored") return stored;
  if (wanted !== "int8" && wanted !== "int4") return wanted;
  if (spec.shape.at(-1)! % weightGroup !== 0) return "f32";
  return spec.name.endsWith("kv_b_proj.weight") ? "int8" : wanted;
}

/** Formats for a configuration's parameters, of a checkpoint that stores them as told, by default in f32. */
export function formatsFor(
  config: ModelConfig,
  wanted: WeightChoice,
  stored: (spec: ParameterSpec) => WeightFormat = () => "f32",
): WeightFormats {
  const formats = new Map<string, WeightFormat>();
  for (const spec of parameterTable(config)) {
    const format = formatOf(spec, wanted, stored(spec));
    if (format !== "f32") formats.set(spec.name, format);
  }
  return formats;
}

/** Formats for a checkpoint's parameters; what is not in the map is f32. */
export function chooseWeights(
  source: TensorSource,
  config: ModelConfig,
  wanted: WeightChoice,
): WeightFormats {
  return formatsFor(config, wanted, (spec) => storedFormat(source, spec));
}
