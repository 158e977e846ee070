/**
 * Our prefill and decoding. In: a configuration and how many tokens come after how many. Out: the runtime's model runner over
 * a store of made-up weights. The result is the logits of the last token.
 */
import type { Backend, Store } from "@millrace/graph";
import type { ModelConfig, ParameterSpec, WeightFormats } from "@millrace/model-v3";
import {
  checkpointShape,
  encodeWeight,
  formatsFor,
  parameterTable,
  weightStates,
} from "@millrace/model-v3";
import type { Pass } from "@millrace/runtime";
import { createModelRunner } from "@millrace/runtime";
import type { GenerateTask } from "../../case.ts";
import { parameterValues, tokenRows } from "../../model-values.ts";
import type { Prepared } from "../contestant.ts";
import { f32 } from "./program.ts";

const CHUNK = 64;

/** Puts a parameter's values into the store, in the format it is held in; experts one by one. */
async function writeParameter(
  store: Store,
  config: ModelConfig,
  spec: ParameterSpec,
  formats: WeightFormats,
): Promise<void> {
  const format = formats.get(spec.name) ?? "f32";
  const states = weightStates(spec, format, config);
  store.ensure(states);
  const values = parameterValues(config, spec);
  const shape = checkpointShape(spec);
  const size = values.length / Math.max(1, spec.experts);
  for (let at = 0; at < values.length; at += size) {
    const slice = f32(shape, values.subarray(at, at + size));
    const { codes, scales } = encodeWeight(slice, format, config);
    const expert = at / size;
    for (const [i, part] of [codes, ...(scales ? [scales] : [])].entries())
      await store.write(states[i]!.name, part, expert * part.data.length);
  }
}

export async function prepareGenerate(task: GenerateTask, backend: Backend): Promise<Prepared> {
  const { config, phase, start, count, weights } = task;
  const store = backend.createStore();
  const formats = formatsFor(config, weights);
  for (const spec of parameterTable(config)) await writeParameter(store, config, spec, formats);
  const runner = await createModelRunner({
    config,
    backend,
    store,
    maxLength: start + count,
    prefillChunk: phase === "prefill" ? count : CHUNK,
    maxDrafts: 0,
  });
  const ids = [...tokenRows(config, 1, start + count)];
  for (let at = 0; at < start; at += CHUNK)
    await runner.prefill(ids.slice(at, Math.min(at + CHUNK, start)), at);
  let last: Pass | undefined;
  const decode = async (): Promise<void> => {
    for (let at = start; at < start + count; at++) last = await runner.decode([ids[at]!], at);
  };
  const prefill = async (): Promise<void> => {
    last = await runner.prefill(ids.slice(start, start + count), start);
  };
  return {
    run: phase === "decode" ? decode : prefill,
    result: () => last!.logits.slice(-config.vocabSize),
    facts: { taken: runner.bytes, states: store.bytes },
    release: () => {
      runner.dispose();
      store.dispose();
    },
  };
}
