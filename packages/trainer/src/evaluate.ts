/**
 * Losses on text that is never trained on. In: a compiled evaluation program and held-out batches. Out: mean losses, bits per
 * byte, and how evenly the experts were loaded over all of it. Knows no data and changes no state.
 */
import { type CompiledProgram, hostTensor, InputError } from "@millrace/graph";

import { type Batch, bitsPerByte } from "./data/batch.ts";
import type { TokenDataset } from "./data/token-dataset.ts";
import { maxViolation } from "./metrics.ts";

export interface HeldOutResult {
  readonly loss: number;
  readonly mtpLoss: number | undefined;
  readonly bitsPerByte: number;
  /** MaxVio of the loads summed over all batches, the largest over the layers; undefined in a dense model. */
  readonly maxVioGlobal: number | undefined;
}

/** Runs `program`, of `declareEvaluation`, over `batches`; undefined when there are none. */
export async function evaluate(
  program: CompiledProgram,
  batches: readonly Batch[],
  dataset: Pick<TokenDataset, "heldOut" | "heldOutText">,
): Promise<HeldOutResult | undefined> {
  if (batches.length === 0) return undefined;
  let loss = 0;
  let mtpLoss: number | undefined;
  const loads = new Map<string, number[]>();
  for (const { inputIds, batchSize, width } of batches) {
    const outputs = await program.run({
      input_ids: hostTensor("i32", [batchSize, width], inputIds),
    });
    loss += Number(outputs["loss"]!.data[0]) / batches.length;
    if (outputs["mtp_loss"])
      mtpLoss = (mtpLoss ?? 0) + Number(outputs["mtp_loss"].data[0]) / batches.length;
    for (const [name, load] of loadsOf(outputs)) {
      const sums = loads.get(name) ?? load.map(() => 0);
      loads.set(
        name,
        sums.map((value, expert) => value + load[expert]!),
      );
    }
  }
  if (!Number.isFinite(loss))
    throw new InputError({
      what: `the held-out loss is ${loss}`,
      where: "evaluation",
      hint: "Resume from an earlier checkpoint with a lower learning rate.",
    });
  return {
    loss,
    mtpLoss,
    bitsPerByte: bitsPerByte(loss, dataset.heldOut.length, dataset.heldOutText.length),
    maxVioGlobal:
      loads.size > 0
        ? Math.max(...[...loads.values()].map((load) => maxViolation(load)))
        : undefined,
  };
}

/** The expert loads among a program's outputs, in the order of the layers. */
export function loadsOf(
  outputs: Awaited<ReturnType<CompiledProgram["run"]>>,
): readonly (readonly [name: string, load: readonly number[]])[] {
  return Object.entries(outputs)
    .filter(([name]) => name.startsWith(loadPrefix))
    .map(([name, { data }]) => [name, Array.from(data as Int32Array)] as const)
    .toSorted(
      ([a], [b]) => Number(a.slice(loadPrefix.length)) - Number(b.slice(loadPrefix.length)),
    );
}

const loadPrefix = "load.layers.";
