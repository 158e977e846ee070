/**
 * The bench. In: the command line. Out: tables on standard output, and with `--write` docs/performance.md and results.json.
 * Read this first, then `cases.ts` (what is measured) and `measure/interleave.ts` (how).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MillraceError } from "@millrace/graph";
import type { Case, Group } from "./case.ts";
import { familiesOf } from "./case.ts";
import { casesOf } from "./cases.ts";
import type { ContestantName } from "./contestants/names.ts";
import { canRevectorize, commandOf } from "./contestants/command.ts";
import { contestantNames, isLimit, comparesWidths, peerNames } from "./contestants/names.ts";
import { ChildPartner } from "./measure/child-process.ts";
import type { Effort, Entrant } from "./measure/interleave.ts";
import { measureFamily, stepsOf } from "./measure/interleave.ts";
import { Progress } from "./measure/progress.ts";
import type { Owner, Partner, Pool } from "./measure/protocol.ts";
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

/** The processes of a group of cases: started when no idle one is there. */
class Processes implements Pool {
  readonly #all: Partner[] = [];
  readonly #idle = new Map<string, Partner[]>();

  #idleOf({ contestant, threads }: Owner): Partner[] {
    const key = `${contestant} ${threads}`;
    const idle = this.#idle.get(key)?.filter(({ hasEnded }) => !hasEnded) ?? [];
    this.#idle.set(key, idle);
    return idle;
  }

  take(owner: Owner): Partner {
    const idle = this.#idleOf(owner).shift();
    if (idle) return idle;
    const started = new ChildPartner(commandOf(owner.contestant, owner.threads), LIMIT_SECONDS);
    this.#all.push(started);
    return started;
  }

  give(owner: Owner, partner: Partner): void {
    this.#idleOf(owner).push(partner);
  }

  closeAll(): void {
    for (const partner of this.#all) partner.close();
  }
}

/** The limits that a family meets, each with the cases that meet it; memory does not depend on how wide registers are. */
function limitsOf(
  family: readonly Case[],
  name: ContestantName,
): Pick<Entrant, "task" | "cases">[] {
  const kinds = new Set(family.flatMap(({ ceiling }) => (ceiling ? [ceiling.kind] : [])));
  if (name === "ceiling-128") kinds.delete("read");
  return [...kinds].map((of) => ({
    task: { kind: "ceiling", of },
    cases: family.filter(({ ceiling }) => ceiling?.kind === of),
  }));
}

/** Who takes part, in the order of a round: what is compared most closely stands side by side. */
function entrantsOf(family: readonly Case[], { peers, threads }: Options): Entrant[] {
  const tasks = family.map((measured) => ({ task: measured.task, cases: [measured] }));
  const isThere = (name: ContestantName): boolean =>
    name === "pytorch-avx512" ? hasAvx512 : canRevectorize || !comparesWidths(name);
  const taking = contestantNames.filter(
    (name) => isThere(name) && (peers.includes(name) || !peerNames.includes(name)),
  );
  return taking.flatMap((contestant) =>
    threads.flatMap((count) =>
      (isLimit(contestant) ? limitsOf(family, contestant) : tasks).map(({ task, cases }) => ({
        contestant,
        threads: count,
        task,
        cases,
      })),
    ),
  );
}

/** What a group measures in this run. */
const chosenFamilies = (group: Group, { quick, match }: Options): (readonly Case[])[] =>
  familiesOf(casesOf(group, quick).filter(({ id }) => id.includes(match)));

const effortOf = (group: Group, { rounds, seconds }: Options): Effort => ({
  rounds: rounds[group],
  seconds,
});

async function measureGroup(
  group: Group,
  options: Options,
  machine: Machine,
  progress: Progress,
): Promise<GroupResult> {
  const processes = new Processes();
  const stop = (): void => processes.closeAll();
  process.once("exit", stop);
  const effort = effortOf(group, options);
  const cases: CaseResult[] = [];
  try {
    for (const family of chosenFamilies(group, options)) {
      const others = family.length === 1 ? "" : ` and ${family.length - 1} more`;
      const watch = progress.begin(`${group}: ${family[0]!.label}${others}`);
      const entrants = entrantsOf(family, options);
      const referenceOf = ({ task }: Case, length: number) => referenceSample(task, length);
      cases.push(...(await measureFamily(family, entrants, effort, processes, referenceOf, watch)));
    }
  } finally {
    progress.clear();
    stop();
    process.off("exit", stop);
  }
  return { group, machine, ...effort, quick: options.quick, cases };
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
    chosenFamilies(group, options).map((family) =>
      stepsOf(entrantsOf(family, options).length, effortOf(group, options)),
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
