/**
 * A case directory, opened. In: its path. Out: expected tensors (read when asked for), configuration and weights if there are
 * any, and where to compute. What a case is follows from the names of its tensors, never from its own name.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

import {
  type Backend,
  CheckpointError,
  compile,
  type CompiledProgram,
  type Graph,
  type HostTensor,
  type Store,
  toNumbers,
} from "@millrace/graph";
import {
  loadIntoStore,
  type ModelConfig,
  type SafetensorsFile,
  type TensorSource,
} from "@millrace/model-v3";
import { openCheckpoint, openSafetensorsFile } from "@millrace/model-v3/node";

import { tokenIdsOf } from "../token-ids-of.ts";
import type { Numbers } from "./compare.ts";

/** The model of a case: configuration and weights. */
export interface CaseModel {
  readonly config: ModelConfig;
  readonly weights: TensorSource;
}

export interface Case {
  readonly directory: string;
  readonly expected: SafetensorsFile;
  /** Weights after training, where the case has them. */
  readonly after: SafetensorsFile | undefined;
  readonly model: CaseModel | undefined;
  readonly backend: Backend;
  close(): Promise<void>;
}

export async function openCase(directory: string, backend: Backend): Promise<Case> {
  const expected = await openSafetensorsFile(join(directory, "expected.safetensors"));
  const opened: { close(): Promise<void> }[] = [expected];
  const close = async (): Promise<void> => {
    for (const file of opened) await file.close();
  };
  try {
    const afterPath = join(directory, "model_after.safetensors");
    const after = existsSync(afterPath) ? await openSafetensorsFile(afterPath) : undefined;
    if (after) opened.push(after);
    const model = existsSync(join(directory, "config.json"))
      ? await openCheckpoint(directory)
      : undefined;
    if (model) opened.push(model);
    return { directory, expected, after, model, backend, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The model, where the expected tensors need one. */
export function modelOf({ model, directory }: Case): CaseModel {
  if (model) return model;
  throw new CheckpointError({
    what: "the expected tensors are a model's, but there is no config.json",
    where: directory,
    hint: "Put config.json and the weights beside expected.safetensors.",
  });
}

/** A store filled with the model's parameters. */
export async function loadStore(from: Case): Promise<Store> {
  const { config, weights } = modelOf(from);
  const store = from.backend.createStore();
  try {
    await loadIntoStore(weights, config, store);
    return store;
  } catch (error) {
    store.dispose();
    throw error;
  }
}

/** Compiles a graph, runs `body` over it, and disposes of both program and store. */
export async function withProgram<T>(
  from: Case,
  graph: Graph,
  store: Store,
  body: (program: CompiledProgram) => Promise<T>,
): Promise<T> {
  try {
    const program = await compile(graph, from.backend, { store });
    try {
      return await body(program);
    } finally {
      program.dispose();
    }
  } finally {
    store.dispose();
  }
}

/** One run of a graph, over a store of its own unless one is handed over. */
export async function runOnce(
  from: Case,
  graph: Graph,
  inputs: Readonly<Record<string, HostTensor>>,
  store: Store = from.backend.createStore(),
): Promise<Record<string, HostTensor>> {
  return withProgram(from, graph, store, (program) => program.run(inputs));
}

/** The case's tokens, i32 [B, T]. */
export function readTokens(from: Case): Promise<HostTensor> {
  return tokenIdsOf(from.expected, modelOf(from).config);
}

/** Columns `start` to `end` of ids [B, T]. */
export function columns(ids: HostTensor, start: number, end: number): HostTensor {
  const [batch, tokens] = ids.shape as [number, number];
  const data = new Int32Array(batch * (end - start));
  for (let row = 0; row < batch; row++)
    data.set(
      ids.data.subarray(row * tokens + start, row * tokens + end) as Int32Array,
      row * (end - start),
    );
  return { dtype: "i32", shape: [batch, end - start], data };
}

export function numbersOf(tensor: HostTensor): Numbers {
  return { shape: tensor.shape, values: toNumbers(tensor) };
}

/** A tensor's storage as numbers: the codes of narrow floats, not their values. */
export function codesOf(tensor: HostTensor): Numbers {
  return { shape: tensor.shape, values: Float64Array.from(tensor.data, Number) };
}
