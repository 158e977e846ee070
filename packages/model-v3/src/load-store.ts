/**
 * A checkpoint's parameters into a backend's memory. In: an open TensorSource, its configuration, a store. Out: one f32
 * state per parameter, under the parameter's name, as the model's graphs declare it. One parameter is on the host at a
 * time, so a model larger than the host's free memory can be loaded.
 */
import type { Store } from "@millrace/graph";
import type { TensorSource } from "./checkpoint/tensor-source.ts";
import { expectParameters, readParameters } from "./checkpoint/load.ts";
import type { ModelConfig } from "./config.ts";
import type { ParameterSpec } from "./parameters.ts";
import { parameterTable } from "./parameters.ts";

/** Options of `loadIntoStore`. */
export interface LoadStoreOptions {
  /** False leaves the MTP modules out, for a model that will not draft. Default true. */
  readonly mtp?: boolean;
}

/**
 * Fills `store` with the parameters of a checkpoint. Rejects before anything is read when any is missing or misshapen, or
 * when the store has no room for all of them.
 */
export async function loadIntoStore(
  source: TensorSource,
  config: ModelConfig,
  store: Store,
  { mtp = true }: LoadStoreOptions = {},
): Promise<void> {
  const only = ({ layer }: ParameterSpec): boolean =>
    mtp || layer === null || layer < config.numHiddenLayers;
  await expectParameters(source, config);
  const wanted = parameterTable(config).filter(only);
  store.ensure(wanted.map(({ name, shape }) => ({ name, type: { dtype: "f32", shape } })));
  for await (const { spec, tensor } of readParameters(source, config, { only }))
    await store.write(spec.name, tensor);
}
