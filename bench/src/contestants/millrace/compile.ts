/**
 * Our compiler's own time. In: a model's configuration or a number of nodes. Out: a run declares, compiles, emits and instantiates
 * it; or, where that was done before, declares it and takes plan and module from a cache, as bytes. The result is a number of nodes.
 */
import type { Graph, Tensor } from "@millrace/graph";
import {
  broadcastTo,
  compile,
  declare,
  dot,
  exp,
  maximum,
  memoryCache,
  mul,
  sub,
  sum,
} from "@millrace/graph";
import { createWasmBackend } from "@millrace/kernels-cpu";
import type { WasmBackendOptions } from "@millrace/kernels-cpu";
import { declareTrainStep } from "@millrace/trainer";
import type { CompileTask } from "../../case.ts";
import type { Prepared } from "../contestant.ts";

const WIDTH = 16;

/** About `nodes` nodes in a row, of every class: elementwise, reductions, products; no two alike. */
function declareChain(nodes: number): Graph {
  return declare("chain", (b) => {
    let x: Tensor = b.input("x", "f32", [WIDTH, WIDTH]);
    let y: Tensor = x;
    for (let i = 0; b.nodes.length < nodes; i++) {
      y = mul(maximum(sub(x, 1 / (i + 2)), y), exp(mul(x, -1 / (i + 1))));
      x = i % 4 === 3 ? dot(y, x) : mul(y, broadcastTo(sum(x, [1]), x.shape, [0]));
    }
    return { x };
  });
}

function declareTask({ what, size, config }: CompileTask): Graph {
  if (what === "chain" || config === null) return declareChain(size);
  const layers = { ...config, numHiddenLayers: size };
  return declareTrainStep(layers, { batch: 2, sequenceLength: 32 });
}

export async function prepareCompile(
  task: CompileTask,
  options: WasmBackendOptions,
): Promise<Prepared> {
  const backend = createWasmBackend({ ...options, ...(task.again && { cache: memoryCache() }) });
  const start = async (): Promise<{ nodes: number; kernels: number; steps: number }> => {
    const graph = declareTask(task);
    const compiled = await compile(graph, backend);
    const { kernels, steps } = compiled.program;
    compiled.dispose();
    compiled.store.dispose();
    return { nodes: graph.nodes.length, kernels: kernels.length, steps: steps.length };
  };
  const facts = await start();
  return {
    run: async () => void (await start()),
    result: () => [facts.nodes],
    facts: { ...facts },
    release: () => backend.dispose(),
  };
}
