/**
 * A training run's states to files and back; Node only. In: a store and a configuration. Out: the model in Hugging Face
 * layout, with its f32 master weights, and the optimizer's moments beside it; or the same bits back in a store.
 */
import { join } from "node:path";

import type { HostTensor, Store } from "@millrace/graph";
import {
  loadIntoStore,
  type ModelConfig,
  parameterTable,
  type ParameterSpec,
  saveParameters,
} from "@millrace/model-v3";
import { nodeDirectory, openCheckpoint } from "@millrace/model-v3/node";

import { momentNames } from "../optimizer/adamw.ts";
import { expectTensor, readTensors, writeTensors } from "./tensors.ts";

const momentsFile = "training_state.safetensors";

/** Writes config.json, the weights and `beside` (a tokenizer's files) into `directory`. */
export async function writeModelState(
  directory: string,
  config: ModelConfig,
  store: Store,
  beside: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  // A stacked parameter is asked for once per expert in a row; it is read once.
  let last: { readonly name: string; readonly tensor: HostTensor } | undefined;
  const parameter = async ({ name }: ParameterSpec): Promise<HostTensor> => {
    if (last?.name !== name) last = { name, tensor: await store.read(name) };
    return last.tensor;
  };
  await saveParameters(nodeDirectory(directory), config, parameter, { beside });
}

/** Writes both moments of every trained parameter. */
export async function writeMomentState(
  directory: string,
  config: ModelConfig,
  store: Store,
): Promise<void> {
  const tensors = new Map<string, HostTensor>();
  for (const { name } of trained(config))
    for (const moment of momentNames(name)) tensors.set(moment, await store.read(moment));
  await writeTensors(directory, momentsFile, tensors);
}

/** Fills the states of `store`, which must exist, from what the two functions above wrote. */
export async function restoreState(
  directory: string,
  config: ModelConfig,
  store: Store,
): Promise<void> {
  const checkpoint = await openCheckpoint(directory);
  try {
    await loadIntoStore(checkpoint.weights, config, store);
  } finally {
    await checkpoint.close();
  }
  const path = join(directory, momentsFile);
  const moments = await readTensors(path);
  for (const { name, shape } of trained(config))
    for (const moment of momentNames(name))
      await store.write(moment, expectTensor(moments, moment, { dtype: "f32", shape }, path));
}

function trained(config: ModelConfig): readonly ParameterSpec[] {
  return parameterTable(config).filter(({ trainable }) => trainable);
}
