/**
 * The command line. In: its words. Out: what to measure, how long, and what to write.
 */
import { parseArgs } from "node:util";
import { InputError } from "@millrace/graph";
import type { Group } from "./case.ts";
import { groups } from "./case.ts";
import type { ContestantName } from "./contestants/names.ts";
import { peerNames } from "./contestants/names.ts";

export interface Options {
  readonly groups: readonly Group[];
  readonly threads: readonly number[];
  readonly peers: readonly ContestantName[];
  /** Of each group. */
  readonly rounds: Readonly<Record<Group, number>>;
  /** Of each contestant in each round, at least. */
  readonly seconds: number;
  /** Only cases whose name contains it. */
  readonly match: string;
  readonly quick: boolean;
  readonly write: boolean;
  readonly json: string | undefined;
  readonly help: boolean;
}

/** Most where a round is short and promises are close. */
const usualRounds: Options["rounds"] = {
  products: 9,
  attention: 5,
  train: 9,
  decode: 7,
  memory: 21,
  compile: 7,
};

const roundsText = groups.map((group) => `${group} ${usualRounds[group]}`).join(", ");

function roundsOf(text: string | undefined, quick: boolean): Options["rounds"] {
  if (text === undefined && !quick) return usualRounds;
  const rounds = numberOf(text ?? "3", "--rounds", true);
  return Object.fromEntries(groups.map((group) => [group, rounds])) as Record<Group, number>;
}

export const usage: string = `npm run bench -- [options]

  --only <groups>     ${groups.join(", ")} (all)
  --threads <counts>  numbers of threads, such as 1,2 (1,2)
  --peers <names>     ${peerNames.join(", ")} (all; "none" for none)
  --match <text>      only cases whose name contains it, such as 512x512 or decode-int8; not with --write
  --rounds <n>        rounds of each case, of which the median counts; 3 with --quick, else
                      ${roundsText}
  --seconds <s>       of each contestant in each round, at least (0.2; 0.02 with --quick)
  --quick             small sizes: shows that everything runs, says nothing of speed
  --write             rewrite docs/performance.md and bench/results.json, the groups that were measured; not with --quick
  --json <file>       write the results of this run there
  --help              this text

What was measured and what was promised of it goes to standard output, progress to standard error.
MILLRACE_BENCH_PYTHON names the Python that has PyTorch, if it is not python3.
`;

function listOf<T extends string>(text: string, known: readonly T[], option: string): readonly T[] {
  return text.split(",").map((word) => {
    const found = known.find((name) => name === word.trim());
    if (found) return found;
    throw new InputError({
      what: `${option} does not know "${word}"`,
      where: "bench",
      hint: `Choose among ${known.join(", ")}.`,
    });
  });
}

/** A positive number, or a whole one. */
export function numberOf(text: string, option: string, whole: boolean): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value) && (!whole || Number.isInteger(value))) return value;
  throw new InputError({
    what: `${option} is "${text}"`,
    where: "bench",
    hint: whole ? "Give a whole number from 1." : "Give a positive number.",
  });
}

export function parseOptions(words: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...words],
    options: {
      only: { type: "string", default: groups.join(",") },
      threads: { type: "string", default: "1,2" },
      peers: { type: "string", default: peerNames.join(",") },
      match: { type: "string", default: "" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      quick: { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const { quick, write } = values;
  if (quick && write)
    throw new InputError({
      what: "--quick and --write exclude each other",
      where: "bench",
      hint: "What --quick measures says nothing of speed; leave one out.",
    });
  if (values.match !== "" && write)
    throw new InputError({
      what: "--match and --write exclude each other",
      where: "bench",
      hint: "A section of the document is written whole; use --only to choose sections.",
    });
  return {
    groups: listOf(values.only, groups, "--only"),
    threads: values.threads.split(",").map((word) => numberOf(word, "--threads", true)),
    peers: values.peers === "none" ? [] : listOf(values.peers, peerNames, "--peers"),
    rounds: roundsOf(values.rounds, quick),
    seconds: numberOf(values.seconds ?? (quick ? "0.02" : "0.2"), "--seconds", false),
    match: values.match,
    quick,
    write,
    json: values.json,
    help: values.help,
  };
}
