/**
 * How the weights of a model are held in memory. In: a parameter and a format. Out: the states that hold it. Formats narrower than
 * f32 are for inference; what is not a matrix of a linear layer stays f32, and the gate too. Scales of e4m3fn are the
 * checkpoint's blocks, those of whole numbers groups of 32 neighbours of a row.
 */
import type { StateSpec } from "@millrace/graph";
import { scaleShape } from "./checkpoint/dequantize.ts";
import type { ModelConfig } from "./config.ts";

export const weightFormats = ["f32", "f16", "bf16", "e4m3fn", "int8", "int4"] as const;
export type WeightFormat = (typeof weightFormats)[number];

/** Formats by the parameters' names; what is not named is f32. */
export type WeightFormats = ReadonlyMap<string, WeightFormat>;

/** Neighbours of a row that share a scale, in the formats of whole numbers. */
export const weightGroup = 32;
/** What their scales' names end in; a scale is a bf16, as weights may be. */
const groupScale = "_scale";

const dtypes = {
  f32: "f32",
  f16: "f16",
  bf16: "bf16",
  e4m3fn: "e4m3fn",
  int8: "i8",
  int4: "u8",
} as const;

/** Blocks of e4m3fn weights. */
export function blockOf(config: ModelConfig): readonly [number, number] {
  return config.quantizationConfig?.weightBlockSize ?? [128, 128];
}

/** The states that hold a parameter: its codes, under its own name, and its scales, if the format has them. */
export function weightStates(
  { name, shape }: { readonly name: string; readonly shape: readonly number[] },
  format: WeightFormat,
  config: ModelConfig,
): readonly StateSpec[] {
  const width = shape.at(-1)!;
  const rows = shape.slice(0, -1);
  const codes: StateSpec = {
    name,
    type: { dtype: dtypes[format], shape: format === "int4" ? [...rows, width / 2] : shape },
  };
  const scales = (suffix: string, dtype: "f32" | "bf16", scaled: readonly number[]): StateSpec => ({
    name: `${name}${suffix}`,
    type: { dtype, shape: scaled },
  });
  switch (format) {
    case "e4m3fn": {
      const blocks = scaleShape(shape.slice(-2), blockOf(config));
      return [codes, scales("_scale_inv", "f32", [...shape.slice(0, -2), ...blocks])];
    }
    case "int8":
    case "int4":
      return [codes, scales(groupScale, "bf16", [...rows, width / weightGroup])];
    default:
      return [codes];
  }
}

/** The formats of what a store holds. */
export function formatsOf(specs: readonly StateSpec[]): WeightFormats {
  const formats = new Map<string, WeightFormat>();
  for (const { name, type } of specs) {
    const format = weightFormats.find((each) => dtypes[each] === type.dtype);
    if (format && format !== "f32" && !name.endsWith(groupScale)) formats.set(name, format);
  }
  return formats;
}
