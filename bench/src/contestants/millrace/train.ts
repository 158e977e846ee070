/**
 * Our training step. In: a configuration and a batch. Out: the trainer's whole step, one run of one program: forward, losses,
 * backward, clipping, AdamW and the routers' bias. The result is the losses of the first steps over one batch.
 */
import type { Backend, HostTensor } from "@millrace/graph";
import { compile, hostTensor } from "@millrace/graph";
import { parameterTable } from "@millrace/model-v3";
import { declareTrainStep } from "@millrace/trainer";
import type { TrainTask } from "../../case.ts";
import { COMPARED_STEPS, LEARNING_RATE, parameterValues, tokenRows } from "../../model-values.ts";
import type { Prepared } from "../contestant.ts";
import { f32, memoryFacts } from "./program.ts";

export async function prepareTrain(task: TrainTask, backend: Backend): Promise<Prepared> {
  const { config, batch, tokens } = task;
  const store = backend.createStore();
  const graph = declareTrainStep(config, { batch, sequenceLength: tokens });
  const program = await compile(graph, backend, { store });
  for (const spec of parameterTable(config))
    await store.write(spec.name, f32(spec.shape, parameterValues(config, spec)));
  const rows: HostTensor = {
    dtype: "i32",
    shape: [batch, tokens + 1],
    data: tokenRows(config, batch, tokens),
  };
  const learningRate = hostTensor("f32", [], [LEARNING_RATE]);
  const losses: number[] = [];
  let step = 0;
  const run = async (): Promise<void> => {
    const outputs = await program.run({
      input_ids: rows,
      learning_rate: learningRate,
      step: hostTensor("i32", [], [++step]),
    });
    if (losses.length < COMPARED_STEPS) losses.push(Number(outputs["total_loss"]!.data[0]));
  };
  return {
    run,
    result: async () => {
      while (losses.length < COMPARED_STEPS) await run();
      return losses;
    },
    facts: { ...memoryFacts(store, [program]), kernels: program.program.kernels.length },
    release: () => {
      program.dispose();
      store.dispose();
    },
  };
}
