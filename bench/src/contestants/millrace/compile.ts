/**
 * Our compiler's own time. In: a model's configuration or a number of nodes. Out: a run declares, compiles, emits and instantiates
 * it; or, where that was done before, only makes it ready to run again. The result is a number of nodes.
 */
import type { Backend, Graph, Tensor } from "@millrace/graph";
import {
  broadcastTo,
  buildProgram,
  declare,
  dot,
  exp,
  maximum,
  mul,
  sub,
  sum,
} from "@millrace/graph";
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

export async function prepareCompile(task: CompileTask, backend: Backend): Promise<Prepared> {
  const build = () => buildProgram(declareTask(task), backend.capabilities);
  const known = build();
  const run = async (): Promise<void> => {
    const store = backend.createStore();
    const { program } = task.again ? known : build();
    const executable = await backend.load(program, store);
    executable.dispose();
    store.dispose();
  };
  const nodes = known.graph.nodes.length;
  const { kernels, steps } = known.program;
  return {
    run,
    result: () => [nodes],
    facts: { nodes, kernels: kernels.length, steps: steps.length },
    release: () => undefined,
  };
}
