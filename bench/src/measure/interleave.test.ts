import { describe, expect, it } from "vitest";
import type { Case } from "../case.ts";
import type { ContestantName } from "../contestants/names.ts";
import type { Entrant } from "./interleave.ts";
import { measureCase, stepsOf } from "./interleave.ts";
import type { Partner, Reply, Request } from "./protocol.ts";

const example: Case = {
  id: "example",
  group: "products",
  label: "example",
  task: { kind: "ceiling", of: "fma" },
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

function scripted(
  scripts: Partial<Record<ContestantName, (request: Request, measured: number) => Reply>>,
): { readonly entrants: Entrant[]; readonly log: string[] } {
  const log: string[] = [];
  const awake = new Set<string>();
  const entrants = Object.entries(scripts).map(([name, answer]) => ({
    contestant: name as ContestantName,
    threads: 1,
    partner: new Scripted(name, log, awake, answer),
  }));
  return { entrants, log };
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
const measureExample = (
  entrants: Parameters<typeof measureCase>[1],
  rounds: number,
  reference?: number[],
): ReturnType<typeof measureCase> =>
  measureCase(
    example,
    entrants,
    { rounds, seconds: 0 },
    () => reference,
    () => undefined,
  );

describe("measureCase", () => {
  it("runs one at a time, in the same order every round, after a warm-up that does not count", async () => {
    const { entrants, log } = scripted({ millrace: good([1, 2]), tfjs: good([1, 2], 10) });
    const result = await measureExample(entrants, 2);
    const round = ["millrace measure", "tfjs measure"];
    expect(log).toEqual([
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
    const { entrants } = scripted({
      millrace: good([1]),
      tfjs: () => ({ kind: "absent", reason: "it is not installed" }),
    });
    const told: [string, number][] = [];
    const watch = (what: string, left: number): void => void told.push([what, left]);
    await measureCase(example, entrants, { rounds: 2, seconds: 0 }, () => undefined, watch);
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
    const { entrants, log } = scripted({ millrace: good([1, 2]), tfjs: good([1, 2.1]) });
    const result = await measureExample(entrants, 1);
    expect(result.measurements[1]).toMatchObject({ status: "differs", seconds: [] });
    expect(result.measurements[1]!.reason).toMatch(/off by 0\.06/);
    expect(log).not.toContain("tfjs measure");
  });

  it("allows peers what the case allows them", async () => {
    const { entrants } = scripted({ millrace: good([1, 2]), tfjs: good([1, 2.01]) });
    const result = await measureExample(entrants, 1, [1, 2]);
    expect(result.measurements.map(({ status }) => status)).toEqual(["measured", "measured"]);
    const ours = scripted({ millrace: good([1, 2.01]) });
    const own = await measureExample(ours.entrants, 1, [1, 2]);
    expect(own.measurements[0]).toMatchObject({ status: "differs" });
  });

  it("holds us to the reference too, where there is one", async () => {
    const { entrants } = scripted({ millrace: good([1, 2.1]), tfjs: good([1, 2]) });
    const result = await measureExample(entrants, 1, [1, 2]);
    expect(result.measurements.map(({ status }) => status)).toEqual(["differs", "measured"]);
  });

  it("goes on without those that are absent or fail on the way", async () => {
    const { entrants } = scripted({
      millrace: good([1]),
      tfjs: () => ({ kind: "absent", reason: "it is not installed" }),
      "jax-js": (request, measured) =>
        request.what === "measure" && measured === 2
          ? { kind: "failed", reason: "the process ended" }
          : good([1])(request, measured),
    });
    const result = await measureExample(entrants, 3);
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
});
