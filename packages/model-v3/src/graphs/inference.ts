/**
 * What the graphs of inference share. In: a builder, a configuration, and how the model is computed. Out: the model, and the
 * intermediate values that were asked for, as they are declared.
 */
import type { GraphBuilder, Tensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import type { Precision } from "../layers/linear.ts";
import type { AttentionForm } from "../layers/mla.ts";
import { createModel } from "../model.ts";
import type { Model } from "../model.ts";
import type { WeightFormats } from "../weight-formats.ts";

export interface InferenceOptions {
  readonly attention?: AttentionForm;
  readonly precision?: Precision;
  /** How weights are stored, if not in f32. */
  readonly weights?: WeightFormats;
  /** Which intermediate values become outputs of their own, under their tap names; none by default. */
  readonly taps?: (name: string) => boolean;
}

/** The model, and the outputs that its taps become. */
export function inferenceModel(
  b: GraphBuilder,
  config: ModelConfig,
  { attention, precision, weights, taps = () => false }: InferenceOptions,
): { readonly model: Model; readonly tapped: Readonly<Record<string, Tensor>> } {
  const tapped: Record<string, Tensor> = {};
  const model = createModel(b, config, {
    ...(attention && { attention }),
    ...(precision && { precision }),
    ...(weights && { weights }),
    powerOfTwoScales: false,
    tap: (name, value) => {
      if (taps(name)) tapped[name] = value;
    },
  });
  return { model, tapped };
}
