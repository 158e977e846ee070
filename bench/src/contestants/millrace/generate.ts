/**
 * Our prefill and decoding. In: a configuration and how many tokens come after how many. Out: the runtime's model runner over
 * a store of made-up weights. The result is the logits of the last token.
 */
import type { Backend } from "@millrace/graph";
import { parameterTable } from "@millrace/model-v3";
import type { Pass } from "@millrace/runtime";
import { createModelRunner } from "@millrace/runtime";
import type { GenerateTask } from "../../case.ts";
import { parameterValues, tokenRows } from "../../model-values.ts";
import { Absent } from "../contestant.ts";
import type { Prepared } from "../contestant.ts";
import { f32 } from "./program.ts";

const CHUNK = 64;

export async function prepareGenerate(task: GenerateTask, backend: Backend): Promise<Prepared> {
  const { config, phase, start, count, weights } = task;
  if (weights !== "f32") throw new Absent(`models are stored in f32, not in ${weights}`);
  const store = backend.createStore();
  const runner = await createModelRunner({
    config,
    backend,
    store,
    maxLength: start + count,
    prefillChunk: phase === "prefill" ? count : CHUNK,
    maxDrafts: 0,
  });
  for (const spec of parameterTable(config))
    await store.write(spec.name, f32(spec.shape, parameterValues(config, spec)));
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
