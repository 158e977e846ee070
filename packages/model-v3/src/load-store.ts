/**
 * A checkpoint's parameters into a backend's memory. In: an open TensorSource, its configuration, a store. Out: one state per
 * parameter, under the parameter's name, as the model's graphs declare it: f32, or what `weights` asks for, with scales in a
 * state of their own. One tensor of the checkpoint is on the host at a time, so a model larger than the host's free memory
 * can be loaded.
 */
import { elementCount } from "@millrace/graph";
import type { StateSpec, Store } from "@millrace/graph";
import type { WeightChoice } from "./checkpoint/choose-weights.ts";
import { chooseWeights } from "./checkpoint/choose-weights.ts";
import { readWeight } from "./checkpoint/read-weight.ts";
import type { TensorSource } from "./checkpoint/tensor-source.ts";
import { expectParameters } from "./checkpoint/load.ts";
import type { ModelConfig } from "./config.ts";
import type { ParameterSpec } from "./parameters.ts";
import { checkpointNames, parameterTable } from "./parameters.ts";
import type { WeightFormats } from "./weight-formats.ts";
import { weightStates } from "./weight-formats.ts";

/** Options of `loadIntoStore`. */
export interface LoadStoreOptions {
  /** False leaves the MTP modules out, for a model that will not draft. Default true. */
  readonly mtp?: boolean;
  /** What the matrices of linear layers are held in; f32 by default. Narrower ones are for inference. */
  readonly weights?: WeightChoice;
}

/**
 * Fills `store` with the parameters of a checkpoint, and says what they are held in. Rejects before anything is read when any is
 * missing or misshapen, or when the store has no room for all of them.
 */
export async function loadIntoStore(
  source: TensorSource,
  config: ModelConfig,
  store: Store,
  { mtp = true, weights = "f32" }: LoadStoreOptions = {},
): Promise<WeightFormats> {
  const only = ({ layer }: ParameterSpec): boolean =>
    mtp || layer === null || layer < config.numHiddenLayers;
  await expectParameters(source, config);
  const wanted = parameterTable(config).filter(only);
  const formats = chooseWeights(source, config, weights);
  const statesOf = (spec: ParameterSpec): readonly StateSpec[] =>
    weightStates(spec, formats.get(spec.name) ?? "f32", config);
  store.ensure(wanted.flatMap(statesOf));
  for (const spec of wanted) {
    const format = formats.get(spec.name) ?? "f32";
    const [codeState, scaleState] = statesOf(spec);
    for (const [expert, name] of checkpointNames(spec).entries()) {
      const { codes, scales } = await readWeight(source, name, format, config);
      await store.write(codeState!.name, codes, expert * elementCount(codes.shape));
      if (scales && scaleState)
        await store.write(scaleState.name, scales, expert * elementCount(scales.shape));
    }
  }
  return formats;
}
