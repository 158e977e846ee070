import { describe, expect, it } from "vitest";
import type { Case } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import type { Entrant } from "./interleave.ts";
import { measureFamily, stepsOf } from "./interleave.ts";
import type { Partner, Pool, Reply, Request } from "./protocol.ts";
import type { CaseResult } from "./result.ts";

const example: Case = {
  id: "example",
  group: "products",
  family: "example",
  label: "example",
  task: { kind: "scaled", m: 1, k: 1, n: 1 },
  unit: "GFLOP/s",
  amount: 1e9,
  ceiling: null,
  tolerance: 1e-3,
  peerTolerance: 1e-2,
};

const ready = (sample: readonly number[]): Reply => ({
  kind: "ready",
  length: sample.length,
  sample,
  facts: { bytes: 8 },
  version: "1.2.3",
});

/** A partner that follows a script and writes down who was running. */
class Scripted implements Partner {
  hasEnded = false;
  readonly #name: string;
  readonly #log: string[];
  readonly #awake: Set<string>;
  readonly #answer: (request: Request, measured: number) => Reply;
  #measured = 0;

  constructor(
    name: string,
    log: string[],
    awake: Set<string>,
    answer: (request: Request, measured: number) => Reply,
  ) {
    this.#name = name;
    this.#log = log;
    this.#awake = awake;
    this.#answer = answer;
  }

