/**
 * The run behind `millrace compile`. In: a model and the name of one of its graphs. Out: the text of one stage on stdout. Nothing
 * is loaded and nothing runs.
 */
import { buildProgram, printGraph, printGroups, printKernel, printProgram } from "@millrace/graph";
import { preset as presetOf, type PresetName } from "@millrace/model-v3";
import { readConfig } from "@millrace/model-v3/node";

import type { CliContext } from "../context.ts";
import { declareModelGraph } from "../model-graphs.ts";
import { presets } from "../options.ts";
import { withBackend } from "../pick-backend.ts";
import type { CompileOptions } from "./compile.ts";

export async function runCompile(
  directory: string | undefined,
  { preset, graph: graphName, print, ...device }: CompileOptions,
  { stdout, stderr }: CliContext,
): Promise<void> {
  const config =
    directory === undefined ? presetOf(preset as PresetName) : await readConfig(directory);
  const trained = presets.find((name) => name === preset);
  const { graph, sizes } = declareModelGraph(config, graphName, trained);
  stderr.write(`${graphName}: ${sizes}\n`);
  if (print === "graph") {
    stdout.write(printGraph(graph));
    return;
  }
  await withBackend(device, async (backend) => {
    const { fused, program } = buildProgram(graph, backend.capabilities);
    stderr.write(
      `${program.steps.length} steps of ${program.kernels.length} kernels, an arena of ${program.arenaBytes} bytes\n`,
    );
    switch (print) {
      case "fused":
        stdout.write(printGroups(fused));
        return;
      case "kernels":
        stdout.write(program.kernels.map(printKernel).join("\n"));
        return;
      case "program":
        stdout.write(printProgram(program));
        return;
      case "emitted":
        stdout.write(backend.print(program));
        return;
    }
    print satisfies never;
  });
}
