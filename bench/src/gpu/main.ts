/**
 * The bench of the GPU backend. In: the command line. Out: a table of its speed beside what the device does at best, as text, as JSON
 * and in docs/performance.md.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { InputError, MillraceError } from "@millrace/graph";
import type { WgslBackend } from "@millrace/kernels-wgsl";
import { createWgslBackend } from "@millrace/kernels-wgsl";
import { numberOf } from "../options.ts";
import { describeMachine } from "../report/machine.ts";
import { gpuCases } from "./cases.ts";
import { measureGpuCeilings } from "./ceilings.ts";
import type { GpuFailure, GpuMeasurement } from "./measure.ts";
import { measureGpuCase } from "./measure.ts";
import type { GpuResults } from "./report.ts";
import { ceilingsText, gpuTable, warningText, writeGpuSection } from "./report.ts";

const usage = `npm run bench:gpu -- [options]

  --adapter <name>  which GPU, by a part of its name (the one the system prefers)
  --match <text>    only cases whose name contains it
  --rounds <n>      rounds, of which the median counts (9; 3 with --quick)
  --seconds <s>     of each round, at least (0.5; 0.02 with --quick)
  --quick           small sizes: shows that everything runs, says nothing of speed
  --write           rewrite the section of docs/performance.md; with --quick on a software adapter only
  --json <file>     write the results there
  --help            this text
`;

/** A processor that plays the GPU. */
function isSoftware({ adapter, device }: WgslBackend): boolean {
  return device.adapterInfo.isFallbackAdapter || /llvmpipe|swiftshader/i.test(adapter);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      adapter: { type: "string" },
      match: { type: "string", default: "" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const { quick, write, adapter } = values;
  const rounds = numberOf(values.rounds ?? (quick ? "3" : "9"), "--rounds", true);
  const seconds = numberOf(values.seconds ?? (quick ? "0.02" : "0.5"), "--seconds", false);
  if (write && values.match !== "")
    throw new InputError({
      what: "--match and --write exclude each other",
      where: "bench/gpu",
      hint: "The section of the document is written whole.",
    });
  // Before the bench itself makes a load.
  const machine = describeMachine();
  const backend = await createWgslBackend(adapter === undefined ? {} : { adapter });
  try {
    const software = isSoftware(backend);
    if (write && quick && !software)
      throw new InputError({
        what: "--quick and --write exclude each other on a real GPU",
        where: "bench/gpu",
        hint: "What --quick measures says nothing of speed; leave one out.",
      });
    const hasClock = backend.device.features.has("timestamp-query");
    const copyBytes = Math.min(
      quick ? 2 ** 24 : 2 ** 28,
      backend.device.limits.maxStorageBufferBindingSize,
    );
    const ceilings = await measureGpuCeilings(backend.device, { rounds, seconds, copyBytes });
    const cases: (GpuMeasurement | GpuFailure)[] = [];
    for (const measured of gpuCases(quick)) {
      if (!measured.id.includes(values.match)) continue;
      process.stderr.write(`${measured.label}\n`);
      cases.push(await measureGpuCase(measured, backend, hasClock, { rounds, seconds }));
    }
    const results: GpuResults = {
      adapter: backend.adapter,
      driver: backend.device.adapterInfo.description,
      software,
      machine,
      quick,
      rounds,
      ceilings,
      cases,
    };
    console.log(`${backend.adapter}\n${ceilingsText(ceilings)}\n\n${gpuTable(results)}`);
    const warning = warningText(results);
    if (warning) console.log(`\n${warning}`);
    if (write) writeGpuSection(results);
    if (values.json !== undefined)
      writeFileSync(values.json, `${JSON.stringify(results, null, 1)}\n`);
    if (cases.some((result) => "reason" in result)) process.exitCode = 1;
  } finally {
    backend.dispose();
  }
}

try {
  await main();
} catch (error) {
  const code = String((error as { code?: unknown }).code);
  if (!(error instanceof MillraceError) && !code.startsWith("ERR_PARSE_ARGS")) throw error;
  console.error((error as Error).message);
  process.exitCode = 1;
}
