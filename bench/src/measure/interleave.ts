/**
 * The measuring loop. In: a case and the partners that take part. Out: their times, round by round. All of them are made
 * ready and compared first; then every round runs each one once, in the same order, while the others stand still. What
 * disturbs the machine for a while therefore disturbs all of them.
 */
import type { Case } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import { differenceOf } from "./agreement.ts";
import type { Sample } from "./agreement.ts";
import type { Watch } from "./progress.ts";
import type { Partner, Reply } from "./protocol.ts";
import type { CaseResult, Measurement } from "./result.ts";

export interface Entrant {
  readonly contestant: ContestantName;
  readonly threads: number;
  readonly partner: Partner;
}

export interface Effort {
  readonly rounds: number;
  /** Each entrant runs at least so long in each round. */
  readonly seconds: number;
}

/** Steps of a case: everyone is made ready, warmed up, and measured in each round. */
export const stepsOf = (entrants: number, { rounds }: Effort): number => entrants * (rounds + 2);

type Ready = Extract<Reply, { kind: "ready" }>;

/** What is known of an entrant so far. */
interface Standing {
  readonly entrant: Entrant;
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

async function prepare(entrant: Entrant, { task }: Case): Promise<Standing> {
  const standing: Standing = {
    entrant,
    status: "measured",
    reason: "",
    ready: undefined,
    difference: null,
    seconds: [],
  };
  const { partner } = entrant;
  const reply = await awake(partner, () => partner.ask({ what: "prepare", task }));
  if (reply.kind === "ready") standing.ready = reply;
  else drop(standing, reply);
  return standing;
}

/** Compares everyone with `reference`, or with the first of ours when the case has none. */
function compare(
  standings: readonly Standing[],
  measured: Case,
  reference: Sample | undefined,
): void {
  const own = standings.find(({ entrant }) => entrant.contestant === "millrace")?.ready?.sample;
  const expected = reference ?? own;
  if (!expected || expected.length === 0) return;
  for (const standing of standings) {
    if (!standing.ready || standing.entrant.contestant === "ceiling") continue;
    const difference = differenceOf(standing.ready.sample, expected);
    standing.difference = difference;
    const isOurs = standing.entrant.contestant === "millrace";
    const tolerance = isOurs ? measured.tolerance : measured.peerTolerance;
    if (difference <= tolerance) continue;
    standing.status = "differs";
    standing.reason = `its result is off by ${difference.toPrecision(2)}, more than ${tolerance}`;
  }
}

async function measureOnce(standing: Standing, seconds: number): Promise<number | undefined> {
  const { partner } = standing.entrant;
  const reply = await awake(partner, () => partner.ask({ what: "measure", seconds }));
  if (reply.kind === "measured") return reply.seconds;
  drop(standing, reply);
  return undefined;
}

const nameOf = ({ contestant, threads }: Entrant): string =>
  `${contestant}, ${threads === 1 ? "1 thread" : `${threads} threads`}`;

/** Measures one case. `sampleOf` gives the expected elements of a result of that length, if they are known. */
export async function measureCase(
  measured: Case,
  entrants: readonly Entrant[],
  effort: Effort,
  sampleOf: (length: number) => Sample | undefined,
  watch: Watch,
): Promise<CaseResult> {
  const standings: Standing[] = [];
  for (const [i, entrant] of entrants.entries()) {
    watch(`preparing ${nameOf(entrant)}`, stepsOf(entrants.length, effort) - i);
    standings.push(await prepare(entrant, measured));
  }
  const length = standings.find(({ entrant, ready }) => ready && entrant.contestant !== "ceiling")
    ?.ready?.length;
  compare(standings, measured, length === undefined ? undefined : sampleOf(length));
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
  for (const { entrant, ready } of standings)
    if (ready && !entrant.partner.hasEnded)
      await awake(entrant.partner, () => entrant.partner.ask({ what: "release" }));
  return { case: measured, measurements: standings.map(measurementOf) };
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
