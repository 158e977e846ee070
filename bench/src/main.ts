/**
 * The bench. In: the command line. Out: tables on standard output, and with `--write` docs/performance.md and results.json.
 * Read this first, then `cases.ts` (what is measured) and `measure/interleave.ts` (how).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/graph";
import type { Case, Group } from "./case.ts";
import { casesOf } from "./cases.ts";
import type { ContestantName } from "./contestants/names.ts";
import { commandOf } from "./contestants/names.ts";
import { ChildPartner } from "./measure/child-process.ts";
import type { Entrant } from "./measure/interleave.ts";
import { measureCase, stepsOf } from "./measure/interleave.ts";
import { Progress } from "./measure/progress.ts";
import type { Partner, Reply, Request } from "./measure/protocol.ts";
import type { CaseResult, GroupResult, Machine, Results } from "./measure/result.ts";
import { referenceSample } from "./operands.ts";
import type { Options } from "./options.ts";
import { parseOptions, usage } from "./options.ts";
import { readResults, resultsText, writeResults } from "./report/performance.ts";
import { describeMachine, loadText, machineText } from "./report/machine.ts";
import { absenceNotes, groupTable } from "./report/table.ts";
import { claimsTable, judge, NOT_MEASURED } from "./report/claims.ts";

const LIMIT_SECONDS = 600;
const hasAvx512 = describeMachine().features.includes("avx512f");

/** The processes of a group of cases, started when they are first asked and again when they have failed. */
class Partners {
  readonly #partners = new Map<string, Partner>();

  get(contestant: ContestantName, threads: number): Partner {
    const key = `${contestant} ${threads}`;
    const known = this.#partners.get(key);
    if (known && !known.hasEnded) return known;
    const started = new ChildPartner(commandOf(contestant, threads), LIMIT_SECONDS);
    this.#partners.set(key, started);
    return started;
  }

  closeAll(): void {
    for (const partner of this.#partners.values()) partner.close();
    this.#partners.clear();
  }
}

/** The ceiling's task is which limit the case meets. */
function asCeiling(partner: Partner, { ceiling }: Case): Partner {
  return {
    get hasEnded() {
      return partner.hasEnded;
    },
    ask: (request: Request): Promise<Reply> =>
      partner.ask(
        request.what === "prepare" && ceiling
          ? { what: "prepare", task: { kind: "ceiling", of: ceiling.kind } }
          : request,
      ),
    pause: () => partner.pause(),
    resume: () => partner.resume(),
    close: () => partner.close(),
  };
}

/** Who is asked. */
function namesOf(measured: Case, { peers }: Options): readonly ContestantName[] {
  return [
    ...(measured.ceiling ? (["ceiling"] as const) : []),
    "millrace",
    ...peers.filter((name) => name !== "pytorch-avx512" || hasAvx512),
  ];
}

function entrantsOf(measured: Case, options: Options, partners: Partners): Entrant[] {
  return namesOf(measured, options).flatMap((contestant) =>
    options.threads.map((threads) => {
      const partner = partners.get(contestant, threads);
      return {
        contestant,
        threads,
        partner: contestant === "ceiling" ? asCeiling(partner, measured) : partner,
      };
    }),
  );
}

/** What a group measures in this run. */
const chosenCases = (group: Group, { quick, match }: Options): readonly Case[] =>
  casesOf(group, quick).filter(({ id }) => id.includes(match));

async function measureGroup(
  group: Group,
  options: Options,
  machine: Machine,
  progress: Progress,
): Promise<GroupResult> {
  const partners = new Partners();
  const stop = (): void => partners.closeAll();
  process.once("exit", stop);
  const cases: CaseResult[] = [];
  try {
    for (const measured of chosenCases(group, options)) {
      const watch = progress.begin(`${group}: ${measured.label}`);
      const entrants = entrantsOf(measured, options, partners);
      const sampleOf = (length: number) => referenceSample(measured.task, length);
      cases.push(await measureCase(measured, entrants, options, sampleOf, watch));
    }
  } finally {
    progress.clear();
    stop();
    process.off("exit", stop);
  }
  const { rounds, seconds, quick } = options;
  return { group, machine, rounds, seconds, quick, cases };
}

function show(result: GroupResult): void {
  console.log(`\n${result.group}${result.quick ? " (quick: not a measurement)" : ""}\n`);
  console.log(groupTable(result));
  const notes = absenceNotes(result);
  if (notes.length > 0) console.log(`\n${notes.join("\n")}`);
}

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options.help) {
    console.log(usage);
    return;
  }
  const machine = describeMachine();
  console.log(machineText(machine));
  const doubt = loadText(machine);
  if (doubt !== "") console.log(`${doubt} Do not trust the numbers.`);
  const results: Results = {};
  const steps = options.groups.flatMap((group) =>
    chosenCases(group, options).map((measured) =>
      stepsOf(namesOf(measured, options).length * options.threads.length, options),
    ),
  );
  const progress = new Progress(steps, process.stderr, () => performance.now());
  for (const group of options.groups) {
    const result = await measureGroup(group, options, machine, progress);
    results[group] = result;
    show(result);
    if (options.write) {
      // After each group, so that a run that is interrupted keeps what it has.
      writeResults({ ...readResults(), [group]: result });
    }
  }
  if (options.json !== undefined) writeFileSync(options.json, resultsText(results));
  const verdicts = judge(results).filter(({ measured }) => measured !== NOT_MEASURED);
  if (!options.quick && verdicts.length > 0) console.log(`\n${claimsTable(verdicts)}`);
}

// Models that contestants need as files; they find the folder here.
const files = mkdtempSync(join(tmpdir(), "millrace-bench-"));
process.env["MILLRACE_BENCH_FILES"] = files;
process.once("exit", () => rmSync(files, { recursive: true, force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
try {
  await main();
} catch (error) {
  const code = (error as { code?: string }).code ?? "";
  if (!(error instanceof MillraceError) && !code.startsWith("ERR_PARSE_ARGS")) throw error;
  console.error((error as Error).message);
  process.exitCode = 1;
}
