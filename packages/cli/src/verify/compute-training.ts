/**
 * Optimizer steps on one batch. In: a case with tokens, labels and losses. Out: losses, gradients, loads, biases and balance of
 * each forward pass, and the parameters after the last step. The program is the trainer's own, with its taps on.
 */
import { type CompiledProgram, type HostTensor, hostTensor, type Store } from "@millrace/graph";
import {
  checkpointNames,
  checkpointShape,
  type ModelConfig,
  parameterAliases,
  parameterTable,
} from "@millrace/model-v3";
import { declareTrainStep } from "@millrace/trainer";

import { type Case, loadStore, modelOf, numbersOf, readTokens, withProgram } from "./case.ts";
import type { Computed, Numbers } from "./compare.ts";

const measured = /^(loss|loss_f64|balance|load|bias|grad|grad_balance)\.|^grad_norm$/;

/** Names that only training computes. */
export const isTrainingName = (name: string): boolean => measured.test(name);

/** Name of a row for a tensor of `model_after.safetensors`. */
export const afterPrefix = "model_after.";

const learningRate = 1e-3;

const losses: Readonly<Record<string, string>> = {
  main: "loss",
  mtp: "mtp_loss",
  balance: "balance_loss",
  total: "total_loss",
};

type Outputs = Readonly<Record<string, HostTensor>>;

export async function computeTraining(from: Case): Promise<Computed> {
  const { config } = modelOf(from);
  const ids = await readTokens(from);
  const [batch, width] = ids.shape as [number, number];
  const { forwards, steps } = counts(from);
  const graph = declareTrainStep(config, { batch, sequenceLength: width - 1, taps: true });
  const store = await loadStore(from);
  const computed = new Map<string, Numbers[]>();
  await withProgram(from, graph, store, async (program) => {
    const passes: Outputs[] = [];
    while (passes.length < Math.max(forwards, steps)) {
      // The last pass is there for its losses; it changes the parameters, so they are read before it.
      if (passes.length === steps) await addParameters(config, store, computed);
      passes.push(await pass(program, ids, passes.length + 1));
    }
    if (passes.length === steps) await addParameters(config, store, computed);
    addMeasures(config, passes, { forwards, steps }, computed);
  });
  return computed;
}

function pass(program: CompiledProgram, ids: HostTensor, step: number): Promise<Outputs> {
  return program.run({
    input_ids: ids,
    learning_rate: hostTensor("f32", [], [learningRate]),
    step: hostTensor("i32", [], [step]),
  });
}

/** Forward passes and optimizer steps that the case speaks of. */
function counts({ expected, after }: Case): { readonly forwards: number; readonly steps: number } {
  const rows = (pattern: RegExp): number =>
    Math.max(
      0,
      ...[...expected.entries].flatMap(([name, { shape }]) =>
        pattern.test(name) ? [shape[0] ?? 0] : [],
      ),
    );
  const forwards = Math.max(1, rows(/^(loss|loss_f64|load|bias)\./));
  const steps = rows(/^grad_norm$/) || (after ? Math.max(1, forwards - 1) : 0);
  return { forwards, steps };
}

function addMeasures(
  config: ModelConfig,
  passes: readonly Outputs[],
  { forwards, steps }: { readonly forwards: number; readonly steps: number },
  computed: Map<string, Numbers[]>,
): void {
  const over = (name: string, count: number): Numbers => concatenated(passes.slice(0, count), name);
  const first = passes[0]!;
  for (const [name, output] of Object.entries(losses))
    if (first[output]) {
      computed.set(`loss.${name}`, [over(output, forwards)]);
      computed.set(`loss_f64.${name}`, [over(output, forwards)]);
    }
  if (steps > 0) computed.set("grad_norm", [over("grad_norm", steps)]);
  for (const [name, value] of Object.entries(first)) {
    if (/^(load|bias)\.layers\./.test(name)) computed.set(name, [over(name, forwards)]);
    else if (/^(logits$|mtp(\.\d+)?\.logits$|balance\.|grad_balance\.)/.test(name))
      computed.set(name, [numbersOf(value)]);
  }
  for (const spec of parameterTable(config)) {
    const gradient = first[`grad.${spec.name}`];
    if (!gradient) continue;
    const parts = slices(numbersOf(gradient), checkpointShape(spec), spec.experts);
    checkpointNames(spec).forEach((name, i) => computed.set(`grad.${name}`, [parts[i]!]));
  }
}

/** Output `name` of every pass, one after the other: [passes, …]. */
function concatenated(passes: readonly Outputs[], name: string): Numbers {
  const parts = passes.map((outputs) => numbersOf(outputs[name]!));
  const size = parts[0]?.values.length ?? 0;
  const values = new Float64Array(parts.length * size);
  parts.forEach((part, i) => values.set(part.values, i * size));
  return { shape: [parts.length, ...(parts[0]?.shape ?? [])], values };
}

/** A stacked parameter as the checkpoint's tensors. */
function slices(
  { values }: Numbers,
  shape: readonly number[],
  experts: number,
): readonly Numbers[] {
  const count = Math.max(1, experts);
  const size = values.length / count;
  return Array.from({ length: count }, (_, i) => ({
    shape,
    values: values.subarray(i * size, (i + 1) * size),
  }));
}

/** Every parameter as it is now, under its checkpoint names and those of its copies. */
async function addParameters(
  config: ModelConfig,
  store: Store,
  computed: Map<string, Numbers[]>,
): Promise<void> {
  for (const spec of parameterTable(config)) {
    const parts = slices(
      numbersOf(await store.read(spec.name)),
      checkpointShape(spec),
      spec.experts,
    );
    checkpointNames(spec).forEach((name, i) => computed.set(afterPrefix + name, [parts[i]!]));
  }
  for (const { name, of } of parameterAliases(config))
    computed.set(afterPrefix + name, computed.get(afterPrefix + of)!);
}
