/**
 * The measuring loop. In: cases that are to be compared with each other, and who takes part. Out: their times, round by round. All are
 * made ready and compared with a reference first; then every round runs each one once, in the same order, while the others stand still.
 * What disturbs the machine for a while therefore disturbs all of them.
 */
import type { Case, Task } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import { isOurs } from "../contestants/names.ts";
import { differenceOf } from "./agreement.ts";
import type { Sample } from "./agreement.ts";
import type { Watch } from "./progress.ts";
import type { Partner, Pool, Reply } from "./protocol.ts";
import type { CaseResult, Measurement } from "./result.ts";

/** One task for one contestant, and the cases that its times are for: a limit is of all cases that meet it. */
export interface Entrant {
  readonly contestant: ContestantName;
  readonly threads: number;
  readonly task: Task;
  readonly cases: readonly Case[];
}

export interface Effort {
  readonly rounds: number;
  /** Each entrant runs at least so long in each round. */
  readonly seconds: number;
}

/** Steps of a family: everyone is made ready, warmed up, and measured in each round. */
export const stepsOf = (entrants: number, { rounds }: Effort): number => entrants * (rounds + 2);

type Ready = Extract<Reply, { kind: "ready" }>;

/** What is known of an entrant so far. */
interface Standing {
  readonly entrant: Entrant;
  /** Its process; a task that nothing is to be measured of has none. */
  partner: Partner | undefined;
  status: Measurement["status"];
  reason: string;
  ready: Ready | undefined;
  difference: number | null;
  readonly seconds: number[];
}

async function awake<T>(partner: Partner, work: () => Promise<T>): Promise<T> {
  partner.resume();
  try {
    return await work();
  } finally {
    partner.pause();
  }
}

function drop(standing: Standing, reply: Reply): void {
  standing.status = reply.kind === "absent" ? "absent" : "failed";
  standing.reason = "reason" in reply ? reply.reason : `unexpected reply ${reply.kind}`;
}

/** The process is free for another task. */
async function release(standing: Standing, pool: Pool): Promise<void> {
  const { partner } = standing;
  if (!partner) return;
  standing.partner = undefined;
  if (!partner.hasEnded) await awake(partner, () => partner.ask({ what: "release" }));
  pool.give(standing.entrant, partner);
}

async function prepare(entrant: Entrant, pool: Pool): Promise<Standing> {
  const partner = pool.take(entrant);
  const standing: Standing = {
    entrant,
    partner,
    status: "measured",
    reason: "",
    ready: undefined,
    difference: null,
    seconds: [],
  };
  const { task } = entrant;
  const reply = await awake(partner, () => partner.ask({ what: "prepare", task }));
  if (reply.kind === "ready") standing.ready = reply;
  else {
    drop(standing, reply);
    await release(standing, pool);
  }
  return standing;
}

/** Compares everyone with the case's reference, or with the first of ours when it has none. */
function compare(
  standings: readonly Standing[],
  measured: Case,
  referenceOf: (measured: Case, length: number) => Sample | undefined,
): void {
  const ours = standings.find(({ entrant }) => entrant.contestant === "millrace")?.ready?.sample;
  const length = standings.find(({ ready }) => ready)?.ready?.length;
  const expected = (length === undefined ? undefined : referenceOf(measured, length)) ?? ours;
  if (!expected || expected.length === 0) return;
  for (const standing of standings) {
    if (!standing.ready) continue;
    const difference = differenceOf(standing.ready.sample, expected);
    standing.difference = difference;
    const own = isOurs(standing.entrant.contestant);
    const tolerance = own ? measured.tolerance : measured.peerTolerance;
    if (difference <= tolerance) continue;
    standing.status = "differs";
    standing.reason = `its result is off by ${difference.toPrecision(2)}, more than ${tolerance}`;
  }
}

async function measureOnce(standing: Standing, seconds: number): Promise<number | undefined> {
  const partner = standing.partner!;
  const reply = await awake(partner, () => partner.ask({ what: "measure", seconds }));
  if (reply.kind === "measured") return reply.seconds;
  drop(standing, reply);
  return undefined;
}

const nameOf = ({ contestant, threads }: Entrant): string =>
  `${contestant}, ${threads === 1 ? "1 thread" : `${threads} threads`}`;

/** Measures `cases` in the same rounds. `referenceOf` gives the expected elements of a result of that length, if they are known. */
export async function measureFamily(
  cases: readonly Case[],
  entrants: readonly Entrant[],
  effort: Effort,
  pool: Pool,
  referenceOf: (measured: Case, length: number) => Sample | undefined,
  watch: Watch,
): Promise<CaseResult[]> {
  const standings: Standing[] = [];
  for (const [i, entrant] of entrants.entries()) {
    watch(`preparing ${nameOf(entrant)}`, stepsOf(entrants.length, effort) - i);
    standings.push(await prepare(entrant, pool));
  }
  const standingsOf = (measured: Case): Standing[] =>
    standings.filter(({ entrant }) => entrant.cases.includes(measured));
  for (const measured of cases) {
    const results = standingsOf(measured).filter(({ entrant }) => entrant.task === measured.task);
    compare(results, measured, referenceOf);
  }
  const running = (): Standing[] => standings.filter(({ status }) => status === "measured");
  // The first calls of anything run code that is not optimised yet, on memory that is not mapped yet.
  watch("warming up", running().length * (effort.rounds + 1));
  for (const standing of running()) await measureOnce(standing, effort.seconds);
  for (let round = 0; round < effort.rounds; round++) {
    watch(`round ${round + 1} of ${effort.rounds}`, running().length * (effort.rounds - round));
    for (const standing of running()) {
      const seconds = await measureOnce(standing, effort.seconds);
      if (seconds !== undefined) standing.seconds.push(seconds);
    }
  }
  for (const standing of standings) await release(standing, pool);
  return cases.map((measured) => ({
    case: measured,
    measurements: standingsOf(measured).map(measurementOf),
  }));
}

function measurementOf({
  entrant,
  status,
  reason,
  ready,
  difference,
  seconds,
}: Standing): Measurement {
  return {
    contestant: entrant.contestant,
    threads: entrant.threads,
    status,
    version: ready?.version ?? "",
    reason,
    seconds,
    difference: difference === null || Number.isFinite(difference) ? difference : null,
    facts: ready?.facts ?? {},
  };
}
