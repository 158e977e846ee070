/**
 * The run behind `millrace logits`. In: a checkpoint and a file with `input_ids`. Out: a file with `logits`, and with
 * `mtp.logits` where the model has a module.
 */
import { compile, type HostTensor } from "@millrace/graph";
import {
  declareLogits,
  loadIntoStore,
  type ModelConfig,
  type TensorToWrite,
  writeSafetensors,
} from "@millrace/model-v3";
import { openCheckpoint, openSafetensorsFile } from "@millrace/model-v3/node";

import type { CliContext } from "../context.ts";
import { tryOutput, writeOutput } from "../output-file.ts";
import { withProfiledBackend } from "../profile-runs.ts";
import { tokenIdsOf } from "../token-ids-of.ts";
import type { LogitsOptions } from "./logits.ts";

export async function runLogits(
  directory: string,
  { input, out, attention, weights: format, ...device }: LogitsOptions,
  context: CliContext,
): Promise<void> {
  const { stderr } = context;
  const checkpoint = await openCheckpoint(directory);
  try {
    const { config, weights } = checkpoint;
    const ids = await readIds(input, config);
    await tryOutput(out);
    const [batch, tokens] = ids.shape as [number, number];
    await withProfiledBackend(device, context, async (backend) => {
      const store = backend.createStore();
      try {
        stderr.write(`loading ${directory}\n`);
        const formats = await loadIntoStore(weights, config, store, { weights: format });
        const graph = declareLogits(config, { batch, tokens, attention, weights: formats });
        const program = await compile(graph, backend, { store });
        stderr.write(`computing ${batch * tokens} tokens\n`);
        const outputs = await program.run({ input_ids: ids });
        program.dispose();
        await writeOutput(out, (file) => writeSafetensors(file, tensorsOf(outputs)));
        stderr.write(`wrote ${out}\n`);
      } finally {
        store.dispose();
      }
    });
  } finally {
    await checkpoint.close();
  }
}

async function readIds(path: string, config: ModelConfig): Promise<HostTensor> {
  const file = await openSafetensorsFile(path);
  try {
    return await tokenIdsOf(file, config);
  } finally {
    await file.close();
  }
}

function tensorsOf(outputs: Readonly<Record<string, HostTensor>>): readonly TensorToWrite[] {
  return Object.entries(outputs).map(([name, { dtype, shape, data }]) => ({
    name,
    dtype,
    shape,
    data: () => data,
  }));
}