  async ask(request: Request): Promise<Reply> {
    const others = [...this.#awake].filter((name) => name !== this.#name);
    const disturbed = others.length > 0 ? ` beside ${others.join(", ")}` : "";
    const running = this.#awake.has(this.#name) ? "" : " while stopped";
    this.#log.push(`${this.#name} ${request.what}${disturbed}${running}`);
    if (request.what === "measure") this.#measured++;
    const reply = this.#answer(request, this.#measured);
    if (reply.kind === "failed") this.hasEnded = true;
    return reply;
  }

  pause(): void {
    this.#awake.delete(this.#name);
  }

  resume(): void {
    this.#awake.add(this.#name);
  }

  close(): void {
    this.hasEnded = true;
  }
}

type Script = (request: Request, measured: number) => Reply;

interface Scene {
  readonly entrants: Entrant[];
  readonly pool: Pool;
  readonly log: string[];
}

/** Entrants with the same task whose processes follow a script. */
function scripted(scripts: Partial<Record<ContestantName, Script>>, cases = [example]): Scene {
  const log: string[] = [];
  const awake = new Set<string>();
  const idle: [ContestantName, Partner][] = [];
  const started = new Map<ContestantName, number>();
  const entrants = Object.keys(scripts).flatMap((name) =>
    cases.map((measured) => ({
      contestant: name as ContestantName,
      threads: 1,
      task: measured.task,
      cases: [measured],
    })),
  );
  const pool: Pool = {
    take: ({ contestant }) => {
      const at = idle.findIndex(([name]) => name === contestant);
      if (at >= 0) return idle.splice(at, 1)[0]![1];
      const count = (started.get(contestant) ?? 0) + 1;
      started.set(contestant, count);
      const name = count === 1 ? contestant : `${contestant} ${count}`;
      return new Scripted(name, log, awake, scripts[contestant]!);
    },
    give: ({ contestant }, partner) => idle.push([contestant, partner]),
  };
  return { entrants, pool, log };
}

const good =
  (sample: readonly number[], seconds = 1) =>
  (request: Request, measured: number): Reply =>
    request.what === "prepare"
      ? ready(sample)
      : request.what === "measure"
        ? { kind: "measured", seconds: seconds * measured }
        : { kind: "released" };

/** Measures the example, silently, with the result that is expected, if any is. */
async function measureExample(
  { entrants, pool }: Scene,
  rounds: number,
  reference?: number[],
): Promise<CaseResult> {
  const effort = { rounds, seconds: 0 };
  const silent = (): void => undefined;
  const results = await measureFamily([example], entrants, effort, pool, () => reference, silent);
  return results[0]!;
}

describe("measureFamily", () => {
  it("runs one at a time, in the same order every round, after a warm-up that does not count", async () => {
    const scene = scripted({ millrace: good([1, 2]), tfjs: good([1, 2], 10) });
    const result = await measureExample(scene, 2);
    const round = ["millrace measure", "tfjs measure"];
    expect(scene.log).toEqual([
      "millrace prepare",
      "tfjs prepare",
      ...round,
      ...round,
      ...round,
      "millrace release",
      "tfjs release",
    ]);
    expect(result.measurements.map(({ seconds }) => seconds)).toEqual([
      [2, 3],
      [20, 30],
    ]);
    expect(result.measurements[1]).toMatchObject({ version: "1.2.3", facts: { bytes: 8 } });
  });

  it("says what it does and how many steps are left of those it may take", async () => {
    const { entrants, pool } = scripted({
      millrace: good([1]),
      tfjs: () => ({ kind: "absent", reason: "it is not installed" }),
    });
    const told: [string, number][] = [];
    const watch = (what: string, left: number): void => void told.push([what, left]);
    const effort = { rounds: 2, seconds: 0 };
    await measureFamily([example], entrants, effort, pool, () => undefined, watch);
    expect(stepsOf(2, { rounds: 2, seconds: 0 })).toBe(8);
    expect(told).toEqual([
      ["preparing millrace, 1 thread", 8],
      ["preparing tfjs, 1 thread", 7],
      ["warming up", 3],
      ["round 1 of 2", 2],
      ["round 2 of 2", 1],
    ]);
  });

  it("does not time a contestant whose result differs from ours", async () => {
    const scene = scripted({ millrace: good([1, 2]), tfjs: good([1, 2.1]) });
    const result = await measureExample(scene, 1);
    expect(result.measurements[1]).toMatchObject({ status: "differs", seconds: [] });
    expect(result.measurements[1]!.reason).toMatch(/off by 0\.06/);
    expect(scene.log).not.toContain("tfjs measure");
  });

  it("allows peers what the case allows them", async () => {
    const scene = scripted({ millrace: good([1, 2]), tfjs: good([1, 2.01]) });
    const result = await measureExample(scene, 1, [1, 2]);
    expect(result.measurements.map(({ status }) => status)).toEqual(["measured", "measured"]);
    for (const name of ["millrace", "millrace-128"]) {
      const own = await measureExample(scripted({ [name]: good([1, 2.01]) }), 1, [1, 2]);
      expect(own.measurements[0]).toMatchObject({ status: "differs" });
    }
  });

  it("holds us to the reference too, where there is one", async () => {
    const scene = scripted({ millrace: good([1, 2.1]), tfjs: good([1, 2]) });
    const result = await measureExample(scene, 1, [1, 2]);
    expect(result.measurements.map(({ status }) => status)).toEqual(["differs", "measured"]);
  });

  it("goes on without those that are absent or fail on the way", async () => {
    const scene = scripted({
      millrace: good([1]),
      tfjs: () => ({ kind: "absent", reason: "it is not installed" }),
      "jax-js": (request, measured) =>
        request.what === "measure" && measured === 2
          ? { kind: "failed", reason: "the process ended" }
          : good([1])(request, measured),
    });
    const result = await measureExample(scene, 3);
    const summary = result.measurements.map(({ contestant, status, reason, seconds }) => [
      contestant,
      status,
      reason,
      seconds.length,
    ]);
    expect(summary).toEqual([
      ["millrace", "measured", "", 3],
      ["tfjs", "absent", "it is not installed", 0],
      ["jax-js", "failed", "the process ended", 0],
    ]);
  });

  it("measures all cases of a family in each round, each in a process of its own", async () => {
    const second: Case = { ...example, id: "second", task: { kind: "scaled", m: 2, k: 1, n: 1 } };
    const cases = [example, second];
    const absent: Script = () => ({ kind: "absent", reason: "no" });
    const scripts = { millrace: good([1]), tfjs: absent, ceiling: good([5], 7) };
    const { entrants: all, pool } = scripted(scripts, cases);
    const limit: Entrant = {
      contestant: "ceiling",
      threads: 1,
      task: { kind: "ceiling", of: "fma" },
      cases,
    };
    const entrants = [limit, ...all.filter(({ contestant }) => contestant !== "ceiling")];
    const watch = (): void => undefined;
    const effort = { rounds: 2, seconds: 0 };
    const results = await measureFamily(cases, entrants, effort, pool, () => [1], watch);
    // The limit's times are for both cases; its result is compared with nothing.
    expect(results.map(({ case: { id }, measurements }) => [id, measurements.length])).toEqual([
      ["example", 3],
      ["second", 3],
    ]);
    for (const { measurements } of results)
      expect(measurements.map(({ status, seconds }) => [status, seconds])).toEqual([
        ["measured", [14, 21]],
        ["measured", [2, 3]],
        ["absent", []],
      ]);
  });

  it("gives a process that has nothing to measure another task", async () => {
    const cases = [example, { ...example, id: "second" }];
    const { entrants, pool, log } = scripted(
      { millrace: good([1]), tfjs: () => ({ kind: "absent", reason: "no" }) },
      cases,
    );
    const watch = (): void => undefined;
    const effort = { rounds: 1, seconds: 0 };
    await measureFamily(cases, entrants, effort, pool, () => [1], watch);
    const prepared = log.filter((line) => line.endsWith("prepare"));
    expect(prepared).toEqual([
      "millrace prepare",
      "millrace 2 prepare",
      "tfjs prepare",
      "tfjs prepare",
    ]);
  });
});
