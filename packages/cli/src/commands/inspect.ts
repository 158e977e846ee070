/**
 * `millrace inspect`: what a model costs, from its configuration alone. In: a directory or a config.json. Out: parameters,
 * cache, work per token, and the memory of its programs as planned for a device, as a table or as JSON; the JSON's keys are fixed,
 * other tools read them.
 */
import type { ModelCosts } from "@millrace/model-v3";
import { type Command, Option } from "commander";

import type { CliContext } from "../context.ts";
import { type GraphName, graphNames } from "../graph-names.ts";
import {
  adapterOption,
  checkDevice,
  type DeviceOptions,
  deviceOption,
  type WeightFormat,
  weightFormats,
  withExamples,
} from "../options.ts";
import type { PlanMemory } from "../plan-memory.ts";

interface InspectOptions extends DeviceOptions {
  readonly json?: boolean;
  readonly weights: WeightFormat;
}

export function addInspect(program: Command, context: CliContext): void {
  withExamples(
    program
      .command("inspect")
      .description(
        "Count a model's parameters, cache bytes and work per token, and plan its memory; nothing is loaded.",
      )
      .argument("<path>", "directory with a config.json, or the file itself")
      .option("--json", "one JSON object on stdout")
      .addOption(
        new Option("--weights <format>", "what the matrices are held in for prefill and decode")
          .choices(weightFormats)
          .default("f32"),
      )
      .addOption(deviceOption())
      .addOption(adapterOption()),
    ["inspect run", "inspect run --weights int4", "inspect DeepSeek-V3/config.json --json"],
  ).action(async (path: string, options: InspectOptions, command: Command) => {
    checkDevice(command, options);
    const { weights } = options;
    const { inspectConfig } = await import("@millrace/model-v3");
    const { readConfig } = await import("@millrace/model-v3/node");
    const { withBackend } = await import("../pick-backend.ts");
    const { planMemory } = await import("../plan-memory.ts");
    const config = await readConfig(path);
    const costs: InspectedCosts = {
      ...inspectConfig(config),
      planMemory: await withBackend(options, async ({ capabilities }) =>
        planMemory(config, capabilities, weights),
      ),
    };
    context.stdout.write(
      options.json ? `${JSON.stringify(costs, null, 2)}\n` : formatCosts(costs, weights),
    );
  });
}

/** What `--json` prints. */
interface InspectedCosts extends ModelCosts {
  readonly planMemory: Readonly<Record<GraphName, PlanMemory>>;
}

/** The table for people: exact numbers, and rounded ones where they are long. */
export function formatCosts(costs: InspectedCosts, weights: WeightFormat = "f32"): string {
  const { parameters, cacheBytesPerToken: cache } = costs;
  const sections: [title: string, rows: [name: string, value: number, unit: string][]][] = [
    [
      "parameters",
      [
        ["total", parameters.total, ""],
        ["activated per token", parameters.activated, ""],
        ["total with MTP", parameters.totalWithMtp, ""],
        ["activated with MTP", parameters.activatedWithMtp, ""],
      ],
    ],
    [
      "cache per token in BF16",
      [
        ["MLA", cache.mla, "bytes"],
        ["MHA of the same heads", cache.mha, "bytes"],
        ["GQA of the same heads", cache.gqa, "bytes"],
        ["MQA of the same heads", cache.mqa, "bytes"],
      ],
    ],
    [
      "work per token",
      [["forward, without attention to earlier tokens", costs.flopsPerToken, "FLOPs"]],
    ],
    ...graphNames.map((name): [string, [string, number, string][]] => {
      const { arenaBytes, stateBytes, sizes } = costs.planMemory[name];
      return [
        `memory of ${name}: ${sizes}`,
        [
          [
            `state${name === "train" || weights === "f32" ? " in f32" : `, weights in ${weights}`}`,
            stateBytes,
            "bytes",
          ],
          ["inputs, outputs and temporaries", arenaBytes, "bytes"],
        ],
      ];
    }),
  ];
  const rows = sections.flatMap(([, inner]) => inner);
  const nameWidth = Math.max(...rows.map(([name]) => name.length));
  const grouped = (value: number): string => Math.round(value).toLocaleString("en-US");
  const valueWidth = Math.max(...rows.map(([, value]) => grouped(value).length));
  return `${sections
    .map(
      ([title, inner]) =>
        `${title}\n${inner
          .map(([name, value, unit]) => {
            const text = `  ${name.padEnd(nameWidth)}  ${grouped(value).padStart(valueWidth)} ${unit}`;
            return value >= 1e6 ? `${text.trimEnd()}  (${abbreviate(value)})` : text.trimEnd();
          })
          .join("\n")}`,
    )
    .join("\n\n")}\n`;
}

function abbreviate(value: number): string {
  for (const [unit, size] of [
    ["T", 1e12],
    ["B", 1e9],
    ["M", 1e6],
  ] as const)
    if (value >= size) return `${(value / size).toFixed(value >= 100 * size ? 0 : 1)} ${unit}`;
  return String(value);
}
